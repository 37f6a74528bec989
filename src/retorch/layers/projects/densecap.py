"""Boxes as DenseCap has them: rows (x, y, w, h), a box's centre and its size in pixels of the image, from 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.arithmetic import zero_of_each_sample
from retorch.layers.base.layer import Array, Binder, Layer, Nested, Refusal, layer
from retorch.layers.convolution.spatial import check_rank
from retorch.layers.projects.detection import check_boxes, pair
from retorch.layers.spatial_transformer import BilinearSamplerBHWD
from retorch.layers.wrapper import Wrapper

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values


def per_anchor(x: Array | Value, k: int) -> int:
    """How many channels of (N, D · k, H, W) belong to one of ``k`` anchors."""
    check_rank(x, 4)
    each, rest = divmod(x.shape[1], k)
    if rest:
        raise Refusal(f"takes images whose channels are for {k} anchors, not {x.shape[1]} channels")
    return each


@layer("nn.ReshapeBoxFeatures", kind="boxes")
class ReshapeBoxFeatures(Layer):
    """(N, k · D, H, W) ↦ (N, k · H · W, D): a row for each anchor at each place"""

    k: int
    ignored = frozenset({"input_perm", "gradInput_perm"})

    def forward(self, x: Array) -> Array:
        each = per_anchor(x, self.k)
        batch, _, height, width = x.shape
        rows = x.reshape(batch, self.k, each, height, width).transpose(0, 1, 3, 4, 2)
        return rows.reshape(batch, self.k * height * width, each)

    def lower(self, op: Builder, x: Value) -> Value:
        each = per_anchor(x, self.k)
        rows = op.Transpose(op.Reshape(x, [0, self.k, each, -1]), perm=[0, 1, 3, 2])
        return op.Reshape(rows, [0, -1, each])


def two_alike(x: Sequence[Array] | Sequence[Value]) -> None:
    """Two tensors of rows of four, of the same sizes, or Refusal."""
    pair(x)
    if x[0].shape != x[1].shape or x[0].shape[-1:] != (4,):
        raise Refusal(f"takes two tensors of the same rows of 4, not sizes {x[0].shape} and {x[1].shape}")


def halves(op: Builder, x: Value) -> tuple[Value, Value]:
    """The first two of each row, and the last two."""
    last = [len(x.shape) - 1]
    return op.Slice(x, [0], [2], last), op.Slice(x, [2], [4], last)


@layer("nn.ApplyBoxTransform", kind="boxes")
class ApplyBoxTransform(Layer):
    """{boxes, t} ↦ (t1 · w + x, t2 · h + y, w · exp(t3), h · exp(t4))"""

    ignored = frozenset({"output_view"})

    def forward(self, x: list[Array]) -> Array:
        two_alike(x)
        boxes, t = x
        centres, sizes = boxes[..., :2], boxes[..., 2:]
        return np.concatenate([t[..., :2] * sizes + centres, np.exp(t[..., 2:]) * sizes], axis=-1)

    def lower(self, op: Builder, x: list[Value]) -> Value:
        two_alike(x)
        (centres, sizes), (shift, scale) = halves(op, x[0]), halves(op, x[1])
        moved, wider = op.Add(op.Mul(shift, sizes), centres), op.Mul(op.Exp(scale), sizes)
        return op.Concat(moved, wider, axis=x[0].rank - 1)


@layer("nn.InvertBoxTransform", kind="boxes")
class InvertBoxTransform(Layer):
    """{boxes, wanted} ↦ what ApplyBoxTransform takes from the one to the other: (Δx / w, Δy / h, log of both ratios)"""

    def check(self, x: Sequence[Array] | Sequence[Value]) -> None:
        two_alike(x)
        check_boxes(x[0], 4)

    def forward(self, x: list[Array]) -> Array:
        self.check(x)
        boxes, wanted = x
        sizes = boxes[:, 2:]
        return np.concatenate([(wanted[:, :2] - boxes[:, :2]) / sizes, np.log(wanted[:, 2:] / sizes)], axis=1)

    def lower(self, op: Builder, x: list[Value]) -> Value:
        self.check(x)
        (centres, sizes), (wanted, wider) = halves(op, x[0]), halves(op, x[1])
        return op.Concat(op.Div(op.Sub(wanted, centres), sizes), op.Log(op.Div(wider, sizes)), axis=1)


class Anchors(Layer):
    """Boxes of ``anchors``' sizes, (2, k), around each place: at x0 + column · sx and y0 + row · sy."""

    x0: float
    y0: float
    sx: float
    sy: float
    anchors: Array

    def centres(self, x: Array | Value) -> Array:
        """(2, H, W): across and down."""
        check_rank(x, 4)
        down, across = (np.arange(size, dtype=np.float64) for size in x.shape[-2:])
        return np.stack(np.meshgrid(across * self.sx + self.x0, down * self.sy + self.y0))


