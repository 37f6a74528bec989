"""Whether the two halves of a network are what their names say: people copy one over the other, or exchange them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from retorch.caffe2.control import read_first
from retorch.caffe2.proto.caffe2_pb2 import NetDef, OperatorDef
from retorch.errors import FormatError
from retorch.files.regular import content


def check(
    predict_path: Path, predict: NetDef, init_path: Path, computed: Sequence[OperatorDef], filled: Collection[str]
) -> None:
    """FormatError for an init net that reads what it does not make, and for two files that fill the same.

    ``computed`` are the operators of the init net that are no plain fills, ``filled`` what the others leave.
    """
    fills_only = not read_first(predict.op)
    missing = [name for name in read_first(computed) if name not in filled]
    if missing:
        names = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
        raise FormatError(
            f"{init_path}: not an init net: it reads {names}, which it does not make",
            hint=f"{predict_path.name} and {init_path.name} are exchanged" if fills_only else "is it a predict net?",
        )
    if fills_only and filled and _same(predict_path, init_path):
        raise FormatError(f"{predict_path}: not a predict net: it is the same file as {init_path.name}")


def _same(one: Path, other: Path) -> bool:
    return one.stat().st_size == other.stat().st_size and content(one)[:] == content(other)[:]
