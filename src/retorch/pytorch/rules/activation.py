"""Activations and softmaxes: PyTorch has nearly all of them under the same names."""

from __future__ import annotations

from typing import Any

from retorch.layers import activation as a
from retorch.layers import softmax
from retorch.layers.base.layer import Layer
from retorch.pytorch.part import Part
from retorch.pytorch.rule import Run, rule, trained
from retorch.pytorch.source import number

#: Classes without settings: PyTorch's module, and the same as an expression.
PLAIN: dict[type[Layer], tuple[str, str]] = {
    a.ReLU: ("nn.ReLU", "F.relu({0})"),
    a.ReLU6: ("nn.ReLU6", "F.relu6({0})"),
    a.Sigmoid: ("nn.Sigmoid", "torch.sigmoid({0})"),
    a.Tanh: ("nn.Tanh", "torch.tanh({0})"),
    a.SoftSign: ("nn.Softsign", "F.softsign({0})"),
    a.LogSigmoid: ("nn.LogSigmoid", "F.logsigmoid({0})"),
    a.TanhShrink: ("nn.Tanhshrink", "F.tanhshrink({0})"),
}


@rule(*PLAIN)
def plain(layer: Layer, at: Run) -> Part | None:
    name, inline = next(said for cls, said in PLAIN.items() if isinstance(layer, cls))
    return at.module(name, inline=inline)


@rule(a.HardTanh, a.ClippedReLU)
def hard_tanh(layer: a.HardTanh | a.ClippedReLU, at: Run) -> Part | None:
    low, high = (0.0, layer.ceiling) if isinstance(layer, a.ClippedReLU) else (layer.min_val, layer.max_val)
    if (low, high) == (-1, 1):
        return at.module("nn.Hardtanh", inline="F.hardtanh({0})")
    if (low, high) == (0, 6):
        return at.module("nn.ReLU6", inline="F.relu6({0})")
    inline = f"F.hardtanh({{0}}, {number(low)}, {number(high)})"
    return at.module("nn.Hardtanh", float(low), float(high), inline=inline)


@rule(a.Clip)
def clip(layer: a.Clip, at: Run) -> Part | None:
    return at.module("Clip", float(layer.minval), float(layer.maxval))


@rule(a.Threshold)
def threshold(layer: a.Threshold, at: Run) -> Part | None:
    if layer.threshold == 0 == layer.val:
        return at.module("nn.ReLU", inline="F.relu({0})")
    inline = f"F.threshold({{0}}, {number(layer.threshold)}, {number(layer.val)})"
    return at.module("nn.Threshold", float(layer.threshold), float(layer.val), inline=inline)


@rule(a.LeakyReLU)
def leaky_relu(layer: a.LeakyReLU, at: Run) -> Part | None:
    if layer.negval == 0.01:
        return at.module("nn.LeakyReLU", inline="F.leaky_relu({0})")
    return at.module("nn.LeakyReLU", float(layer.negval), inline=f"F.leaky_relu({{0}}, {number(layer.negval)})")


@rule(a.RReLU)
def rrelu(layer: a.RReLU, at: Run) -> Part | None:
    low, high = float(layer.raw.get("lower", 1 / 8)), float(layer.raw.get("upper", 1 / 3))
    return at.module("nn.RReLU") if (low, high) == (1 / 8, 1 / 3) else at.module("nn.RReLU", low, high)


@rule(a.PReLU)
def prelu(layer: a.PReLU, at: Run) -> Part | None:
    slopes = layer.slopes(at.shape())
    if len(slopes) != max(1, at.rank - 1) and layer.nOutputPlane:
        return None  # channels first: an image without its batch
    states = {"weight": trained(layer.weight.reshape(-1), "weight")}
    return at.module("nn.PReLU", *([layer.weight.size] if layer.weight.size > 1 else []), states=states)


@rule(a.ELU)
def elu(layer: a.ELU, at: Run) -> Part | None:
    if layer.alpha == 1:
        return at.module("nn.ELU", inline="F.elu({0})")
    return at.module("nn.ELU", float(layer.alpha), inline=f"F.elu({{0}}, {number(layer.alpha)})")


@rule(a.HardShrink, a.SoftShrink)
def shrink(layer: a.Shrink, at: Run) -> Part | None:
    name, function = (
        ("nn.Hardshrink", "F.hardshrink") if isinstance(layer, a.HardShrink) else ("nn.Softshrink", "F.softshrink")
    )
    if layer.bound == 0.5:
        return at.module(name, inline=f"{function}({{0}})")
    return at.module(name, layer.bound, inline=f"{function}({{0}}, {number(layer.bound)})")


@rule(a.SoftPlus)
def softplus(layer: a.SoftPlus, at: Run) -> Part | None:
    named: dict[str, Any] = {} if layer.beta == 1 else {"beta": float(layer.beta)}
    if layer.threshold != 20:
        named["threshold"] = float(layer.threshold)
    more = "".join(f", {name}={number(float(str(value)))}" for name, value in named.items())
    return at.module("nn.Softplus", inline=f"F.softplus({{0}}{more})", **named)


@rule(a.GatedLinearUnit)
def gated_linear_unit(layer: a.GatedLinearUnit, at: Run) -> Part | None:
    axis = at.rank - 1 if layer.dim is None else layer.dim - 1
    if axis == at.rank - 1:
        return at.module("nn.GLU", inline="F.glu({0})")
    return at.module("nn.GLU", axis, inline=f"F.glu({{0}}, {axis})")


@rule(softmax.SoftMax, softmax.LogSoftMax)
def soft_max(layer: softmax.SoftMax | softmax.LogSoftMax, at: Run) -> Part | None:
    axis = layer.axis(at.rank)
    if isinstance(layer, softmax.SoftMax):
        return at.module("nn.Softmax", axis, inline=f"torch.softmax({{0}}, {axis})")
    return at.module("nn.LogSoftmax", axis, inline=f"torch.log_softmax({{0}}, {axis})")


@rule(softmax.SoftMin)
def soft_min(layer: softmax.SoftMin, at: Run) -> Part | None:
    axis = layer.axis(at.rank)
    return at.module("nn.Softmin", axis, inline=f"F.softmin({{0}}, {axis})")