@layer("nn.MakeAnchors", kind="anchors")
class MakeAnchors(Anchors):
    """(N, C, H, W) ↦ (N, 4k, H, W): x, y, w, h of each anchor at each place, whatever x holds"""

    def boxes(self, x: Array | Value) -> Array:
        """(4k, H, W)"""
        centres = self.centres(x)
        sizes = [np.broadcast_to(size, centres.shape[1:]) for size in self.anchors.T.reshape(-1)]
        return np.concatenate([[*centres, *sizes[at : at + 2]] for at in range(0, len(sizes), 2)])

    def forward(self, x: Array) -> Array:
        return np.repeat(self.boxes(x).astype(x.dtype)[None], len(x), axis=0)

    def lower(self, op: Builder, x: Value) -> Value:
        boxes = op.constant(self.boxes(x).astype(np.float32)[None], "boxes")
        return op.Add(op.Reshape(zero_of_each_sample(op, x), [-1, 1, 1, 1]), boxes)


@layer("nn.MakeBoxes", kind="boxes")
class MakeBoxes(Anchors):
    """(N, 4k, H, W) ↦ (N, k · H · W, 4): the anchors at each place, moved as ApplyBoxTransform does by x's fours"""

    ignored = frozenset({"input_perm", "boxes", "raw_anchors", "wa_expand", "ha_expand", "dtx", "dty", "dtw", "dth"})

    def check(self, x: Array | Value) -> int:
        """The number of anchors."""
        k = self.anchors.shape[1]
        if per_anchor(x, k) != 4:
            raise Refusal(f"takes images of {4 * k} channels, not {x.shape[1]}")
        return k

    def forward(self, x: Array) -> Array:
        k = self.check(x)
        batch, _, height, width = x.shape
        t = x.reshape(batch, k, 4, height, width)
        sizes = self.anchors.T.astype(x.dtype)[None, :, :, None, None]
        moved = sizes * t[:, :, :2] + self.centres(x).astype(x.dtype)
        boxes = np.concatenate([moved, np.exp(t[:, :, 2:]) * sizes], axis=2)
        return boxes.transpose(0, 1, 3, 4, 2).reshape(batch, -1, 4)

    def lower(self, op: Builder, x: Value) -> Value:
        k = self.check(x)
        t = op.Reshape(x, [0, k, 4, -1])
        shift, scale = op.Slice(t, [0], [2], [2]), op.Slice(t, [2], [4], [2])
        sizes = op.constant(np.array(self.anchors.T, np.float32)[None, :, :, None], "sizes")
        centres = op.constant(self.centres(x).astype(np.float32).reshape(1, 1, 2, -1), "centres")
        boxes = op.Concat(op.Add(op.Mul(shift, sizes), centres), op.Mul(op.Exp(scale), sizes), axis=2)
        return op.Reshape(op.Transpose(boxes, perm=[0, 1, 3, 2]), [0, -1, 4])


@layer("nn.BoxToAffine", kind="affine")
class BoxToAffine(Layer):
    """Boxes of an image of H x W ↦ the matrices (N, 2, 3) that bring -1 … 1 to them, for AffineGridGeneratorBHWD

    Their rows are (h / H, 0, (2y − 1 − H) / (H − 1)) and (0, w / W, (2x − 1 − W) / (W − 1)).
    """

    H: float | None = None
    W: float | None = None

    def sizes(self, x: Array | Value) -> tuple[float, float]:
        """The image's height and width."""
        check_boxes(x, 4)
        if self.H is None or self.W is None:
            raise Refusal(
                "is told the image's size before each run, and the file does not hold one",
                hint="load it with Torch, call setSize (setImageSize of nn.BilinearRoiPooling), and save it again",
            )
        return self.H, self.W

    def forward(self, x: Array) -> Array:
        height, width = self.sizes(x)
        y = np.zeros((len(x), 2, 3), x.dtype)
        y[:, 0, 0], y[:, 1, 1] = x[:, 3] / height, x[:, 2] / width
        y[:, 0, 2] = (2 * x[:, 1] - 1 - height) / (height - 1)
        y[:, 1, 2] = (2 * x[:, 0] - 1 - width) / (width - 1)
        return y

    def lower(self, op: Builder, x: Value) -> Value:
        height, width = self.sizes(x)
        columns = [op.Slice(x, [i], [i + 1], [1]) for i in range(4)]
        nil = op.Clip(columns[0], 0.0, 0.0)
        down = op.Div(op.Sub(op.Mul(columns[1], 2.0), 1 + height), height - 1)
        across = op.Div(op.Sub(op.Mul(columns[0], 2.0), 1 + width), width - 1)
        rows = [op.Div(columns[3], height), nil, down, nil, op.Div(columns[2], width), across]
        return op.Reshape(op.Concat(*rows, axis=1), [-1, 2, 3])


