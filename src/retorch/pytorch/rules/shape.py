"""Views and reorderings of dimensions."""

from __future__ import annotations

import math

from retorch.layers.shape import selection, view
from retorch.layers.shape.replicate import Replicate
from retorch.layers.shape.transpose import Transpose
from retorch.pytorch.part import Part
from retorch.pytorch.rule import Run, rule


@rule(view.View, view.Reshape, view.Collapse)
def reshaping(layer: view.View | view.Reshape | view.Collapse, at: Run) -> Part | None:
    given, made = at.shape(), at.made_shape()
    if not given or not made or given == made:
        return None
    if len(made) == 2 and len(given) > 2 and made[0] == given[0]:
        return at.module("nn.Flatten", inline="{0}.flatten(1)")
    if len(given) == 2 and made[0] == given[0] and len(made) > 2:
        return at.module("nn.Unflatten", 1, made[1:], inline=f"{{0}}.view(-1, {', '.join(map(str, made[1:]))})")
    if len(made) == 1:
        return at.module("nn.Flatten", 0, inline="{0}.flatten()")
    sizes = (-1, *made[1:]) if _batch_in_front(layer, given, made) else made
    return at.module("Reshape", *sizes, inline=f"{{0}}.reshape({', '.join(map(str, sizes))})", how="module")


def _batch_in_front(layer: object, given: tuple[int, ...], made: tuple[int, ...]) -> bool:
    """Whether the first size of what comes out is a batch, or a multiple of it."""
    if isinstance(layer, view.View) and len(made) == len(layer.size):
        return layer.size[0] == -1 and math.prod(given) == math.prod(made)
    return len(made) > len(layer.size) if isinstance(layer, (view.View, view.Reshape)) else True


@rule(Transpose)
def transpose(layer: Transpose, at: Run) -> Part | None:
    order = layer.order(at.rank)
    moved = [i for i, axis in enumerate(order) if i != axis]
    if len(moved) == 2:
        return at.module("Transpose", *moved, inline=f"{{0}}.transpose({moved[0]}, {moved[1]})", how="module")
    return at.module("Permute", *order, inline=f"{{0}}.permute({', '.join(map(str, order))})", how="module")


@rule(view.Unsqueeze)
def unsqueeze(layer: view.Unsqueeze, at: Run) -> Part | None:
    axis = layer.axis(at.rank)
    return at.module("Unsqueeze", axis, inline=f"{{0}}.unsqueeze({axis})", how="module")


@rule(selection.Select)
def select(layer: selection.Select, at: Run) -> Part | None:
    axis = view.axis_of(layer.dimension, at.rank)
    index = layer.index - 1 if layer.index > 0 else layer.index
    return at.module("Select", axis, index, inline=f"{{0}}.select({axis}, {index})", how="module")


@rule(selection.Narrow)
def narrow(layer: selection.Narrow, at: Run) -> Part | None:
    axis, start, stop = layer.span(at.shape())
    if layer.length < 0 or layer.index < 0 or (axis == 0 and stop == at.shape()[0]):
        return None
    length = stop - start
    return at.module("Narrow", axis, start, length, inline=f"{{0}}.narrow({axis}, {start}, {length})", how="module")


@rule(view.Squeeze)
def squeeze(layer: view.Squeeze, at: Run) -> Part | None:
    axes = layer.axes(at.shape())
    if len(axes) != 1:
        return None
    return at.module("Squeeze", axes[0], inline=f"{{0}}.squeeze({axes[0]})")


@rule(Replicate)
def replicate(layer: Replicate, at: Run) -> Part | None:
    axis, count = layer.axis(at.rank), int(layer.nfeatures)
    expanded = ", ".join(str(count) if i == axis else "-1" for i in range(at.rank + 1))
    return at.module("Replicate", axis, count, inline=f"{{0}}.unsqueeze({axis}).expand({expanded})")
