"""What layers with a memory share: initial states, forgetting, and outputs that outlive the next step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from retorch.layers.base.layer import Array, Layer, Nested, Refusal, Sizes

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values

Memory = dict[int, Any]


class Remembers(Layer):
    """A layer whose result depends on its earlier calls; its state stands in the pass's memory under its ``id``.

    A pass starts as after ``forget()``: what a file kept of the last sequence it saw is not part of the network.
    """


def forget(memory: Memory, module: Layer) -> None:
    """Torch's ``module:forget()``: the module and all that is inside start their sequences anew."""
    seen: set[int] = set()
    stack = [module]
    while stack:
        at = stack.pop()
        if id(at) in seen:
            continue
        seen.add(id(at))
        if isinstance(at, Remembers):
            memory.pop(id(at), None)
        stack.extend(at.children())


def remembers(module: Layer) -> str:
    """What a person should know of a layer whose states outlive a sequence in Torch."""
    return f"{module.path or '(root)'} {module.typename}: goes on where its last sequence ended; here it starts anew"


def stored(state: Array | None) -> Array | None:
    """A state that the user set, unless it was cleared."""
    return None if state is None or state.size == 0 else state


def zeros_for(op: Builder, x: Value, sizes: Sequence[int]) -> Value:
    """Zeros of (N, *sizes), N being the size of the first dimension of ``x``.

    They are computed from ``x``, so that the graph does not contain the batch size.
    """
    if 0 in x.shape:
        raise Refusal("has an empty input")
    if not x.is_float:
        x = op.Cast(x, to=1)
    axes = list(range(1, x.rank))
    column = op.Slice(x, [0] * len(axes), [1] * len(axes), axes) if axes else x
    if column.rank != 2:
        column = op.Reshape(column, [-1, 1])
    zeros = np.zeros((1, int(np.prod(sizes))), np.float32)
    flat = op.MatMul(op.Clip(column, 0.0, 0.0), zeros)
    return flat if len(sizes) == 1 else op.Reshape(flat, [-1, *sizes])


def check_batch(state: Array, sizes: Sizes) -> None:
    """Torch takes a stored state for one batch size only; broadcasting it would be another network."""
    if state.shape != sizes:
        raise Refusal(f"holds an initial state of {state.shape} and is given a batch that needs {sizes}")


def first_tensor(x: object) -> object:
    """The first tensor of a nested table, depth first."""
    while isinstance(x, list):
        x = cast("list[object]", x)[0]
    return x


def keep(buffers: dict[int, Any], step: int, y: Nested) -> Nested:
    """A copy of ``y`` in the tensors that step ``step`` owns; a second sequence overwrites the first one's."""
    if isinstance(y, list):
        inner = cast("dict[int, Any]", buffers.setdefault(~step, {}))
        return [keep(inner, i, item) for i, item in enumerate(y)]
    own = buffers.get(step)
    if own is None or own.shape != y.shape or own.dtype != y.dtype:
        own = buffers[step] = np.array(y)
    else:
        own[...] = y
    return cast("Array", own)


def keep_value(buffers: dict[int, Any], step: int, y: Values) -> Values:
    """The same for values that are being lowered."""
    if isinstance(y, list):
        inner = cast("dict[int, Any]", buffers.setdefault(~step, {}))
        return [keep_value(inner, i, item) for i, item in enumerate(y)]
    own = cast("Value | None", buffers.get(step))
    if own is None or own.shape != y.shape:
        own = buffers[step] = type(y)(y.read())
    else:
        own.write(type(y)(y.read()))
    return own
