"""Spatial transformers (stn, stnbhwd): grids of places in an image, and what it shows there; images: (N, H, W, C)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Refusal, layer
from retorch.layers.convolution.spatial import check_rank
from retorch.layers.upsampling import interpolated, lower_interpolated

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


@layer("nn.AffineGridGeneratorBHWD", kind="grid")
class AffineGridGeneratorBHWD(Layer):
    """y[n, i, j] = x[n] · (v_i, u_j, 1), v and u from -1 to 1; x is (N, 2, 3) or (2, 3), y (N, height, width, 2)"""

    height: int
    width: int
    baseGrid: Array | None = None
    ignored = frozenset({"batchGrid"})

    def setup(self, bind: Binder) -> None:
        grid = self.baseGrid
        if grid is None or grid.shape != (self.height, self.width, 3):
            rows, columns = (np.linspace(-1, 1, n) for n in (self.height, self.width))
            grid = np.stack([*np.meshgrid(rows, columns, indexing="ij"), np.ones((self.height, self.width))], axis=-1)
        self._rows = np.array(grid.reshape(-1, 3))

    def check(self, x: Array | Value) -> None:
        """Affine matrices, or Refusal."""
        check_rank(x, 2, 3)
        if x.shape[-2:] != (2, 3):
            raise Refusal(f"takes matrices of 2x3, not {'x'.join(map(str, x.shape[-2:]))}")

    def forward(self, x: Array) -> Array:
        self.check(x)
        places = self._rows.astype(x.dtype) @ x.swapaxes(-1, -2)
        return places.reshape(*x.shape[:-2], self.height, self.width, 2)

    def lower(self, op: Builder, x: Value) -> Value:
        self.check(x)
        matrices = op.Transpose(x, perm=[0, 2, 1] if x.rank == 3 else [1, 0])
        places = op.MatMul(op.constant(self._rows.astype(np.float32), "base"), matrices)
        return op.Reshape(places, [*(0,) * (x.rank - 2), self.height, self.width, 2])


@layer("nn.BilinearSamplerBHWD", kind="sample")
class BilinearSamplerBHWD(Layer):
    """{x, grid} ↦ x at the places of grid: (N, H, W, C) and (N, h, w, 2) give (N, h, w, C)

    A place is in -1 … 1, corners on corners; linear between pixels, and zero outside. It is (horizontal, vertical), as
    in SPyNet's stnbhwd; in a network that has an AffineGridGeneratorBHWD it is (vertical, horizontal), as in the first.
    """

    def setup(self, bind: Binder) -> None:
        self._network = bind.layers
        bind.notes.append(
            f"{self.path or '(root)'} {self.typename}: grids are (x, y), next to AffineGridGeneratorBHWD (y, x)"
        )

    def horizontal(self) -> int:
        """Which of the two coordinates is the horizontal one."""
        return int(any(isinstance(made, AffineGridGeneratorBHWD) for made in self._network.values()))

    def check(self, x: Sequence[Array] | Sequence[Value]) -> None:
        """An image and a grid for it, or Refusal."""
        if len(x) != 2:
            raise Refusal(f"takes an image and a grid, not {len(x)} tensors")
        for tensor in x:
            check_rank(tensor, 3, 4)
        image, grid = x
        if len(image.shape) != len(grid.shape) or image.shape[:-3] != grid.shape[:-3] or grid.shape[-1] != 2:
            raise Refusal(f"cannot read an image of {image.shape} at a grid of {grid.shape}")

    def forward(self, x: list[Array]) -> Array:
        self.check(x)
        return self.seen(x)

    def seen(self, x: list[Array]) -> Array:
        """What the image shows at the places of the grid."""
        image, grid = (t if t.ndim == 4 else t[None] for t in x)
        height, width = image.shape[1:3]
        across = self.horizontal()
        columns = (grid[..., across] + 1) * ((width - 1) / 2)
        rows = (grid[..., 1 - across] + 1) * ((height - 1) / 2)
        left, top = np.floor(columns), np.floor(rows)
        batch = np.arange(len(image))[:, None, None]
        y = np.zeros((*grid.shape[:3], image.shape[3]), np.result_type(image, grid))
        for down in (0, 1):
            for right in (0, 1):
                share = (rows - top if down else top + 1 - rows) * (columns - left if right else left + 1 - columns)
                i, j = (np.nan_to_num(at, nan=-9).clip(-9, 2**31) for at in (top + down, left + right))
                here = (i >= 0) & (i < height) & (j >= 0) & (j < width)
                i, j = (np.where(here, at, 0).astype(np.int64) for at in (i, j))
                y += np.where(here[..., None], image[batch, i, j] * share[..., None], 0)
        return y if x[0].ndim == 4 else y[0]

    def lower(self, op: Builder, x: list[Value]) -> Value:
        self.check(x)
        return self.lower_seen(op, x)

    def lower_seen(self, op: Builder, x: list[Value]) -> Value:
        """The same in ONNX operators."""
        image, grid = (t if t.rank == 4 else op.unsqueeze(t, 0) for t in x)
        if self.horizontal():
            grid = op.Concat(op.Slice(grid, [1], [2], [3]), op.Slice(grid, [0], [1], [3]), axis=3)
        channels = op.Transpose(image, perm=[0, 3, 1, 2])
        seen = op.GridSample(channels, grid, mode="linear", padding_mode="zeros", align_corners=1)
        y = op.Transpose(seen, perm=[0, 2, 3, 1])
        return y if x[0].rank == 4 else op.Squeeze(y, [0])


@layer("nn.AffineTransformMatrixGenerator", kind="affine")
class AffineTransformMatrixGenerator(Layer):
    """Rows (angle?, scale_x scale_y?, t_x t_y?) ↦ [R S | R S t], the 2 x 3 matrices of turning, scaling and shifting

    R turns by the angle, S scales, t shifts; what the settings leave out is left out of a row too. With none of them a
    row is the matrix itself.
    """

    fullMode: bool = False
    useRotation: bool = False
    useScale: bool = False
    useTranslation: bool = False
    ignored = frozenset({"rotationOutput", "scaleOutput"})

    def whole(self) -> bool:
        """Whether rows are matrices."""
        return self.fullMode or not (self.useRotation or self.useScale or self.useTranslation)

    def check(self, x: Array | Value) -> None:
        """Rows of the right length, or Refusal."""
        check_rank(x, 1, 2)
        parts = self.useRotation + 2 * self.useScale + 2 * self.useTranslation
        wanted = 6 if self.whole() else parts
        if x.shape[-1] != wanted:
            raise Refusal(f"takes rows of {wanted} numbers, not {x.shape[-1]}")

    def forward(self, x: Array) -> Array:
        self.check(x)
        if self.whole():
            return x.reshape(*x.shape[:-1], 2, 3)
        numbers = list(np.moveaxis(x, -1, 0))
        one, nil = np.ones(x.shape[:-1], x.dtype), np.zeros(x.shape[:-1], x.dtype)
        cos, sin = one, nil
        if self.useRotation:
            angle = numbers.pop(0)
            cos, sin = np.cos(angle), np.sin(angle)
        across, down = (numbers.pop(0), numbers.pop(0)) if self.useScale else (one, one)
        right, below = (numbers.pop(0), numbers.pop(0)) if self.useTranslation else (nil, nil)
        (a, b), (c, d) = (cos * across, -sin * down), (sin * across, cos * down)
        rows = np.stack([a, b, a * right + b * below, c, d, c * right + d * below], axis=-1)
        return rows.reshape(*x.shape[:-1], 2, 3)

    def lower(self, op: Builder, x: Value) -> Value:
        self.check(x)
        shape = [2, 3] if x.rank == 1 else [-1, 2, 3]
        if self.whole():
            return op.reshape(x, shape)
        rows = x if x.rank == 2 else op.unsqueeze(x, 0)
        columns = [op.Slice(rows, [i], [i + 1], [1]) for i in range(rows.shape[1])]
        one = op.Add(op.Mul(columns[0], 0.0), 1.0)
        nil = op.Mul(columns[0], 0.0)
        cos, sin, minus = one, nil, nil
        if self.useRotation:
            angle = columns.pop(0)
            cos, sin = op.Cos(angle), op.Sin(angle)
            minus = op.Neg(sin)
        across, down = (columns.pop(0), columns.pop(0)) if self.useScale else (one, one)
        right, below = (columns.pop(0), columns.pop(0)) if self.useTranslation else (nil, nil)
        (a, b), (c, d) = (op.Mul(cos, across), op.Mul(minus, down)), (op.Mul(sin, across), op.Mul(cos, down))
        shift = [op.Add(op.Mul(first, right), op.Mul(second, below)) for first, second in ((a, b), (c, d))]
        return op.Reshape(op.Concat(a, b, shift[0], c, d, shift[1], axis=1), shape)


@layer("nn.ScaleBHWD", kind="upsample")
class ScaleBHWD(Layer):
    """x, (N, H, W, C) or (H, W, C), brought to ``scale`` times its size, corners on corners, linear between pixels"""

    scale: int = 1

    def sizes(self, x: Array | Value) -> tuple[int, int]:
        """The output's height and width."""
        check_rank(x, 3, 4)
        return x.shape[-3] * self.scale, x.shape[-2] * self.scale

    def forward(self, x: Array) -> Array:
        return np.moveaxis(interpolated(np.moveaxis(x, -1, -3), self.sizes(x)), -3, -1)

    def lower(self, op: Builder, x: Value) -> Value:
        images = x if x.rank == 4 else op.unsqueeze(x, 0)
        channels = op.Transpose(images, perm=[0, 3, 1, 2])
        y = op.Transpose(lower_interpolated(op, channels, self.sizes(x)), perm=[0, 2, 3, 1])
        return y if x.rank == 4 else op.Squeeze(y, [0])
