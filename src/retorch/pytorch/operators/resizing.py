"""Resizing and sampling of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from retorch.layers.base.layer import Refusal
from retorch.pytorch.operators.node import Node, Said, one_or_list


def _resize(n: Node) -> str:
    sizes, out = n.shape()[2:], n.node.outputs[0].shape
    scales = [float(v) for v in n.array(2).ravel()[2:]] if n.has(2) and n.array(2).size else []
    if n.attribute("mode") == "nearest":
        if not scales or any(s != int(s) for s in scales):
            raise Refusal("holds a nearest resize to a size that is no multiple")
        return f"F.interpolate({n[0]}, scale_factor={one_or_list([int(s) for s in scales])})"
    corners = n.attribute("coordinate_transformation_mode", "half_pixel") == "align_corners"
    if out is None:
        raise Refusal("resizes to sizes that are not known")
    wanted = tuple(int(cast("int", d)) for d in out)[2:]
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(sizes)]
    return f'F.interpolate({n[0]}, {wanted}, mode="{mode}", align_corners={corners})'


OPERATORS: Mapping[str, Said] = {
    "GridSample": lambda n: f"F.grid_sample({n[0]}, {n[1]}, align_corners={bool(n.attribute('align_corners', 0))})",
    "Resize": _resize,
}
