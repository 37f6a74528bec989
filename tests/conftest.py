"""What all tests share: the real Caffe2 and the published models, each skipped where it is missing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import hypothesis
import pytest

from retorch.engines.caffe2_runtime import VERSIONS, Runtime

# how long an example takes says how busy the machine is
hypothesis.settings.register_profile("retorch", deadline=None)
hypothesis.settings.load_profile("retorch")

# Caffe2's MKL-DNN takes other code where the processor has more, and what --mkldnn knows was measured with this.
os.environ.setdefault("DNNL_MAX_CPU_ISA", "AVX2")

REAL = Path(__file__).parents[2] / "shared" / "real"


@cache
def _runtime(version: str) -> Runtime | None:
    return Runtime.find(version)


@pytest.fixture(scope="session", params=VERSIONS)
def caffe2(request: pytest.FixtureRequest) -> Iterator[Runtime]:
    """The real Caffe2 of each version."""
    runtime = _runtime(request.param)
    if runtime is None:
        pytest.skip(f"the Caffe2 of torch {request.param} is not installed (make caffe2)")
    yield runtime
    runtime.close()


@pytest.fixture(scope="session")
def real() -> Path:
    """The folder of models published by others."""
    if not REAL.is_dir():
        pytest.skip("the folder of published models is not here")
    return REAL
