"""What the embedded engine computes faster stays what it is."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.networks import conv, row

import retorch
from retorch.torch7 import TorchObject

RNG = np.random.default_rng(0)


def rectified(slopes: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A PReLU in the embedded engine, between convolutions that hand on what they are given."""
    channels = len(slopes)
    module = TorchObject("nn.PReLU", {"nOutputPlane": channels, "weight": slopes.astype(np.float32)})
    same = conv(channels, channels, 1, bias=False)
    same["weight"] = np.eye(channels, dtype=np.float32).reshape(channels, channels, 1, 1)
    made = retorch.convert(retorch.module.bind(row(same, module, same)), x.shape)
    return made.run(x)[0]


def expected(slopes: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, x * slopes.astype(np.float32)[:, None, None])


@pytest.mark.parametrize("channels", [3, 16, 24, 64])
def test_a_prelu_is_exact_whatever_the_channels(channels: int) -> None:
    slopes = RNG.uniform(-2, 2, channels)
    x = RNG.standard_normal((2, channels, 7, 5)).astype(np.float32)
    assert np.array_equal(rectified(slopes, x), expected(slopes, x))


def test_nan_stays_nan_and_zero_stays_zero() -> None:
    slopes = np.full(16, 0.25)
    x = np.zeros((1, 16, 4, 4), np.float32)
    x[0, :, 0, 0] = np.nan
    assert np.array_equal(rectified(slopes, x), x, equal_nan=True)


@pytest.mark.parametrize("slope", [np.inf, np.nan])
def test_a_slope_that_is_not_finite_leaves_what_is_above_zero(slope: float) -> None:
    slopes = np.full(16, 0.25)
    slopes[3] = slope
    module = TorchObject("nn.PReLU", {"nOutputPlane": 16, "weight": slopes.astype(np.float32)})
    x = RNG.uniform(1, 2, (1, 16, 4, 4)).astype(np.float32)
    assert np.array_equal(retorch.convert(retorch.module.bind(module), x.shape).run(x)[0], x)
