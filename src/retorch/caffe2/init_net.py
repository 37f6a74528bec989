"""The init net, read: the blobs that it fills, loads and draws, and the operators that compute others."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from retorch.caffe2 import fill_decoding, messages, minidb, random_laws, widening
from retorch.caffe2.device import placed
from retorch.caffe2.proto.caffe2_pb2 import NetDef, OperatorDef
from retorch.errors import FormatError, UsageError
from retorch.files.regular import content


@dataclass(slots=True)
class Init:
    """What an init net fills, and what it computes; what it draws without a seed, and what there is to say of it."""

    blobs: dict[str, fill_decoding.Filled] = field(default_factory=dict[str, fill_decoding.Filled])
    computed: list[OperatorDef] = field(default_factory=list[OperatorDef])
    drawn: list[str] = field(default_factory=list[str])
    remarks: list[str] = field(default_factory=list[str])

    def draw(self, operator: OperatorDef) -> bool:
        """Draw what the operator draws, where it does that and nothing more; whether it was so."""
        numbers = random_laws.drawn_at_load(operator) if len(operator.output) == 1 else None
        if numbers is None:
            return False
        name = operator.output[0]
        self.blobs[name] = fill_decoding.Filled(name, numbers, False)
        if random_laws.seed_of(operator) is None:
            self.drawn.append(name)
        else:
            self.remarks.append(random_laws.seeded(operator))
        return True


def read(init_path: Path) -> Init:
    """What is in the file, and in the minidb that it loads. FormatError where it is broken."""
    serialised, init = _map(init_path), Init()
    if not len(serialised):
        init.remarks.append(f"{init_path.name} has 0 bytes: a net that fills nothing, so that every blob is fed")
    try:
        net = fill_decoding.device(serialised)
        for item in fill_decoding.decode(serialised):
            if isinstance(item, fill_decoding.Load):
                init.blobs.update(_loaded(item, init_path))
            elif not isinstance(item, OperatorDef):
                init.blobs[item.name] = item
            elif init.computed or not widening.widen(item, init.blobs):
                operator = placed(item, net)
                if not init.draw(operator):
                    init.computed.append(operator)
    except FormatError as error:
        raise FormatError(f"{init_path}: {error.detail}", offset=error.offset, hint=error.hint) from error
    return init


def _loaded(load: fill_decoding.Load, init_path: Path) -> dict[str, fill_decoding.Filled]:
    """The blobs that the init net takes from a minidb: the one beside it, as it may have moved, or at its path."""
    if load.kind != "minidb":
        raise FormatError(f"the weights are in a database of type {load.kind}", hint="only minidb can be read")
    beside = init_path.with_name(load.path.name)
    path = beside if beside.is_file() else load.path
    if not path.is_file():
        raise UsageError(
            f"{init_path}: its weights are in {path}, which is not there", hint=f"put {path.name} beside it"
        )
    arrays = minidb.read(path)
    missing = [name for name in load.names if name not in arrays]
    if missing:
        raise FormatError(f"{path} has no blobs {', '.join(missing)}")
    return {name: fill_decoding.Filled(name, arrays[name], False) for name in load.names or arrays}


def _map(path: Path) -> memoryview:
    """The serialised init net: the file itself, mapped, where it is binary."""
    data = content(path)
    head = bytes(data[: messages.HEAD])
    if messages.is_text_form(path, head) or head.startswith(messages.LFS_POINTER):
        return memoryview(messages.load(NetDef(), path, "a Caffe2 net").SerializeToString())
    return memoryview(data)
