"""Weights in fewer bits, as operators of an init net that store them small and make float32 of them at load.

Caffe2 has no operator on CPUs, in all its ages, that reads float16. But ``QuantDecode`` looks bytes up in a table of
floats, and a float16 is linear in its low byte: ``base[high] + step[high] * low`` is exact in float32 for every finite
one. So a tensor is stored as its high bytes and its low bytes, and four operators put them together. Eight bits are
rows of ``Fused8BitRowwiseQuantizedToFloat``: codes, then a scale and an offset as float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retorch.caffe2 import fill_encoding
from retorch.caffe2.fill_encoding import Fill
from retorch.caffe2.proto.caffe2_pb2 import NetDef, OperatorDef
from retorch.errors import UsageError
from retorch.files import protobuf
from retorch.files.mapped import let_go
from retorch.files.precision import Precision
from retorch.files.protobuf import Array
from retorch.graph import rounding

#: Numbers from which on a tensor is smaller, its operators counted.
LEAST = 256
#: Operators that read weights, and as which of their inputs.
_READERS = {
    **dict.fromkeys(("Conv", "ConvTranspose", "FC", "FCTransposed"), (1,)),
    **dict.fromkeys(("MatMul", "BatchMatMul"), (0, 1)),
    "Gather": (0,),
}
_OFFSET = 128  # between the signed codes and the bytes that Caffe2 reads: their highest bit
_STEP = 1 << 18  # weights that are in hand at a time


@dataclass(frozen=True, slots=True)
class Narrow:
    """The parameters of a net that are stored small, and the others that would be, with the reason why not."""

    precision: Precision
    names: tuple[str, ...]
    kept: tuple[tuple[str, str], ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know."""
        return () if self.precision == "float" else rounding.told(self.precision, self.names, self.kept)


#: All are float32.
FLOATS = Narrow("float", (), ())


def check(precision: Precision, init: str, *, brew: bool, mkldnn: bool) -> None:
    """Refuse small weights where what else was asked for leaves no choice.

    Raises:
        UsageError: a minidb, or files as ``brew`` or MKL-DNN have them.
    """
    if precision == "float":
        return
    if init == "minidb":
        raise UsageError(f"--weights {precision}: a minidb holds float32", hint="leave out --init minidb")
    if brew:
        raise UsageError(f"--weights {precision}: brew would have written float32", hint="--brew or --weights")
    if mkldnn:
        raise UsageError(f"--weights {precision}: MKL-DNN reads float32 of its own", hint="--mkldnn or --weights")


def choose(predict: NetDef, params: Mapping[str, Array], precision: Precision) -> Narrow:
    """The parameters that are read as weights and nothing else, as far as they can be stored in that precision."""
    if precision == "float":
        return FLOATS
    read: dict[str, bool] = {}
    for op in predict.op:
        places = _READERS.get(op.type, ())
        for at, name in enumerate(op.input):
            read[name] = read.get(name, True) and at in places
    able = [name for name, weight in read.items() if weight and name in params]
    able = [name for name in able if rounding.is_candidate(params[name], precision, LEAST)]
    reasons = {name: rounding.unfit(params[name], precision) for name in able}
    return Narrow(
        precision,
        tuple(name for name, reason in reasons.items() if not reason),
        tuple((name, reason) for name, reason in reasons.items() if reason),
    )


