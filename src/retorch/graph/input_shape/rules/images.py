"""Images, volumes and sequences under sliding windows: channels, and how sizes follow from each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from retorch.errors import Refusal, RetorchError
from retorch.graph.input_shape.rules.registry import SURE, all_but, assumption, named, rule
from retorch.graph.input_shape.terms import Facts, Size, Term
from retorch.layers.base.layer import Layer
from retorch.layers.convolution.full import FullConvolution
from retorch.layers.convolution.spatial import Convolution, SpatialConvolutionLocal
from retorch.layers.convolution.temporal import TemporalConvolution
from retorch.layers.normalization.batch import (
    BatchNormalization,
    InstanceNormalization,
    SpatialBatchNormalization,
    SpatialCrossMapLRN,
    VolumetricBatchNormalization,
)
from retorch.layers.normalization.local import Local, SpatialContrastiveNormalization, SpatialNormalization
from retorch.layers.padding import ShaveImage, SpatialPadded
from retorch.layers.pooling.adaptive import AdaptivePooling
from retorch.layers.pooling.temporal import TemporalMaxPooling
from retorch.layers.pooling.window import Pooling
from retorch.layers.projects.style_transfer import GenNoise, NoiseFill
from retorch.layers.upsampling import PixelShuffle, SpatialUpSamplingBilinear, SpatialUpSamplingNearest

#: No image is larger.
MOST = 4096


@dataclass(frozen=True, slots=True)
class Sized:
    """What has a shape and nothing else, for layers that are asked for their windows."""

    shape: tuple[int, ...]


def follows(facts: Facts, given: Size, made: Size, out: Callable[[int], int]) -> None:
    """One size made of another by ``out``, which grows with it; 0 where the input is too small."""

    known = (id(given.end()), id(made.end()), given.low, given.high, made.low, made.high)
    if known in facts.said:
        return

    def least(wanted: int) -> int:
        low, high = max(given.low, 1), min(given.high, MOST)
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if out(middle) >= wanted else (middle + 1, high)
        return low

    facts.between(given, least(max(made.low, 1)), least(made.high + 1) - (made.high < out(min(given.high, MOST))))
    facts.between(made, out(given.low), out(given.high) if given.high <= MOST else made.high)
    facts.said.add((*known[:2], given.low, given.high, made.low, made.high))


def _spatial(facts: Facts, x: Term, y: Term, outs: Sequence[Callable[[int], int]], *channels: int) -> bool:
    """The last axes follow; the channels before them differ where that is said."""
    count = len(outs)
    found = all_but(facts, x, y, *range(-count, 0), *channels)
    if found is None:
        return False
    for given, made, out in zip(found[0][-count:], found[1][-count:], outs, strict=True):
        follows(facts, given, made, out)
    return all(size.value is not None for size in found[0][-count:])


def _windowed(layer: Any, count: int, axis: int, channels: int) -> Callable[[int], int]:
    """The layer's own count of windows on one axis."""

    @cache
    def out(size: int) -> int:
        # the other axes as large as any kernel, so that only this one can be too small
        sizes = [MOST] * count
        sizes[axis] = size
        try:
            return cast("int", layer.windows(Sized((1, channels, *sizes)))[axis].out)
        except (Refusal, RetorchError):
            return 0

    return out


def _batched(facts: Facts, x: Term, y: Term, rank: int) -> bool:
    if x.rank is None and y.rank is None:
        facts.rank(x, rank)
        return True
    return False


@rule(Convolution)
def convolution(facts: Facts, layer: Convolution, x: Term, y: Term) -> bool:
    """(N, C, …) to (N, O, …)"""
    weight, groups = layer.dense()
    count, channels = len(layer.axes), weight.shape[1] * groups
    found = all_but(facts, x, y, *range(-count - 1, 0))
    if found is None:
        return False
    facts.fix(found[0][-count - 1], channels, named(layer))
    facts.fix(found[1][-count - 1], weight.shape[0], named(layer))
    if len(found[0]) == count + 2:
        facts.samples.append(found[0][0])
    outs = [_windowed(layer, count, axis, channels) for axis in range(count)]
    return _spatial(facts, x, y, outs, -count - 1)


