"""Weights that begin at an odd byte of their file."""

from __future__ import annotations

import gc

import numpy as np

from retorch.layers.base import aligned as kept
from retorch.layers.base.aligned import aligned
from retorch.layers.base.window import convolve, slide


def at_odd_byte(array: np.ndarray) -> np.ndarray:
    """The same numbers, read-only, one byte behind where a processor wants them."""
    return np.frombuffer(b"x" + array.tobytes(), array.dtype, offset=1).reshape(array.shape)


def test_a_read_only_array_is_copied_once_and_the_copy_goes_with_it() -> None:
    before = len(kept._copies)
    weight = at_odd_byte(np.arange(6, dtype=np.float32))
    assert not weight.flags.aligned
    assert aligned(weight).flags.aligned
    assert aligned(weight) is aligned(weight)
    assert np.array_equal(aligned(weight), np.arange(6))
    del weight
    gc.collect()
    assert len(kept._copies) == before


def test_an_array_that_can_be_written_into_is_copied_as_it_is_each_time() -> None:
    weight = np.frombuffer(bytearray(b"x" + bytes(8)), np.float32, offset=1)
    assert aligned(weight)[0] == 0
    weight[0] = 3
    assert aligned(weight)[0] == 3


def test_weights_at_an_odd_byte_convolve_like_others() -> None:
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((2, 4, 9, 7)), rng.standard_normal((6, 2, 3, 3))
    x, weight = x.astype(np.float32), weight.astype(np.float32)
    windows = slide((9, 7), (3, 3), (2, 1), (1, 0))
    assert np.array_equal(convolve(x, at_odd_byte(weight), None, windows, 2), convolve(x, weight, None, windows, 2))


def test_a_convolution_in_several_blocks_is_the_sum_over_its_taps() -> None:
    rng = np.random.default_rng(0)
    x, weight, bias = rng.standard_normal((1, 40, 90, 80)), rng.standard_normal((2, 40, 3, 3)), np.array([1.0, -2.0])
    windows = slide((90, 80), (3, 3), (1, 1), (0, 0))
    places = [(i, j, x[0, :, i : i + 88, j : j + 78]) for i in range(3) for j in range(3)]
    expected = sum(np.einsum("oc,chw->ohw", weight[:, :, i, j], seen) for i, j, seen in places)
    expected = expected + bias.reshape(-1, 1, 1)
    np.testing.assert_allclose(convolve(x, weight, bias, windows)[0], expected, rtol=0, atol=1e-10)
