"""Detection and segmentation as projects published them: multipathnet, Fast R-CNN's pooling, DeepMask, SharpMask.

A box is a row (image, x1, y1, x2, y2); images and pixels count from 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Nested, Refusal, Sizes, layer
from retorch.layers.base.memory import result
from retorch.layers.container import Concat, Container, Sequential, tensor, value
from retorch.layers.convolution.spatial import check_rank
from retorch.torch7 import LuaTable

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values

#: How nn.Foveal widens a box: by so many widths before it, to so many widths in all.
FOVEAL = ((0.0, 1.0), (0.25, 1.5), (0.5, 2.0), (1.5, 4.0))


def check_boxes(x: Array | Value, columns: int = 5) -> None:
    """Rows of so many numbers, or Refusal."""
    check_rank(x, 2)
    if x.shape[1] != columns:
        raise Refusal(f"takes rows of {columns} numbers, not of {x.shape[1]}")


def pair(x: Sequence[object]) -> None:
    """Two entries, or Refusal."""
    if len(x) != 2:
        raise Refusal(f"takes a table of 2 entries, not of {len(x)}")


@layer("nn.BBoxNorm", kind="boxes")
class BBoxNorm(Layer):
    """x · std + mean, by fours; x is (N, 4K). In place where x is in one piece"""

    mean: Array
    std: Array

    def check(self, x: Array | Value) -> None:
        check_rank(x, 2)
        if x.shape[1] % 4:
            raise Refusal(f"takes rows of fours, not of {x.shape[1]}")

    def repeated(self, fours: Array, x: Array | Value) -> Array:
        return np.tile(fours.reshape(-1), x.shape[1] // 4)

    def forward(self, x: Array) -> Array:
        self.check(x)
        return result(x, x * self.repeated(self.std, x) + self.repeated(self.mean, x), x.flags.c_contiguous)

    def lower(self, op: Builder, x: Value) -> Value:
        self.check(x)
        wide = op.Mul(x, op.constant(self.repeated(self.std, x), "w"))
        return op.result(x, op.Add(wide, op.constant(self.repeated(self.mean, x), "b")), x.is_contiguous)


@layer("nn.SelectBoxes", kind="boxes")
class SelectBoxes(Layer):
    """{p, y} ↦ of each row of y (N, 4K) the four numbers of the class that is largest in p (N, K), · std + mean"""

    mean: Array | None = None
    std: Array | None = None
    ignored = frozenset({"maxvals", "maxids", "ids", "gradInput_classes", "gradInput_boxes"})

    def check(self, x: list[Array] | list[Value]) -> None:
        pair(x)
        classes, boxes = x
        check_rank(classes, 2)
        check_boxes(boxes, 4 * classes.shape[1])

    def forward(self, x: list[Array]) -> Array:
        self.check(x)
        classes, boxes = x
        y = np.take_along_axis(boxes, 4 * classes.argmax(axis=1, keepdims=True) + np.arange(4), axis=1)
        return y if self.std is None or self.mean is None else y * self.std.reshape(1, 4) + self.mean.reshape(1, 4)

    def lower(self, op: Builder, x: list[Value]) -> Value:
        self.check(x)
        classes, boxes = x
        first = op.Mul(op.ArgMax(classes, axis=1, keepdims=1), [4])
        y = op.GatherElements(boxes, op.Add(first, op.constant(np.arange(4, dtype=np.int64)[None])), axis=1)
        if self.std is None or self.mean is None:
            return y
        return op.Add(op.Mul(y, op.weight(self.std.reshape(1, 4), "w")), op.weight(self.mean.reshape(1, 4), "b"))


@layer("nn.ConvertFrom", kind="boxes")
class ConvertFrom(Layer):
    """{boxes, y} ↦ the boxes moved by y (N, 4): centres by y1 · width and y2 · height, sizes times exp(y3), exp(y4)"""

    ignored = frozenset({"gradInput1", "gradInput2"})

    def check(self, x: list[Array] | list[Value]) -> None:
        pair(x)
        check_boxes(x[0])
        check_boxes(x[1], 4)

    def forward(self, x: list[Array]) -> Array:
        self.check(x)
        boxes, y = x
        low, high = boxes[:, 1:3], boxes[:, 3:5]
        sizes = high - low
        centres = (low + high) * 0.5 + y[:, :2] * sizes
        half = np.exp(y[:, 2:]) * sizes * 0.5
        return np.concatenate([boxes[:, :1], centres - half, centres + half], axis=1)

    def lower(self, op: Builder, x: list[Value]) -> Value:
        self.check(x)
        boxes, y = x
        image, low, high = (op.Slice(boxes, [a], [b], [1]) for a, b in ((0, 1), (1, 3), (3, 5)))
        shift, scale = (op.Slice(y, [a], [b], [1]) for a, b in ((0, 2), (2, 4)))
        sizes = op.Sub(high, low)
        centres = op.Add(op.Mul(op.Add(low, high), 0.5), op.Mul(shift, sizes))
        half = op.Mul(op.Mul(op.Exp(scale), sizes), 0.5)
        return op.Concat(image, op.Sub(centres, half), op.Add(centres, half), axis=1)


@layer("nn.ContextRegion", kind="boxes")
class ContextRegion(Layer):
    """(image, (x1, y1, x2, y2) · tr): each box scaled about its centre"""

    tr: Array

    def forward(self, x: Array) -> Array:
        check_boxes(x)
        return np.concatenate([x[:, :1], x[:, 1:] @ self.tr], axis=1)

    def lower(self, op: Builder, x: Value) -> Value:
        check_boxes(x)
        image, box = (op.Slice(x, [a], [b], [1]) for a, b in ((0, 1), (1, 5)))
        return op.Concat(image, op.MatMul(box, op.weight(self.tr, "w")), axis=1)


@layer("nn.Foveal", kind="boxes")
class Foveal(Layer):
    """Each box, and the box widened to 1.5, 2 and 4 times its size: (N, 5) gives (4N, 5)"""

    def forward(self, x: Array) -> Array:
        check_boxes(x)
        image, low, sizes = x[:, :1], x[:, 1:3], x[:, 3:5] - x[:, 1:3]
        wider = [np.concatenate([image, low - sizes * b, low - sizes * b + sizes * s], axis=1) for b, s in FOVEAL[1:]]
        return np.stack([x, *wider], axis=1).reshape(-1, 5)

    def lower(self, op: Builder, x: Value) -> Value:
        check_boxes(x)
        image, low, high = (op.Slice(x, [a], [b], [1]) for a, b in ((0, 1), (1, 3), (3, 5)))
        sizes = op.Sub(high, low)
        regions = [x]
        for before, whole in FOVEAL[1:]:
            start = op.Sub(low, op.Mul(sizes, before))
            regions.append(op.Concat(image, start, op.Add(start, op.Mul(sizes, whole)), axis=1))
        return op.Reshape(op.Concat(*regions, axis=1), [-1, 5])


@layer("nn.ModeSwitch", kind="wrapper")
class ModeSwitch(Container):
    """modules[2](x): the first is for training"""

    modules: list[Layer]

    def setup(self, bind: Binder) -> None:
        if len(self.modules) != 2:
            raise Refusal(f"holds {len(self.modules)} modules, not one for training and one for evaluation")
        self.modules = self.modules[1:]

    def forward(self, x: Nested) -> Nested:
        return self.modules[0](x)

    def lower(self, op: Builder, x: Values) -> Values:
        return op.call(self.modules[0], x)


@layer("nn.SequentialSplitBatch", kind="sequential")
class SequentialSplitBatch(Sequential):
    """modules[n](… modules[1](x)), ``batch_size`` samples at a time; of a table, its second tensor is split"""

    modules: list[Layer]
    batch_size: int

    def check(self, shape: Sizes) -> None:
        if shape[0] > self.batch_size:
            raise Refusal(f"runs {self.batch_size} samples at a time, not {shape[0]}")

    def forward(self, x: Nested) -> Nested:
        self.check(tensor(x[1] if isinstance(x, list) else x).shape)
        return super().forward(x)

    def lower(self, op: Builder, x: Values) -> Values:
        self.check(value(x[1] if isinstance(x, list) else x).shape)
        return super().lower(op, x)


@layer("nn.ModelParallelTable", kind="concat")
class ModelParallelTable(Concat):
    """modules[1](x), …, modules[n](x) along ``dimension`` (from 1), each on a processor of its own"""

    ignored = frozenset(
        {"gpuAssignments", "inputGpu", "gradOutputGpu", "outputGpu", "gradInputGpu", "gradInputAddBuffer"}
        | {"noGradInput"}
    )


@layer("nn.DeepMask", kind="deepmask")
class DeepMask(Layer):
    """{maskBranch(trunk(x)), scoreBranch(trunk(x))}: a mask of x's centre, and how likely an object is there"""

    container: ClassVar[bool] = True
    trunk: Layer
    maskBranch: Layer
    scoreBranch: Layer
    ignored = frozenset({"fSz", "modules"})

    def children(self) -> Iterable[Layer]:
        return (self.trunk, self.maskBranch, self.scoreBranch)

    def forward(self, x: Nested) -> list[Nested]:
        seen = self.trunk(x)
        return [self.maskBranch(seen), self.scoreBranch(seen)]

    def lower(self, op: Builder, x: Values) -> list[Values]:
        seen = op.call(self.trunk, x)
        return [op.call(self.maskBranch, seen), op.call(self.scoreBranch, seen)]


