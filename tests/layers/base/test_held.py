"""What modules keep of their outputs: as much as anybody can look at."""

from __future__ import annotations

import numpy as np

from building import sequential, torch_object
from retorch.layers.base.held import Held
from retorch.layers.base.layer import Array, Layer
from retorch.layers.base.memory import Nested, current_run


def found(held: Held) -> Array:
    array = held.get(1)
    assert array is not None
    return array


def test_an_array_is_known_as_long_as_somebody_has_it() -> None:
    held, array = Held(), np.arange(6.0)
    held[1] = array
    assert held.get(1) is array
    del array
    assert held.get(1) is None
    assert held.items() == []


def test_a_view_of_its_memory_keeps_an_array_known() -> None:
    held, array = Held(), np.arange(6.0)
    held[1] = array
    tail = array[4:]
    del array
    found(held)[5] = 7
    assert tail.tolist() == [4, 7]


def test_a_part_is_made_anew_where_another_part_is_left() -> None:
    held, whole = Held(), np.arange(12.0)
    part = whole.reshape(3, 4)[1:, ::2]
    held[1] = part
    other = whole[8:]
    del part, whole
    assert found(held).tolist() == [[4, 6], [8, 10]]
    found(held)[1] = -1
    assert other.tolist() == [-1, 9, -1, 11]
    del other
    assert held.get(1) is None


def test_a_pass_lets_values_go_that_nobody_reads_any_more() -> None:
    net = sequential(*[torch_object("nn.MulConstant", constant_scalar=2.0, inplace=False) for _ in range(9)])
    known: list[int] = []

    def listen(layer: Layer, x: Nested, y: Nested) -> None:
        run = current_run.get()
        known.append(0 if run is None else len(run.buffers.items()))

    net.forward(np.ones((1, 4), np.float32), listen)
    assert max(known) <= 2
