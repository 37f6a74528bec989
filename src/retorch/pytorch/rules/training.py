"""What only training changes: old and new dropout, noise, reversed gradients."""

from __future__ import annotations

from typing import Any

from retorch.layers import noise
from retorch.pytorch.part import Part
from retorch.pytorch.rule import Run, rule


@rule(noise.Dropout)
def dropout(layer: noise.Dropout, at: Run) -> Part | None:
    named: dict[str, Any] = {"at_evaluation": True} if layer.draws() else {}
    if layer.typename == "nn.SeqDropout" or layer.raw.get("lazy") or layer.raw.get("mono"):
        return at.module("SequenceDropout", float(layer.p)) if layer.v2 and at.rank > 1 else None
    if layer.v2 and not named:
        return at.module("nn.Dropout", *([] if layer.p == 0.5 else [float(layer.p)]))
    if not layer.v2:
        return at.module("UnscaledDropout", float(layer.p), **named)
    return at.module("StochasticDropout", float(layer.p))


@rule(noise.SpatialDropout)
def spatial_dropout(layer: noise.SpatialDropout, at: Run) -> Part | None:
    dimensions = 3 if "Volumetric" in layer.typename else 2
    named: dict[str, Any] = {"at_evaluation": True} if layer.draws() else {}
    return at.module("UnscaledDropout", float(layer.p), channels=dimensions, **named)


@rule(noise.WhiteNoise)
def white_noise(layer: noise.WhiteNoise, at: Run) -> Part | None:
    std = layer.raw.get("std", 0.1)
    return at.module("WhiteNoise", float(layer.mean), float(std if isinstance(std, (int, float)) else 0.1))


@rule(noise.GradientReversal)
def gradient_reversal(layer: noise.GradientReversal, at: Run) -> Part | None:
    factor = layer.raw.get("lambda", 1)
    factor = float(factor) if isinstance(factor, (int, float)) else 1.0
    return at.module("GradientReversal", *([] if factor == 1 else [factor]))
