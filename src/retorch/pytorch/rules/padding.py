"""Paddings and images made larger: PyTorch has most of them."""

from __future__ import annotations

from retorch.layers import padding, upsampling
from retorch.pytorch.part import Part
from retorch.pytorch.rule import Run, rule


def _amounts(pads: tuple[tuple[int, int], ...]) -> object:
    """As PyTorch takes them: the last dimension first; one number where all are alike."""
    amounts = tuple(amount for pair in reversed(pads) for amount in pair)
    return amounts[0] if len(set(amounts)) == 1 else amounts


def _padding(at: Run, name: str, pads: tuple[tuple[int, int], ...], *, crops: bool = False) -> Part | None:
    amounts = [amount for pair in pads for amount in pair]
    if at.rank != len(pads) + 2 or (min(amounts) < 0 and not crops) or not at.is_float():
        return None
    return at.module(name, _amounts(pads))


@rule(padding.SpatialZeroPadding, padding.ShaveImage, says="nn.ZeroPad2d")
def zero_padding(layer: padding.SpatialZeroPadding | padding.ShaveImage, at: Run) -> Part | None:
    return _padding(at, "nn.ZeroPad2d", layer.pads(at.sized()), crops=True)


@rule(padding.SpatialReflectionPadding, says="nn.ReflectionPad2d")
def reflection_padding(layer: padding.SpatialReflectionPadding, at: Run) -> Part | None:
    return _padding(at, "nn.ReflectionPad2d", layer.pads(at.sized()))


@rule(padding.SpatialReplicationPadding, says="nn.ReplicationPad2d")
def replication_padding(layer: padding.SpatialReplicationPadding, at: Run) -> Part | None:
    return _padding(at, "nn.ReplicationPad2d", layer.pads(at.sized()))


@rule(padding.VolumetricReplicationPadding, says="nn.ReplicationPad3d")
def replication_padding_3d(layer: padding.VolumetricReplicationPadding, at: Run) -> Part | None:
    return _padding(at, "nn.ReplicationPad3d", layer.pads(at.sized()))


@rule(padding.SpatialCircularPadding)
def circular_padding(layer: padding.SpatialCircularPadding, at: Run) -> Part | None:
    return _padding(at, "CircularPad2d", layer.pads(at.sized()))


@rule(upsampling.SpatialUpSamplingNearest, says="nn.Upsample")
def nearest(layer: upsampling.SpatialUpSamplingNearest, at: Run) -> Part | None:
    return at.module("nn.Upsample", scale_factor=int(layer.scale_factor)) if at.rank == 4 else None


@rule(upsampling.UpSampling, says="nn.Upsample")
def up_sampling(layer: upsampling.UpSampling, at: Run) -> Part | None:
    if layer.scale_factor is None:
        return None
    scale = int(layer.scale_factor)
    if layer.mode == "nearest":
        return at.module("nn.Upsample", scale_factor=scale)
    mode = "bilinear" if at.rank == 4 else "trilinear"
    return at.module("nn.Upsample", scale_factor=scale, mode=mode, align_corners=True)


@rule(upsampling.SpatialUpSamplingBilinear, says="nn.Upsample")
def bilinear(layer: upsampling.SpatialUpSamplingBilinear, at: Run) -> Part | None:
    if at.rank != 4:
        return None
    if layer.scale_factor is not None:
        return at.module("nn.Upsample", scale_factor=int(layer.scale_factor), mode="bilinear", align_corners=True)
    return at.module("nn.Upsample", layer.sizes(at.sized()), mode="bilinear", align_corners=True)


@rule(upsampling.PixelShuffle, says="nn.PixelShuffle")
def pixel_shuffle(layer: upsampling.PixelShuffle, at: Run) -> Part | None:
    return at.module("nn.PixelShuffle", int(layer.upscaleFactor)) if at.rank == 4 else None
