"""Caffe2's files: ``init_net.pb``, ``predict_net.pb`` and ``predict_net.pbtxt``, streamed out and mapped in.

The init net makes one blob per operator and is as large as the weights, so it never passes through protobuf: it is
written from the arrays piece by piece, and read as views of the mapped file. The predict net is small: a protobuf.
"""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from retorch.caffe2 import (
    container,
    fill_decoding,
    fill_encoding,
    halves,
    init_net,
    messages,
    minidb,
    pairs,
    text_form,
    value_info,
)
from retorch.caffe2.blobs import Blobs
from retorch.caffe2.control import read_first
from retorch.caffe2.device import ideep_params, loads
from retorch.caffe2.narrow_fill import FLOATS, Encoder, Narrow
from retorch.caffe2.proto.caffe2_pb2 import NetDef, OperatorDef
from retorch.errors import ConversionError, FormatError, UsageError
from retorch.files import atomic, digests, file_set, protobuf
from retorch.files.precision import Precision
from retorch.files.protobuf import Array

LIMIT = 1 << 31  # bytes: protobuf reads no more, and Caffe2 then runs an empty net without a word
_WARN = (
    (1 << 30, "2017 builds of Caffe2 read no more than 1 GiB"),
    (64 << 20, "mobile builds with protobuf's default limit read no more than 64 MiB"),
)

#: Operators whose inputs after the first are weights.
_WEIGHTED = frozenset(("Conv", "ConvTranspose", "FC", "FCTransposed", "SpatialBN", "InstanceNorm", "PRelu"))

Chunks: TypeAlias = Iterator[fill_encoding.Chunk]
#: What the weights are written as.
Init: TypeAlias = Literal["pb", "minidb"]


@dataclass(frozen=True, slots=True)
class Caffe2Net:
    """A network as Caffe2 stores it.

    ``predict`` lists the data blobs first in its ``external_input``; ``params`` are the weights by blob name, in the
    order of the init net (float32, float64, int16, int32, int64, bool or uint8; any strides, possibly read-only views
    of a mapped file); ``inputs`` are the data blobs.
    """

    predict: NetDef
    params: Mapping[str, Array]
    inputs: tuple[str, ...]
    #: The parameters that were stored in fewer bits, and in how many.
    precisions: Mapping[str, Precision] = field(default_factory=dict[str, Precision])
    #: What a ``value_info.json`` beside the files says that the data blobs are.
    declared: Mapping[str, value_info.Declared] = field(default_factory=dict[str, value_info.Declared])
    #: The parameters that were drawn when the files were read: the init net gives them no seed.
    drawn: tuple[str, ...] = ()
    #: What else a user should know of how the files were read.
    remarks: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of how the files were read."""
        said = [*self.remarks]
        if self.drawn:
            names = ", ".join(self.drawn[:3]) + (", …" if len(self.drawn) > 3 else "")
            said.append(f"drawn at random ({names}): the init net has no seed, and every load draws other weights")
        return tuple(said)

    def fed(self, count: int) -> tuple[str, ...]:
        """The blobs that ``count`` arrays are for: the data blobs, or, where there are more, Caffe2's own order.

        The real ``Predictor`` takes its arrays in the order of ``external_input``, weights and all.
        """
        external = tuple(self.predict.external_input)
        return external[:count] if len(self.inputs) < count <= len(external) else self.inputs

    def feeding(self, names: Sequence[str]) -> Caffe2Net:
        """The same net with these blobs as its inputs, weights among them: what the init net fills may still be fed."""
        params = {name: array for name, array in self.params.items() if name not in names}
        return replace(self, params=params, inputs=tuple(names))


@dataclass(frozen=True, slots=True)
class Written:
    """What ``write`` did: the files, and what the user should know about them."""

    files: tuple[Path, ...]
    warnings: tuple[str, ...]


def init_chunks(
    net: Caffe2Net,
    *,
    packed: bool = True,
    database: Path | None = None,
    exporter: bool = False,
    narrow: Narrow = FLOATS,
) -> tuple[int, Chunks]:
    """The serialised init net: its size in bytes and its content, piece by piece.

    One fill per parameter in order, or a ``Load`` of all from ``database``; then a 1x1 zero for every data blob, which
    makes it known to the workspace. Parameters that operators of MKL-DNN read are made on its device. ``exporter``
    writes it as Caffe2's ``mobile_exporter`` does: without a name of the net, with an empty one of each operator.
    ``narrow`` names the parameters that are stored in fewer bits.
    """
    name = b"" if exporter else protobuf.delimited(fill_encoding.NET_NAME, _init_name(net.predict.name))
    placeholder = np.zeros((1, 1), np.float32)
    ideep = ideep_params(net.predict, net.params)
    plan: list[fill_encoding.Fill] = []
    if database is not None:
        for load in loads(net.params, ideep):
            name += protobuf.delimited(fill_encoding.NET_OP, _from_minidb(load, database).SerializeToString())
    else:
        encoder = Encoder(narrow, [*net.inputs, *net.params, *(blob for op in net.predict.op for blob in op.output)])
        plan += encoder.begin()
        for blob, array in net.params.items():
            if blob in narrow.names:
                plan += encoder.encode(blob, array)
            else:
                plan.append(fill_encoding.encode(blob, array, packed=packed, unnamed=exporter, ideep=blob in ideep))
        plan += encoder.end()
    plan += [fill_encoding.encode(blob, placeholder, packed=packed, unnamed=exporter) for blob in net.inputs]

    def chunks() -> Chunks:
        yield name
        for fill in plan:
            yield from fill.chunks()

    return len(name) + sum(fill.size for fill in plan), chunks()


def _init_name(predict_name: str) -> str:
    """Viewers know a net by its name, of at most 63 characters."""
    return f"{predict_name[:58]}_init"


def _from_minidb(load: OperatorDef, database: Path) -> OperatorDef:
    """The operator takes its blobs from there, by the path from the root: any other depends on where one runs."""
    load.arg.add(name="absolute_path", i=1)
    load.arg.add(name="db", s=os.fsencode(database))
    load.arg.add(name="db_type", s=b"minidb")
    return load


class Names(NamedTuple):
    """What the files of one network are called; without ``text`` the operators are not written as text too."""

    init: str = "init_net.pb"
    minidb: str = "init_net.minidb"
    predict: str = "predict_net.pb"
    text: str = "predict_net.pbtxt"

    @classmethod
    def of(cls, path: Path) -> tuple[Path, Names]:
        """The folder and the names that a user's ``out/lenet.pb`` asks for: ``lenet.pb`` and ``lenet_init.pb``."""
        stem = path.stem.removesuffix("_init")
        if stem in {"predict_net", "init_net"}:
            return path.parent, cls()
        return path.parent, cls(f"{stem}_init.pb", f"{stem}_init.minidb", f"{stem}.pb", "")


