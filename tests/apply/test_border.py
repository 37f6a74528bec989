"""Networks that cut the border off, as waifu2x's do and say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from retorch.apply.border import Border, border_of
from retorch.torch7 import LuaTable

Array = np.ndarray[Any, np.dtype[Any]]
X = np.random.default_rng(0).normal(size=(1, 3, 10, 13))


def doubled(x: Array) -> Array:
    return x.repeat(2, axis=2).repeat(2, axis=3)


@pytest.mark.parametrize("offset", [3, 14])
def test_what_is_cut_off_is_made_up_for(offset: int) -> None:
    def cut(x: Array) -> Array:
        return doubled(x)[:, :, offset:-offset, offset:-offset].reshape(1, -1)

    assert np.array_equal(Border(offset, 2).run(cut, X), doubled(X))


def test_only_valid_sizes_are_given_to_the_network() -> None:
    """cunet takes 4 n; what is added for that at the right and below is cut off again."""
    listed = LuaTable.of(*range(92, 508, 4))
    border = border_of({"w2nn_offset": 28, "w2nn_scale_factor": 1, "w2nn_valid_input_size": listed})
    assert border == Border(28, 1, 4, 0)
    seen: list[tuple[int, ...]] = []

    def cut(x: Array) -> Array:
        seen.append(x.shape[2:])
        return x[:, :, 28:-28, 28:-28]

    assert np.array_equal(border.run(cut, X), X)
    assert seen == [(68, 72)]


def test_other_networks_say_nothing() -> None:
    assert border_of({"modules": LuaTable()}) is None
    assert border_of({"w2nn_offset": -1}) is None
