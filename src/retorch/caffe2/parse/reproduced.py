"""Whether an operator calculates as its rule says: it may name another way, or read what its rule cannot."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from retorch.caffe2.parse.graph import RefusalError
from retorch.caffe2.parse.int8 import scale_of
from retorch.caffe2.proto.caffe2_pb2 import OperatorDef


def check_reproduced(operator: OperatorDef, inputs: Sequence[ir.Value]) -> None:
    """Refuses engines with numbers of their own, and bytes where the operator calculates with floats."""
    _check_engine(operator)
    _check_bytes(operator, inputs)


def _check_engine(operator: OperatorDef) -> None:
    """Engines that only are faster may be ignored; these calculate other numbers."""
    other = next((name for name in operator.engine.split(",") if name.startswith(("DNNLOWP", "FAKE_"))), None)
    if other is not None:
        raise RefusalError(f"engine {other}, which calculates with fewer bits in a way of its own")


def _check_bytes(operator: OperatorDef, inputs: Sequence[ir.Value]) -> None:
    """Operators on floats do not take blobs of eight bits."""
    if operator.type.startswith("Int8"):
        return
    blob = next((blob for blob, value in zip(operator.input, inputs, strict=True) if scale_of(value)), None)
    if blob is not None:
        raise RefusalError(f"reads {blob}, a blob of eight bits with a scale")