def write(
    folder: str | Path,
    net: Caffe2Net,
    *,
    names: Names = Names(),  # noqa: B008 (immutable)
    apart: bool = True,
    packed: bool = True,
    init: Init = "pb",
    exporter: bool = False,
    narrow: Narrow = FLOATS,
) -> Written:
    """Writes the files into ``folder``, which is made where it is missing, as one set (see ``file_set``).

    Where it is not ``apart``, a folder of the network's own, it stays what it is, and the files change in it.
    ``packed=False`` gives the bytes that protobuf itself would serialise, a quarter more. ``init="minidb"`` puts the
    weights into ``init_net.minidb``, of any size, and ``init_net.pb`` loads them from there: by the folder's full path,
    as Caffe2 wants it, so that the folder must stay where it is. ``exporter`` writes the init net as Caffe2's own
    ``mobile_exporter`` does (its bytes, where not packed). ``narrow`` names the parameters that are stored in fewer
    bits, of a net that is written as ``pb``. Same net, same bytes. ConversionError where the init net
    would be too large to load; UsageError where the folder cannot be written.
    """
    target = Path(folder)
    database = atomic.resolved(atomic.destination(target)) / names.minidb if init == "minidb" else None
    size, chunks = init_chunks(net, packed=packed, database=database, exporter=exporter, narrow=narrow)
    if size >= LIMIT:
        raise ConversionError(
            f"init_net.pb would have {size:,} bytes, and protobuf reads less than {LIMIT:,}",
            hint="write the weights as a minidb (--init minidb)",
        )
    warnings = [f"init_net.pb has {size:,} bytes: {what}" for limit, what in _WARN if size >= limit][:1]
    known = tuple(name for name in names if name)
    written = [name for name in known if database is not None or name != names.minidb]
    try:
        with _hidden(target, names, apart=apart) as staging:
            _write_each(staging, net, names, chunks, with_minidb=database is not None)
    except OSError as error:
        raise UsageError(f"{atomic.destination(target)}: cannot be written: {error.strerror}") from error
    return Written(tuple(target / name for name in written), tuple(warnings))


def _write_each(staging: Path, net: Caffe2Net, names: Names, chunks: Chunks, *, with_minidb: bool) -> None:
    """The files, one after the other, where they are made ready."""
    digests.write(staging / names.init, chunks)
    if with_minidb:
        blobs = (minidb.encode(name, array) for name, array in net.params.items())
        digests.write(staging / names.minidb, itertools.chain.from_iterable(blobs))
    digests.write(staging / names.predict, [net.predict.SerializeToString(deterministic=True)])
    if names.text:
        digests.write(staging / names.text, [text_form.text(net.predict).encode()])


@contextmanager
def _hidden(folder: Path, names: Names, *, apart: bool) -> Generator[Path]:
    if apart:
        with file_set.replacing(folder, names, last=(names.predict, names.text)) as staging:
            yield staging
        return
    with file_set.replacing_file(folder / names.predict, stale=re.compile(re.escape(names.minidb))) as place:
        yield place.parent


def write_container(path: str | Path, net: Caffe2Net, shapes: Mapping[str, tuple[int, ...]] | None = None) -> Written:
    """Writes the network as one file, a predictor container (see ``container``), in place of what was there.

    ``shapes`` are those of inputs and outputs, as far as they are known. UsageError where it cannot be written.
    """
    target = Path(path)
    with file_set.replacing_file(target) as part:
        digests.write(part, container.encode(net.predict, net.params, net.inputs, shapes or {}))
    return Written((target,), ())


