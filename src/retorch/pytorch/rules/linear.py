"""Affine maps."""

from __future__ import annotations

from typing import Any

from retorch.layers import linear as layers
from retorch.pytorch.part import Part
from retorch.pytorch.rule import Run, rule, trained
from retorch.pytorch.rules.convolution import parameters


@rule(layers.Linear)
def linear(layer: layers.Linear, at: Run) -> Part | None:
    named: dict[str, Any] = {"bias": False} if layer.bias is None else {}
    outputs, inputs = layer.weight.shape
    return at.module("nn.Linear", inputs, outputs, states=parameters(layer.weight, layer.bias), **named)


@rule(layers.LinearWeightNorm)
def linear_weight_norm(layer: layers.LinearWeightNorm, at: Run) -> Part | None:
    v = layer.shared_v if layer.v is None else layer.v
    g = layer.shared_g if layer.g is None else layer.g
    if v is None or g is None:
        return None
    states = {"v": trained(v, "v"), "g": trained(g.reshape(-1, 1), "g")}
    if layer.bias is not None:
        states["bias"] = trained(layer.bias.reshape(-1), "bias")
    named: dict[str, Any] = {"bias": False} if layer.bias is None else {}
    return at.module("WeightNormLinear", v.shape[1], v.shape[0], states=states, **named)


@rule(layers.Bilinear)
def bilinear(layer: layers.Bilinear, at: Run) -> Part | None:
    outputs, first, second = layer.weight.shape
    named: dict[str, Any] = {"bias": False} if layer.bias is None else {}
    return at.module("Bilinear", first, second, outputs, states=parameters(layer.weight, layer.bias), **named)


@rule(layers.Cosine)
def cosine(layer: layers.Cosine, at: Run) -> Part | None:
    outputs, inputs = layer.weight.shape
    return at.module("Cosine", inputs, outputs, states={"weight": trained(layer.weight, "weight")})
