"""Arithmetic element by element, with constants and with trained tensors; sums and extremes along a dimension."""

from __future__ import annotations

from typing import Any

from retorch.layers import arithmetic, reduction
from retorch.layers.arithmetic import aligned
from retorch.layers.base.layer import Layer
from retorch.layers.projects.imagine_nn import ConstAffine
from retorch.pytorch.part import Part
from retorch.pytorch.rule import Run, kept, rule, trained
from retorch.pytorch.source import number

#: Classes without settings, as expressions.
PLAIN: dict[type[Layer], str] = {
    arithmetic.Abs: "{0}.abs()",
    arithmetic.Square: "{0}.square()",
    arithmetic.Sqrt: "{0}.sqrt()",
    arithmetic.Exp: "{0}.exp()",
    arithmetic.Log: "{0}.log()",
}


@rule(*PLAIN, says="a class of its name")
def plain(layer: Layer, at: Run) -> Part | None:
    inline = next(text for cls, text in PLAIN.items() if isinstance(layer, cls))
    return at.module(type(layer).__name__, inline=inline) if at.is_float() else None


@rule(arithmetic.Power)
def power(layer: arithmetic.Power, at: Run) -> Part | None:
    exponent = float(layer.pow)
    return at.module("Power", exponent, inline=f"{{0}}.pow({number(exponent)})")


@rule(arithmetic.MulConstant)
def mul_constant(layer: arithmetic.MulConstant, at: Run) -> Part | None:
    factor = float(layer.constant_scalar)
    return at.module("MulConstant", factor, inline=f"{{0}} * {number(factor)}") if at.is_float() else None


@rule(arithmetic.AddConstant)
def add_constant(layer: arithmetic.AddConstant, at: Run) -> Part | None:
    constant = layer.constant_scalar
    if not isinstance(constant, (int, float)) or not at.is_float():
        return None
    return at.module("AddConstant", float(constant), inline=f"{{0}} + {number(float(constant))}")


@rule(arithmetic.CMul, arithmetic.Mul)
def multiplied(layer: arithmetic.CMul | arithmetic.Mul, at: Run) -> Part | None:
    whole = isinstance(layer, arithmetic.CMul)
    weight = aligned(layer.weight, at.shape()) if whole else layer.weight.reshape(-1)[:1]
    return at.module("CMul", *weight.shape, states={"weight": trained(weight, "weight")})


@rule(arithmetic.CAdd, arithmetic.Add)
def added(layer: arithmetic.CAdd | arithmetic.Add, at: Run) -> Part | None:
    one = isinstance(layer, arithmetic.Add) and layer.scalar
    bias = layer.bias.reshape(-1)[:1] if one else aligned(layer.bias, at.shape())
    return at.module("CAdd", *bias.shape, states={"bias": trained(bias, "bias")})


@rule(ConstAffine)
def const_affine(layer: ConstAffine, at: Run) -> Part | None:
    if at.rank not in (2, 4):
        return None
    states = {"a": kept(layer.a.reshape(-1), "a"), "b": kept(layer.b.reshape(-1), "b")}
    return at.module("ConstAffine", layer.a.size, states=states)


@rule(reduction.Sum, says="Sum, Mean")
def summed(layer: reduction.Sum, at: Run) -> Part | None:
    axis = layer.axis(at.rank)
    name = "Mean" if layer.sizeAverage else "Sum"
    keep = not layer.squeeze or at.rank == 1
    named: dict[str, Any] = {"keepdim": True} if keep else {}
    more = ", keepdim=True" if keep else ""
    return at.module(name, axis, inline=f"{{0}}.{name.lower()}({axis}{more})", **named)


@rule(reduction.Max, reduction.Min, says="Max, Min")
def extreme(layer: reduction.Max | reduction.Min, at: Run) -> Part | None:
    if at.rank == 1:
        return None
    axis, name = layer.axis(at.rank), type(layer).__name__
    return at.module(name, axis, inline=f"{{0}}.{name.lower()}({axis})[0]")
