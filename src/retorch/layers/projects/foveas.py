"""nnx's pyramids of one image at several scales, each with processors of its own, as a whole or around a point."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar, TypeVar, cast

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Nested, Refusal, layer
from retorch.layers.base.memory import current
from retorch.layers.base.window import padded
from retorch.layers.convolution.spatial import check_rank
from retorch.layers.padding import SpatialPadding, check_pads, lower_pads
from retorch.layers.table.arithmetic import joined, joined_values
from retorch.torch7 import LuaTable, TorchObject

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values

T = TypeVar("T")
#: (top, bottom), (left, right)
Pads = tuple[tuple[int, int], tuple[int, int]]


def numbers(table: object) -> list[float]:
    """The numbers of a table."""
    found = table.sequence() if isinstance(table, LuaTable) else []
    return [float(n) for n in found if isinstance(n, int | float)]


@layer("nn.SpatialPyramid", kind="pyramid")
class SpatialPyramid(Layer):
    """unfocused_pipeline(x), or where ``focused`` focused_pipeline(x), whose paddings cut out a window around (x, y)"""

    container: ClassVar[bool] = True
    ratios: object
    focused: bool = False
    prescaled_input: bool = False
    focused_pipeline: object = None
    unfocused_pipeline: object = None
    x: float = 0.0
    y: float = 0.0
    winWidth: object = None
    winHeight: object = None
    ignored = frozenset({"kH", "kW", "dH", "dW", "wFocus", "hFocus", "processors"})

    def setup(self, bind: Binder) -> None:
        name = "focused_pipeline" if self.focused else "unfocused_pipeline"
        self._pipeline = bind(getattr(self, name), f"{self.path}.{name}".removeprefix("."))

    def children(self) -> Iterable[Layer]:
        return (self._pipeline,)

    def aim(self, x: object) -> None:
        """Set the paddings that cut out the window; Refusal for sizes that the scales do not divide."""
        shape = cast("tuple[int, ...]", getattr(x, "shape", ()))
        if not self.prescaled_input and (
            len(shape) < 3 or any(size % ratio for size in shape[1:3] for ratio in numbers(self.ratios))
        ):
            raise Refusal(f"takes images whose height and width {numbers(self.ratios)} divide, not {shape}")
        if not self.focused:
            return
        windows = zip(numbers(self.winWidth), numbers(self.winHeight), strict=True)
        for scale, (width, height) in zip(self._pipeline.children(), windows, strict=True):
            padding = cast("SpatialPadding", next(iter(scale.children())))
            padding.pad_l, padding.pad_r = around(self.x, width, shape[2])
            padding.pad_t, padding.pad_b = around(self.y, height, shape[1])

    def forward(self, x: Nested) -> Nested:
        self.aim(x)
        return self._pipeline(x)

    def lower(self, op: Builder, x: Values) -> Values:
        self.aim(x)
        return op.call(self._pipeline, x)


def around(place: float, width: float, size: int) -> tuple[int, int]:
    """How much to pad before and after for a window of this width around a place."""
    return math.ceil(width / 2) - int(place), int(place) + math.floor(width / 2) - size


class Scales(Layer):
    """What both foveas share: an image brought to the size of each scale, and what comes of it brought back."""

    nInputPlane: int
    ratios: object
    processors: list[Layer]
    preProcessors: object = None
    fov: int = 1
    sub: int = 1
    bilinear: bool = False

    def setup(self, bind: Binder) -> None:
        self._ratios = numbers(self.ratios)
        if not self._ratios or len(self._ratios) != len(self.processors) or min(self._ratios) <= 0:
            raise Refusal(f"has {len(self.processors)} processors for the scales {self._ratios}")
        scales = list(enumerate(self._ratios, 1))
        self._down = [self.resized(bind, f"downsamplers[{i}]", 1 / ratio) for i, ratio in scales]
        self._ready = [self.held(bind, "preProcessors", i) for i, _ in scales]

    def held(self, bind: Binder, name: str, i: int) -> Layer | None:
        """The module at a place of a table that may have holes."""
        table = getattr(self, name)
        found = table.get(i) if isinstance(table, LuaTable) else None
        return None if found is None else bind(found, f"{self.path}.{name}[{i}]".removeprefix("."))

    def resized(self, bind: Binder, name: str, times: float) -> Layer:
        """nnx's module that brings an image to so many times its size."""
        whole = round(times if times >= 1 else 1 / times)
        if self.bilinear:
            made = TorchObject("nn.SpatialReSampling", {"rwidth": times, "rheight": times})
        elif not math.isclose(whole, times if times >= 1 else 1 / times):
            raise Refusal(f"brings images to {times:g} times their size without linear interpolation")
        elif times >= 1:
            made = TorchObject("nn.SpatialUpSampling", {"dW": whole, "dH": whole})
        else:
            made = TorchObject("nn.SpatialDownSampling", {"rW": whole, "rH": whole})
        return bind(made, f"{self.path}.{name}".removeprefix("."))

    def check(self, x: Array | Value) -> None:
        check_rank(x, 3)
        if x.shape[0] != self.nInputPlane:
            raise Refusal(f"takes {self.nInputPlane} channels, not {x.shape[0]}")

    def pyramid(self, x: T, run: Callable[[Layer, T], T]) -> list[T]:
        """The image at each scale, prepared."""
        small = [run(down, x) for down in self._down]
        return [y if ready is None else run(ready, y) for ready, y in zip(self._ready, small, strict=True)]