@rule(SpatialConvolutionLocal)
def unshared(facts: Facts, layer: SpatialConvolutionLocal, x: Term, y: Term) -> bool:
    """Convolutions with weights of their own for each place fix the size."""
    found = all_but(facts, x, y, -3, -2, -1)
    if found is None:
        return False
    facts.fix(found[0][-3], layer.dense()[0].shape[1], named(layer))
    for size, made in zip(found[1][-3:], layer.bias.shape[-3:], strict=True):
        facts.fix(size, made, named(layer))
    raw = layer.raw
    for size, name in ((found[0][-2], "iH"), (found[0][-1], "iW")):
        said = raw.get(name)
        if isinstance(said, int):
            facts.fix(size, said, named(layer))
    return True


@assumption(Convolution, Pooling, FullConvolution, AdaptivePooling, SpatialUpSamplingNearest, sure=SURE)
def with_batch(facts: Facts, layer: Any, x: Term, y: Term) -> bool:
    """Images and volumes come in batches."""
    return _batched(facts, x, y, len(getattr(layer, "axes", "HW")) + 2)


@assumption(TemporalConvolution, TemporalMaxPooling, sure=SURE)
def sequences_with_batch(facts: Facts, layer: Layer, x: Term, y: Term) -> bool:
    """Sequences come in batches."""
    return _batched(facts, x, y, 3)


@rule(Pooling)
def pooling(facts: Facts, layer: Pooling, x: Term, y: Term) -> bool:
    """Channels stay."""
    count = len(layer.axes)
    return _spatial(facts, x, y, [_windowed(layer, count, axis, 1) for axis in range(count)])


@rule(AdaptivePooling)
def adaptive(facts: Facts, layer: AdaptivePooling, x: Term, y: Term) -> bool:
    """Any size in, one size out."""
    found = all_but(facts, x, y, -2, -1)
    if found is None:
        return False
    for size, made in zip(found[1][-2:], (layer.H, layer.W), strict=True):
        facts.fix(size, made)
    return True


@rule(FullConvolution)
def full_convolution(facts: Facts, layer: FullConvolution, x: Term, y: Term) -> bool:
    """The other way round."""
    if x.table is not None:
        return True
    weight = layer.dense()
    count = len(layer.axes)
    found = all_but(facts, x, y, *range(-count - 1, 0))
    if found is None:
        return False
    facts.fix(found[0][-count - 1], weight.shape[0], named(layer))
    if layer.bias is not None:
        facts.fix(found[1][-count - 1], layer.bias.size, named(layer))
    settings = zip(
        *(layer.per_axis(name, default) for name, default in (("d", 1), ("pad", 0), ("adj", 0), ("dilation", 1))),
        weight.shape[2:],
        strict=True,
    )
    outs = [_spread(*setting) for setting in settings]
    return _spatial(facts, x, y, outs, -count - 1)


def _spread(stride: int, pad: int, adj: int, dilation: int, kernel: int) -> Callable[[int], int]:
    return lambda size: max(0, (size - 1) * stride - 2 * pad + dilation * (kernel - 1) + 1 + adj)


@rule(SpatialPadded)
def padding(facts: Facts, layer: SpatialPadded, x: Term, y: Term) -> bool:
    """Larger or smaller by as many rows and columns."""
    try:
        rows, columns = layer.pads(cast("Any", Sized((1, 1, MOST, MOST))))
    except (Refusal, RetorchError):
        return True
    return _spatial(facts, x, y, [_larger(sum(pads)) for pads in (rows, columns)])


def _times(factor: int) -> Callable[[int], int]:
    return lambda size: size * factor


def _larger(more: int) -> Callable[[int], int]:
    return lambda size: max(0, size + more)


@rule(SpatialUpSamplingNearest)
def upsampling(facts: Facts, layer: SpatialUpSamplingNearest, x: Term, y: Term) -> bool:
    """Larger by a factor."""
    return _spatial(facts, x, y, [_times(layer.scale_factor)] * 2)