class Encoder:
    """The fills of a net's small parameters; ``taken`` are the names of its blobs."""

    def __init__(self, narrow: Narrow, taken: Iterable[str]) -> None:
        self._narrow = narrow
        self._taken = set(taken)
        self._base, self._step, self._byte = (self._fresh(f"half_{name}") for name in ("base", "step", "byte"))

    def begin(self) -> list[Fill]:
        """The tables that all tensors in half precision are looked up in."""
        if not self._has_half:
            return []
        base, step = half_tables()
        tables = {self._base: base, self._step: step, self._byte: np.arange(256, dtype=np.float32)}
        return [fill_encoding.encode(name, table) for name, table in tables.items()]

    def end(self) -> list[Fill]:
        """Lets go of the tables."""
        return [_operator(_free(self._base, self._step, self._byte))] if self._has_half else []

    @property
    def _has_half(self) -> bool:
        return self._narrow.precision == "half" and bool(self._narrow.names)

    def encode(self, name: str, array: Array) -> list[Fill]:
        """The operators that make blob ``name`` of what they store; no other blob holds anything afterwards."""
        return self._half(name, array) if self._narrow.precision == "half" else self._rows(name, array)

    def _half(self, name: str, array: Array) -> list[Fill]:
        high, low, part = (self._fresh(f"{name}_{what}") for what in ("high", "low", "part"))
        operators = [
            OperatorDef(type="QuantDecode", input=[self._step, high], output=[name]),
            OperatorDef(type="QuantDecode", input=[self._byte, low], output=[part]),
            _free(low),
            OperatorDef(type="Mul", input=[name, part], output=[name]),
            OperatorDef(type="QuantDecode", input=[self._base, high], output=[part]),
            OperatorDef(type="Add", input=[name, part], output=[name]),
            _free(high, part),
        ]
        fills = [
            fill_encoding.encode_bytes(blob, array.shape, lambda at=at: _plane(array, at))
            for blob, at in ((high, 1), (low, 0))
        ]
        return [*fills, *map(_operator, operators)]

    def _rows(self, name: str, array: Array) -> list[Fill]:
        rows, sizes = self._fresh(f"{name}_rows"), self._fresh(f"{name}_sizes")
        count = array.shape[rounding.row_axis(array)]
        reshape = OperatorDef(type="Reshape", input=[name], output=[name, sizes])
        reshape.arg.add(name="shape", ints=array.shape)
        operators = [
            OperatorDef(type="Fused8BitRowwiseQuantizedToFloat", input=[rows], output=[name]),
            reshape,
            _free(rows, sizes),
        ]
        stored = fill_encoding.encode_bytes(rows, (count, array.size // count + 8), lambda: iter([_fused(array)]))
        return [stored, *map(_operator, operators)]

    def _fresh(self, name: str) -> str:
        """A name that no blob has, for one that holds something during load only."""
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name


def half_tables() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """For each high byte of a float16, its value where the low byte is 0, and what one in the low byte adds."""
    high = np.arange(256)
    exponent = high >> 2 & 31
    step = np.ldexp(np.where(high < 128, 1.0, -1.0), np.maximum(exponent, 1) - 25)
    base = (high.astype(np.uint16) << 8).view(np.float16).astype(np.float32)
    return np.where(exponent == 31, np.float32(0), base), step.astype(np.float32)


def _plane(array: Array, at: int) -> Iterator[memoryview]:
    """The low (0) or the high (1) bytes of a tensor in float16."""
    for piece in protobuf.pieces(array, np.dtype("<f4")):
        for first in range(0, len(piece), _STEP):
            halves = piece[first : first + _STEP].astype("<f2")
            yield np.ascontiguousarray(halves.view(np.uint8)[at::2]).data
    let_go(array)


def _fused(array: Array) -> memoryview:
    """Rows of codes, each with its scale and its offset behind it."""
    made = rounding.to_rows(array)
    let_go(array)
    codes = (made.codes.view(np.uint8) ^ _OFFSET).reshape(len(made.scales), -1)
    ends = np.stack([made.scales, made.scales * np.float32(-_OFFSET)], axis=1).astype("<f4")
    return np.concatenate([codes, ends.view(np.uint8)], axis=1).reshape(-1).data


def _free(*names: str) -> OperatorDef:
    return OperatorDef(type="Free", input=names, output=names)


def _operator(op: OperatorDef) -> Fill:
    data = protobuf.delimited(fill_encoding.NET_OP, op.SerializeToString(deterministic=True))
    return Fill(len(data), lambda: iter([data]))