def now(x: list[Array]) -> list[Array]:
    """What the tensors are by now: scales may share a module, which then has one output for all."""
    return cast("list[Array]", current(cast("list[Nested]", x)))


def values_now(op: Builder, x: list[Value]) -> list[Value]:
    """The same for values."""
    return cast("list[Value]", op.current(cast("list[Values]", x)))


def run_layer(module: Layer, x: Array) -> Array:
    """A module that gives one tensor."""
    y = module(x)
    if isinstance(y, list):
        raise Refusal("has a module that gives tables")
    return y


def lower_layer(op: Builder) -> Callable[[Layer, Value], Value]:
    """The same in ONNX operators."""

    def run(module: Layer, x: Value) -> Value:
        y = op.call(module, x)
        if isinstance(y, list):
            raise Refusal("has a module that gives tables")
        return y

    return run


@layer("nn.SpatialFovea", kind="fovea")
class SpatialFovea(Scales):
    """(C, H, W): each scale's mean pixels, ⌊(fov − sub) / 2⌋ zeros around, through its processor, brought back; joined

    Where ``focused``, the processor sees the ``fov`` pixels from (x, y) on, and nothing is brought back.
    """

    processors: list[Layer]
    nInputPlane: int
    ratios: object
    preProcessors: object = None
    fov: int = 1
    sub: int = 1
    bilinear: bool = False
    focused: bool = False
    x: float = 0.0
    y: float = 0.0
    padding: int = 0
    ignored = frozenset(
        """modules downsamplers padders upsamplers pyramid preProcessed padded narrowed processed upsampled
        gradUpsampled gradProcessed gradNarrowed gradPadded gradPreProcessed gradPyramid cachePrePreproc
        cachedPreProcessed usage""".split()
    )

    def setup(self, bind: Binder) -> None:
        super().setup(bind)
        self._up: list[Layer] = []
        if not self.focused:
            self._up = [self.resized(bind, f"upsamplers[{i}]", ratio) for i, ratio in enumerate(self._ratios, 1)]

    def children(self) -> Iterable[Layer]:
        ready = [module for module in self._ready if module is not None]
        return *self._down, *ready, *self.processors, *self._up

    def pads(self, x: Array | Value) -> Pads:
        """The zeros around a scale."""
        amount = self.padding // 2
        check_pads(x, ((amount, amount), (amount, amount)))
        return (amount, amount), (amount, amount)

    def corner(self, x: Array | Value, ratio: float) -> tuple[int, int]:
        """The first row and column, from 0, that a processor sees at a scale."""
        top, left = (math.floor(((at - 1) // ratio) / self.sub) * self.sub for at in (self.y, self.x))
        if min(top, left) < 0 or top + self.fov > x.shape[1] or left + self.fov > x.shape[2]:
            raise Refusal(f"looks at {self.fov} pixels from row {top + 1}, column {left + 1} of {x.shape}")
        return top, left

    def forward(self, x: Array) -> Array:
        self.check(x)
        seen = [padded(y, self.pads(y)) for y in now(self.pyramid(x, run_layer))]
        if self.focused:
            corners = [self.corner(y, ratio) for y, ratio in zip(seen, self._ratios, strict=True)]
            cuts = zip(seen, corners, strict=True)
            seen = [y[:, top : top + self.fov, left : left + self.fov] for y, (top, left) in cuts]
        done = [run_layer(module, y) for module, y in zip(self.processors, seen, strict=True)]
        grown = [run_layer(up, y) for up, y in zip(self._up, done, strict=True)] if self._up else done
        return joined(now(grown), 0)

    def lower(self, op: Builder, x: Value) -> Value:
        self.check(x)
        run = lower_layer(op)
        seen = [lower_pads(op, y, self.pads(y), 0.0) for y in values_now(op, self.pyramid(x, run))]
        if self.focused:
            corners = [self.corner(y, ratio) for y, ratio in zip(seen, self._ratios, strict=True)]
            ends = [[top + self.fov, left + self.fov] for top, left in corners]
            cuts = zip(seen, corners, ends, strict=True)
            seen = [op.Slice(y, list(first), last, [1, 2]) for y, first, last in cuts]
        done = [run(module, y) for module, y in zip(self.processors, seen, strict=True)]
        grown = [run(up, y) for up, y in zip(self._up, done, strict=True)] if self._up else done
        return joined_values(op, values_now(op, grown), 0)


@layer("nn.SpatialRecursiveFovea", kind="fovea")
class SpatialRecursiveFovea(Scales):
    """(C, H, W) from the coarsest scale to the finest: each processor sees its scale and what the last one gave

    Of what the first one sees, nRecursivePlane channels are 0. ``scaleTargetValues`` multiplies by the scales' ratio.
    """

    processors: list[Layer]
    nInputPlane: int
    ratios: object
    preProcessors: object = None
    postProcessors: object = None
    nRecursivePlane: int
    fov: int = 1
    sub: int = 1
    scaleTargetValues: bool = False
    ignored = frozenset(
        """modules downsamplers padders upsamplers upsampledPadders criterions pyramid preProcessed padded narrowed
        concatenated processed upsampled upsampledPadded upsampledNarrowed postProcessed predicted targets
        targets_scaled batchSize verbose debug usage focused x y corners input_w input_h pyramid_size padded_size
        narrowed_size processed_size bilinear gradPostProcessed gradUpsampledNarrowed gradUpsampledPadded gradUpsampled
        gradProcessed gradConcatenated gradNarrowed gradPadded gradPreProcessed gradPyramid gradPredicted""".split()
    )

    def setup(self, bind: Binder) -> None:
        # one ratio that is not whole, and all scales are interpolated
        self.bilinear = any(ratio != int(ratio) for ratio in numbers(self.ratios))
        super().setup(bind)
        if self._ratios != sorted(self._ratios, reverse=True) or self._ratios[-1] < 1:
            raise Refusal(f"goes from fine to coarse: {self._ratios}")
        steps = zip(self._ratios, self._ratios[1:], strict=False)
        times = [coarse / fine * self.sub for coarse, fine in steps]
        self._up = [self.resized(bind, f"upsamplers[{i}]", n) for i, n in enumerate(times, 1)]
        self._last = self.held(bind, "postProcessors", len(self._ratios))

    def children(self) -> Iterable[Layer]:
        ready = [module for module in self._ready if module is not None]
        return *self._down, *ready, *self.processors, *self._up, *([] if self._last is None else [self._last])

    def geometry(self, size: int) -> list[tuple[int, int, int]]:
        """Along one dimension, of each scale: how many zeros before and after, and how many pixels are seen."""
        small = [math.floor(size / ratio) for ratio in self._ratios]
        found: list[tuple[int, int, int]] = []
        for i, ratio in enumerate(self._ratios):
            if i + 1 == len(self._ratios):
                made = math.floor(size / ratio / self.sub)
            else:
                made = math.ceil(math.ceil(small[i + 1] * self._ratios[i + 1] / ratio / self.sub))
            seen = made * self.sub + self.fov - self.sub
            before = (seen - small[i]) // 2
            found.append((before, seen - small[i] - before + 1, seen))
        return found

    def framed(self, x: Array | Value, shape: tuple[int, ...], at: int, to: int) -> Pads:
        """How scale ``at`` pads an image, cut to what scale ``to`` sees of it."""
        found: list[tuple[int, int]] = []
        for size, own in zip(shape, x.shape[1:], strict=True):
            scales = self.geometry(size)
            before, after, _ = scales[at]
            seen = scales[to][2]
            if before + own + after < seen or seen < 1:
                raise Refusal(f"looks at {seen} pixels of {before + own + after}")
            found.append((before, seen - before - own))
        pads = found[0], found[1]
        check_pads(x, pads)
        return pads

    def factor(self, i: int) -> float:
        """By how much what scale ``i`` gave is multiplied for the next."""
        return self._ratios[i] / self._ratios[i + 1] if self.scaleTargetValues else 1.0

    def forward(self, x: Array) -> Array:
        self.check(x)
        shape, y = x.shape[1:], x
        for i, image in enumerate(now(self.pyramid(x, run_layer))):
            seen = padded(image, self.framed(image, shape, i, i))
            if i == 0:
                last = np.zeros((self.nRecursivePlane, *seen.shape[1:]), x.dtype)
            else:
                grown = run_layer(self._up[i - 1], y)
                last = padded(grown, self.framed(grown, shape, i - 1, i)) * self.factor(i - 1)
            y = run_layer(self.processors[i], np.concatenate([seen, last]))
        return y if self._last is None else run_layer(self._last, y)

    def lower(self, op: Builder, x: Value) -> Value:
        self.check(x)
        run, shape, y = lower_layer(op), x.shape[1:], x
        for i, image in enumerate(values_now(op, self.pyramid(x, run))):
            seen = lower_pads(op, image, self.framed(image, shape, i, i), 0.0)
            if i == 0:
                last = op.constant(np.zeros((self.nRecursivePlane, *seen.shape[1:]), np.float32))
            else:
                grown = run(self._up[i - 1], y)
                last = lower_pads(op, grown, self.framed(grown, shape, i - 1, i), 0.0)
                last = op.Mul(last, self.factor(i - 1)) if self.scaleTargetValues else last
            y = run(self.processors[i], op.Concat(seen, last, axis=0))
        return y if self._last is None else run(self._last, y)