@layer("nn.SharpMask", kind="sharpmask")
class SharpMask(Layer):
    """refs[n]({t_n, … refs[1]({t_1, refs[0](trunk(x))})}), t_k what ``skpos[k]``-th module of the trunk gives

    The score is not part of it: scoreBranch(trunk(x)).
    """

    container: ClassVar[bool] = True
    trunk: Layer
    refs: object
    skpos: Sizes
    ignored = frozenset({"modules", "scoreBranch", "maskBranchDM", "fSz", "km", "ks", "inps", "neths", "netvs"})

    def setup(self, bind: Binder) -> None:
        if not isinstance(self.refs, LuaTable) or not isinstance(self.trunk, Sequential):
            raise Refusal("should have a Sequential as trunk, and a table of refinements")
        table = self.refs
        self._refs = [
            bind(table.get(k), f"{self.path}.refs[{k}]".removeprefix(".")) for k in range(len(self.skpos) + 1)
        ]
        self._trunk = self.trunk
        bind.notes.append(f"{self.path or '(root)'} {self.typename}: scoreBranch is left out; it is taken with at")

    def children(self) -> Iterable[Layer]:
        return (self.trunk, *self._refs)

    def forward(self, x: Nested) -> Nested:
        made: list[Nested] = []
        for module in self._trunk.modules:
            x = module(x)
            made.append(x)
        y = self._refs[0](x)
        for place, ref in zip(self.skpos, self._refs[1:], strict=True):
            y = ref([made[place - 1], y])
        return y

    def lower(self, op: Builder, x: Values) -> Values:
        made: list[Values] = []
        for module in self._trunk.modules:
            x = op.call(module, x)
            made.append(x)
        y = op.call(self._refs[0], x)
        for place, ref in zip(self.skpos, self._refs[1:], strict=True):
            y = op.call(ref, [made[place - 1], y])
        return y


