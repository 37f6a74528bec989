"""Every rule of the emission, against onnxruntime, in the real Caffe2 of both releases."""

from __future__ import annotations

from pathlib import Path

import pytest

from caffe2 import emit_rows_layers, emit_rows_pointwise, emit_rows_shapes
from caffe2.emit_cases import Row, actual, assert_close, model, net, wanted
from retorch.caffe2.emit.net import EmitOptions, supported
from retorch.engines.caffe2_runtime import Runtime

ROWS = [*emit_rows_layers.ROWS, *emit_rows_pointwise.ROWS, *emit_rows_shapes.ROWS]


@pytest.mark.parametrize("row", [row for row in ROWS if row.ops], ids=str)
def test_operators_written(row: Row) -> None:
    proto, _ = model(row)
    assert [op.type for op in net(proto).predict.op] == row.ops.split()


@pytest.mark.caffe2
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_numbers(row: Row, caffe2: Runtime, tmp_path: Path) -> None:
    proto, feeds = model(row)
    right = wanted(row, proto, feeds)
    assert_close(actual(caffe2, tmp_path / "default", proto, feeds), right)
    if caffe2.version.startswith("1.10"):
        assert_close(actual(caffe2, tmp_path / "new", proto, feeds, EmitOptions(release="1.10")), right)


@pytest.mark.caffe2
@pytest.mark.parametrize("row", [row for row in ROWS if not row.fixed], ids=str)
def test_any_batch(row: Row, caffe2: Runtime, tmp_path: Path) -> None:
    """The net of a symbolic batch is right for the sizes of the row."""
    proto, feeds = model(row, batch=True)
    assert_close(actual(caffe2, tmp_path, proto, feeds), wanted(row, proto, feeds))


def test_every_rule_has_a_row() -> None:
    # these have their own tests: one needs a MaxPool before it, and no two runs of the others agree
    others = {"MaxUnpool", "RandomNormalLike", "RandomUniformLike"}
    assert supported() - {row.op for row in ROWS} == others