@layer("nn.BatchBilinearSamplerBHWD", kind="sample")
class BatchBilinearSamplerBHWD(BilinearSamplerBHWD):
    """{x, grids} ↦ one image at many grids' places, (down, across): (H, W, C) and (N, h, w, 2) give (N, h, w, C)"""

    ignored = frozenset({"inputImageView", "gradInputImageView"})

    def setup(self, bind: Binder) -> None:
        """Nothing: DenseCap's grids are those of AffineGridGeneratorBHWD."""

    def horizontal(self) -> int:
        return 1

    def check(self, x: Sequence[Array] | Sequence[Value]) -> None:
        pair(x)
        check_rank(x[0], 3)
        check_rank(x[1], 4)

    def forward(self, x: list[Array]) -> Array:
        self.check(x)
        image, grids = x
        wide = self.seen([image, grids.reshape(-1, *grids.shape[2:])])
        return wide.reshape(*grids.shape[:3], image.shape[2])

    def lower(self, op: Builder, x: list[Value]) -> Value:
        self.check(x)
        image, grids = x
        wide = self.lower_seen(op, [image, op.Reshape(grids, [-1, *grids.shape[2:]])])
        return op.Reshape(wide, [-1, *grids.shape[1:3], image.shape[2]])


@layer("nn.BilinearRoiPooling", kind="roi")
class BilinearRoiPooling(Wrapper):
    """{x, boxes} ↦ what each box shows of x: (C, H, W) and (N, 4) give (N, C, height, width)

    Boxes are in pixels of the image, whose size is set before each run: that of the file's last.
    """

    net: object
    image_height: float | None = None
    image_width: float | None = None
    ignored = frozenset({"height", "width", "box_to_affine", "called_forward", "called_backward"})

    def setup(self, bind: Binder) -> None:
        self.inside = [bind(self.net, f"{self.path}.net".removeprefix("."))]
        for made in self.inside[0].every():
            if isinstance(made, BoxToAffine):
                made.H, made.W = self.image_height, self.image_width

    def forward(self, x: Nested) -> Nested:
        return self.inside[0](x)

    def lower(self, op: Builder, x: Values) -> Values:
        return op.call(self.inside[0], x)


@layer("nn.BoxIoU", kind="iou")
class BoxIoU(Layer):
    """{a, b} ↦ how much of two boxes is in both, shared by their union: (N, A, 4) and (N, B, 4) give (N, A, B)

    A box ends (w − 1) / 2 from its centre; its area counts as w · h.
    """

    ignored = frozenset({"area1", "area2", "overlap"})

    def check(self, x: Sequence[Array] | Sequence[Value]) -> None:
        pair(x)
        for boxes in x:
            check_rank(boxes, 3)
            if boxes.shape[2] != 4 or boxes.shape[0] != x[0].shape[0]:
                raise Refusal(f"takes two batches of rows of 4, not sizes {x[0].shape} and {x[1].shape}")

    def forward(self, x: list[Array]) -> Array:
        self.check(x)
        a, b = x[0][:, :, None], x[1][:, None]
        ends = [[half * (boxes[..., 2:] - 1) / 2 + boxes[..., :2] for half in (-1, 1)] for boxes in (a, b)]
        sides = np.minimum(ends[0][1], ends[1][1]) - np.maximum(ends[0][0], ends[1][0])
        both = np.maximum(sides, 0).prod(axis=-1)
        return both / (a[..., 2] * a[..., 3] - both + b[..., 2] * b[..., 3])

    def lower(self, op: Builder, x: list[Value]) -> Value:
        self.check(x)
        a, b = op.Unsqueeze(x[0], [2]), op.Unsqueeze(x[1], [1])
        both = None
        for i in (0, 1):
            (low, high), (other_low, other_high) = (self._ends(op, boxes, i) for boxes in (a, b))
            side = op.Clip(op.Sub(op.Min(high, other_high), op.Max(low, other_low)), 0.0)
            both = side if both is None else op.Mul(both, side)
        areas = [op.Mul(*(op.Slice(boxes, [i], [i + 1], [3]) for i in (2, 3))) for boxes in (a, b)]
        return op.Squeeze(op.Div(both, op.Add(op.Sub(areas[0], both), areas[1])), [3])

    def _ends(self, op: Builder, boxes: Value, i: int) -> tuple[Value, Value]:
        centre, size = (op.Slice(boxes, [at], [at + 1], [3]) for at in (i, i + 2))
        half = op.Mul(op.Sub(size, 1.0), 0.5)
        return op.Sub(centre, half), op.Add(centre, half)