@layer("fbcoco.ImageTransformer", kind="normalize")
class ImageTransformer(Layer):
    """(x · scale − mean) / std of an image (3, H, W), whose channels are first put in the order ``swap`` (from 1)"""

    mean: object
    std: object = None
    scale: float = 1.0
    swap: object = None

    def setup(self, bind: Binder) -> None:
        self._mean = self._three(self.mean, "mean")
        self._std = np.ones(3) if self.std is None else self._three(self.std, "std")
        order = self._three([1, 2, 3] if self.swap is None else self.swap, "swap")
        if sorted(order) != [1, 2, 3]:
            raise Refusal("its field swap should be an order of three channels")
        self._order = order.astype(np.int64) - 1

    def _three(self, held: object, name: str) -> Array:
        """Three numbers, which a file holds as a table or as a tensor."""
        numbers = np.array(held.sequence() if isinstance(held, LuaTable) else held, np.float64).reshape(-1)
        if numbers.shape != (3,):
            raise Refusal(f"its field {name} should be three numbers")
        return numbers

    def check(self, x: Array | Value) -> None:
        """An image of three channels, or Refusal."""
        check_rank(x, 3)
        if x.shape[0] != 3:
            raise Refusal(f"takes images of 3 channels, not of {x.shape[0]}")

    def forward(self, x: Array) -> Array:
        self.check(x)
        mean, std = (held.reshape(3, 1, 1).astype(x.dtype) for held in (self._mean, self._std))
        return (x[self._order] * self.scale - mean) / std

    def lower(self, op: Builder, x: Value) -> Value:
        self.check(x)
        mean, std = (op.constant(held.reshape(3, 1, 1).astype(np.float32)) for held in (self._mean, self._std))
        image = x if self.swap is None else op.Gather(x, op.constant(self._order), axis=0)
        return op.Div(op.Sub(op.Mul(image, self.scale) if self.scale != 1 else image, mean), std)
