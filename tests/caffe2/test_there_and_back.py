"""ONNX written as Caffe2 and read back means what onnxruntime says of the original: both tables, no Caffe2 needed."""

from __future__ import annotations

import pytest

from caffe2 import emit_rows_layers, emit_rows_pointwise, emit_rows_shapes
from caffe2.emit_cases import Row, assert_close, model, net, wanted
from retorch.caffe2.emit.net import EmitOptions
from retorch.caffe2.parse.net import RULES, parse
from retorch.caffe2.schema import ARGUMENTS
from retorch.network import Network

ROWS = [*emit_rows_layers.ROWS, *emit_rows_pointwise.ROWS, *emit_rows_shapes.ROWS]


@pytest.mark.parametrize("release", ["1.0", "1.10"])
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_there_and_back(row: Row, release: str) -> None:
    proto, feeds = model(row)
    written = net(proto, EmitOptions(release="1.0" if release == "1.0" else "1.10"))
    back = Network(None, source=written)
    assert_close(back.run(feeds), wanted(row, proto, feeds))


@pytest.mark.parametrize("row", [row for row in ROWS if not row.fixed], ids=str)
def test_any_batch_there_and_back(row: Row) -> None:
    """Read with its batch open, as it was written."""
    proto, feeds = model(row, batch=True)
    shapes = {name: ("N", *array.shape[1:]) if array.ndim else () for name, array in feeds.items()}
    assert_close(Network(parse(net(proto), shapes)).run(feeds), wanted(row, proto, feeds))


def test_whatever_is_written_can_be_read() -> None:
    assert set(ARGUMENTS) <= set(RULES)
