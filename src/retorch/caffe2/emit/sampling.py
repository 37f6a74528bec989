"""GridSample: an image read at computed places. Rows of pixels are gathered and weighed; nothing else is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from retorch.caffe2.emit.arithmetic import binary, scale, shift, total
from retorch.caffe2.emit.indexing import counted
from retorch.caffe2.emit.op import FLOAT32, INT32, Blob, Op, RefusalError, Result, Rule, size
from retorch.caffe2.emit.primitives import cut, reshape, squeeze, transpose, volume


def grid_sample(op: Op) -> Result:
    x, grid = op.blob(0), op.blob(1)
    mode, padding = op.string("mode", "linear"), op.string("padding_mode", "zeros")
    aligned = bool(op.int("align_corners", 0))
    if x.rank != 4 or mode not in ("linear", "bilinear", "nearest"):
        raise RefusalError(f"GridSample of mode {mode}, rank {x.rank}")
    height, width = size(x.dims[2]), size(x.dims[3])
    points = volume(grid.dims[1:3], f"{op.y}.points")
    flat = reshape(op, grid, (grid.dims[0], points, 2))
    across, down = (
        _bounded(op, _place(op, cut(op, flat, 2, axis, axis + 1), length, aligned=aligned), length, padding, aligned)
        for axis, length in ((0, width), (1, height))
    )
    pixels = reshape(op, transpose(op, x, [0, 2, 3, 1]), (volume(x.dims[:1] + x.dims[2:], f"{op.y}.rows"), x.dims[1]))
    first = scale_int(op, counted(op, flat), height * width)  # (N, 1, 1): where each image begins
    sides = [_neighbours(op, at, length, padding, nearest=mode == "nearest") for at, length in
             ((down, height), (across, width))]  # fmt: skip
    made: list[Blob] = []
    for row, tall in sides[0]:
        for column, wide in sides[1]:
            index = binary(op, "Add", binary(op, "Add", scale_int(op, row, width), column), first)
            found = op.make("Gather", [pixels, squeeze(op, index, [2])], (x.dims[0], points, x.dims[1]))
            made.append(_weighed(op, found, [tall, wide]))
    return reshape(op, transpose(op, total(op, "Sum", made), [0, 2, 1]), (*x.dims[:2], *grid.dims[1:3]))


def scale_int(op: Op, x: Blob, factor: int) -> Blob:
    return x if factor == 1 else binary(op, "Mul", x, op.param(np.array([factor], np.int32), "stride"))


def _weighed(op: Op, found: Blob, weights: Sequence[Blob | None]) -> Blob:
    kept = [weight for weight in weights if weight is not None]
    if not kept:
        return found
    weight = kept[0] if len(kept) == 1 else binary(op, "Mul", kept[0], kept[1])
    return binary(op, "Mul", found, weight)


def _place(op: Op, at: Blob, length: int, *, aligned: bool) -> Blob:
    """-1...1 in pixels: over the centres of the outer pixels where aligned, else over their outer edges."""
    if aligned:
        return scale(op, shift(op, at, 1.0), (length - 1) / 2)
    return shift(op, scale(op, shift(op, at, 1.0), length / 2), -0.5)


def _bounded(op: Op, at: Blob, length: int, padding: str, aligned: bool) -> Blob:
    """Places beyond the image brought in, as ``padding`` says; with zeros only so far that they still count nothing."""
    match padding:
        case "border":
            return op.map("Clip", at, min=0.0, max=float(length - 1))
        case "reflection":
            low, span = (0.0, float(length - 1)) if aligned else (-0.5, float(length))
            away = op.map("Abs", shift(op, at, -low))
            turns = scale(op, op.map("Floor", scale(op, away, 0.5 / max(span, 1e-9))), 2 * span)
            folded = binary(op, "Sub", away, turns)  # in [0, 2 span): the second half comes back
            inner = shift(op, scale(op, op.map("Abs", shift(op, folded, -span)), -1.0), span + low)
            return op.map("Clip", inner, min=0.0, max=float(length - 1))
        case _:
            return op.map("Clip", at, min=-2.0, max=float(length + 1))


def _neighbours(op: Op, at: Blob, length: int, padding: str, *, nearest: bool) -> list[tuple[Blob, Blob | None]]:
    """The pixels to read along one axis as integers, each with its weight."""
    if nearest:
        magic = float(3 << 22)  # adding and taking it away rounds to the nearest, halves to the even one
        whole = shift(op, shift(op, at, magic), -magic)
        inside = _inside(op, whole, length) if padding == "zeros" else None
        return [(_index(op, whole, length), inside)]
    low = op.map("Floor", at)
    high = shift(op, low, 1.0)
    rest = binary(op, "Sub", at, low)
    pairs = [(low, binary(op, "Sub", high, at)), (high, rest)]
    if padding == "zeros":
        pairs = [(place, binary(op, "Mul", weight, _inside(op, place, length))) for place, weight in pairs]
    return [(_index(op, place, length), weight) for place, weight in pairs]


def _inside(op: Op, place: Blob, length: int) -> Blob:
    """1 for pixels of the image, 0 beyond: clipping changes the latter."""
    within = op.map("Clip", place, min=0.0, max=float(length - 1))
    same = binary(op, "And", binary(op, "GE", place, within), binary(op, "LE", place, within))
    return op.map("Cast", same, to=FLOAT32)


def _index(op: Op, place: Blob, length: int) -> Blob:
    return op.map("Cast", op.map("Clip", place, min=0.0, max=float(length - 1)), to=INT32)


RULES: Mapping[str, Rule] = {"GridSample": grid_sample}