def read(path: str | Path) -> Caffe2Net:
    """The network in a folder or beside a file: ours or anyone's.

    ``path`` is a folder with one network in it, or either file of a pair: ``*predict_net.pb`` or ``.pbtxt`` with
    ``*init_net.pb`` (``.pbtxt``), ``X.pb`` with ``X_init.pb``; or a predictor container. FormatError for files that are
    broken, UsageError where there is nothing to read. The parameters are views of the mapped file where it is packed.
    """
    predict_path, init_path = pairs.locate(Path(path))
    if predict_path == init_path:
        return Caffe2Net(*container.read(predict_path))
    predict = read_net(predict_path)
    init = init_net.read(init_path)
    blobs = init.blobs
    halves.check(predict_path, predict, init_path, init.computed, blobs)
    predict = _with_computed(predict, init.computed)
    said = value_info.beside(predict_path)
    inputs = data_blobs(predict, blobs, value_info.named(said, _external(predict)))
    params = Blobs({name: blob for name, blob in blobs.items() if name not in inputs})
    small: dict[str, Precision] = {name: kind for name in params if (kind := blobs[name].precision) != "float"}
    declared = {name: said[name] for name in inputs if name in said}
    drawn = tuple(name for name in init.drawn if name in params)
    return Caffe2Net(predict, params, inputs, small, declared, drawn, tuple(dict.fromkeys(init.remarks)))


def _with_computed(predict: NetDef, computed: Sequence[OperatorDef]) -> NetDef:
    """The net with what the init net computes in front: one net means the same, and its rules are the same ones."""
    if not computed:
        return predict
    made = {blob for operator in computed for blob in operator.output}
    whole = NetDef()
    whole.CopyFrom(predict)
    whole.ClearField("op")
    whole.op.extend([*computed, *predict.op])
    whole.ClearField("external_input")
    whole.external_input.extend(name for name in predict.external_input if name not in made)
    return whole


def read_net(path: Path) -> NetDef:
    """A NetDef from its binary or (``.pbtxt``, ``.prototxt``) text form."""
    net = messages.load(NetDef(), path, "a Caffe2 net")
    if not net.op:
        raise FormatError(f"{path}: not a Caffe2 net: it has no operators")
    return net


def data_blobs(
    predict: NetDef, blobs: Mapping[str, fill_decoding.Filled], declared: Collection[str] = ()
) -> tuple[str, ...]:
    """The names of the blobs that the user feeds, in the order of ``external_input``.

    Those are the blobs that the net reads and neither makes nor finds filled, and those that the init net fills with a
    placeholder. Exporters, and ``write``, put one 1x1 zero for each at the end of the init net, and the same blobs
    first into ``external_input``. Where it is otherwise, and nothing else is to be fed, the leading ones count whose
    fill is a single zero or a constant of zeros, or else any 1x1 zero. A weight may be zero: what convolutions, FC and
    their like read as a weight is one. Of the blobs that are filled, those that are ``declared`` to be inputs are the
    only ones.
    """
    used, names, weights = read_first(predict.op), _external(predict), _weights(predict)
    unfilled = [name for name in names if name not in blobs and name in used]
    chosen = [name for name in names if name in declared and name in blobs and name not in weights]
    if chosen:
        return tuple(name for name in dict.fromkeys(names) if name in chosen or name in unfilled)
    placed = [name for name in names if name in blobs]
    head = _last_filled(placed, list(blobs))
    fed = head if all(_is_one_zero(blobs[name]) for name in head) else []
    if not fed and not unfilled:
        leading = itertools.takewhile(lambda name: name not in weights and _is_placeholder(blobs[name]), placed)
        fed = list(leading) or [name for name in placed if _is_one_zero(blobs[name])]
    return tuple(name for name in dict.fromkeys(names) if name in fed or name in unfilled)


def _external(predict: NetDef) -> list[str]:
    """The blobs that the net is to find, declared or not, in order."""
    return [*dict.fromkeys([*predict.external_input, *read_first(predict.op)])]


def _last_filled(placed: list[str], filled: list[str]) -> list[str]:
    """The first inputs, where they are what is filled last, in the same order."""
    count = len(filled) - filled.index(placed[0]) if placed else 0
    return placed[:count] if placed[:count] == filled[len(filled) - count :] else []


def _weights(predict: NetDef) -> set[str]:
    """The blobs that are read as nothing but weights."""
    places = [(name, op.type in _WEIGHTED and at > 0) for op in predict.op for at, name in enumerate(op.input)]
    return {name for name, _ in places} - {name for name, weight in places if not weight}


def _is_one_zero(blob: fill_decoding.Filled) -> bool:
    return blob.shape == (1, 1) and not blob.array.any()


def _is_placeholder(blob: fill_decoding.Filled) -> bool:
    size = math.prod(blob.shape)
    return (blob.constant or size == 1) and not (size and blob.array.flat[0])