@rule(TemporalConvolution)
def temporal_convolution(facts: Facts, layer: TemporalConvolution, x: Term, y: Term) -> bool:
    """(N, T, C) to (N, T', O)"""
    found = all_but(facts, x, y, -2, -1)
    if found is None:
        return False
    (_, features), kernel = cast("tuple[int | None, int]", layer.reads()), layer.taps()
    facts.fix(found[0][-1], features, named(layer))
    facts.fix(found[1][-1], layer.weight.shape[0], named(layer))
    taps, stride, pad = kernel
    follows(facts, found[0][-2], found[1][-2], lambda size: max(0, (size + 2 * pad - taps) // stride + 1))
    return found[0][-2].value is not None


@rule(TemporalMaxPooling)
def temporal_pooling(facts: Facts, layer: TemporalMaxPooling, x: Term, y: Term) -> bool:
    """(N, T, C) to (N, T', C)"""
    found = all_but(facts, x, y, -2)
    if found is None:
        return False
    follows(facts, found[0][-2], found[1][-2], lambda size: max(0, (size - layer.kW) // (layer.dW or layer.kW) + 1))
    return found[0][-2].value is not None


def _normalized_rank(layer: BatchNormalization) -> int:
    return (
        4
        if isinstance(layer, SpatialBatchNormalization)
        else 5
        if isinstance(layer, VolumetricBatchNormalization)
        else 2
    )


@rule(BatchNormalization)
def batch_normalization(facts: Facts, layer: BatchNormalization, x: Term, y: Term) -> bool:
    """As many channels as means."""
    facts.same(x, y)
    if x.rank is None:
        return False
    facts.fix(facts.rank(x, x.rank)[min(1, x.rank - 1)], int(layer.running_mean.size), named(layer))
    return True


@assumption(BatchNormalization, sure=SURE)
def normalized_batch(facts: Facts, layer: BatchNormalization, x: Term, y: Term) -> bool:
    """What is normalized over a batch has one."""
    return _batched(facts, x, y, _normalized_rank(layer))


@rule(InstanceNormalization)
def instance_normalization(facts: Facts, layer: InstanceNormalization, x: Term, y: Term) -> bool:
    """Images, as they were."""
    facts.same(x, y)
    facts.rank(x, 4)
    return True


@rule(SpatialCrossMapLRN, Local, SpatialContrastiveNormalization, SpatialNormalization)
def local_normalization(facts: Facts, layer: Layer, x: Term, y: Term) -> bool:
    """Images, as they were."""
    facts.same(x, y)
    return True


@rule(GenNoise)
def noise(facts: Facts, layer: GenNoise, x: Term, y: Term) -> bool:
    """Noise as high and wide as the image, in channels of its own."""
    if layer.num_planes is None:
        facts.same(x, y)
        facts.rank(x, 4)
        return True
    batch, _, height, width = facts.rank(x, 4)
    facts.shape(y, [batch, Size(layer.num_planes, named(layer)), height, width])
    return True


@rule(NoiseFill)
def noise_fill(facts: Facts, layer: NoiseFill, x: Term, y: Term) -> bool:
    """Noise over the last channels, or behind them."""
    if not layer.draws() or not layer.appends:
        facts.same(x, y)
        facts.rank(x, 4)
        return True
    batch, channels, height, width = facts.rank(x, 4)
    more = layer.num_mask_noise_times * (layer.n_colors or 0) + max(layer.num_noise_channels, 0)
    made = Size()
    facts.shape(y, [batch, made, height, width])
    return facts.total(made, [channels, Size(more)], named(layer))


@rule(ShaveImage)
def shaved(facts: Facts, layer: ShaveImage, x: Term, y: Term) -> bool:
    """Smaller by as many rows and columns at each side."""
    return _spatial(facts, x, y, [_larger(-2 * layer.size)] * 2)


@rule(SpatialUpSamplingBilinear)
def bilinear(facts: Facts, layer: SpatialUpSamplingBilinear, x: Term, y: Term) -> bool:
    """Larger by a factor, or of a size that the layer says."""
    if layer.scale_factor is not None:
        return _spatial(facts, x, y, [_times(layer.scale_factor)] * 2)
    found = all_but(facts, x, y, -2, -1)
    return found is not None


@rule(PixelShuffle)
def shuffled(facts: Facts, layer: PixelShuffle, x: Term, y: Term) -> bool:
    """Larger by a factor, in fewer channels."""
    factor = layer.upscaleFactor
    found = all_but(facts, x, y, -3, -2, -1)
    if found is None:
        return False
    for given, made in ((found[0][-3], found[1][-3]), (found[1][-3], found[0][-3])):
        if given.value is not None:
            up = made is found[0][-3]
            facts.fix(made, given.value * factor**2 if up else given.value // factor**2)
    return _spatial(facts, x, y, [_times(factor)] * 2, -3)
