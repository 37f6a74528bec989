"""Random settings, seeded, against onnxruntime in the real Caffe2 of both versions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe2.emit_cases import actual, assert_close, expected, model
from caffe2.emit_rows_random import FAMILIES
from retorch.engines.caffe2_runtime import Runtime

SEEDS = range(12)


@pytest.mark.caffe2
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_numbers(family: str, seed: int, caffe2: Runtime, tmp_path: Path) -> None:
    row = FAMILIES[family](np.random.default_rng([seed, len(family)]))
    proto, feeds = model(row)
    right = expected(proto, feeds)
    assert_close(actual(caffe2, tmp_path / "fixed", proto, feeds), right)
    if not row.fixed:
        symbolic, _ = model(row, batch=True)
        assert_close(actual(caffe2, tmp_path / "any", symbolic, feeds), right)
