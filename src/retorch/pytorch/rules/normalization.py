"""Normalizations with parameters or statistics."""

from __future__ import annotations

from typing import Any

from retorch.layers.normalization import batch
from retorch.pytorch.part import Part, State
from retorch.pytorch.rule import Run, kept, rule, trained

_RANKS = {2: 1, 4: 2, 5: 3}


@rule(batch.BatchNormalization, says="nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d")
def batch_normalization(layer: batch.BatchNormalization, at: Run) -> Part | None:
    if at.rank != layer.dimensions or (layer.weight is None) != (layer.bias is None):
        return None
    states: dict[str, State] = {}
    if layer.weight is not None and layer.bias is not None:
        states = {
            "weight": trained(layer.weight.reshape(-1), "weight"),
            "bias": trained(layer.bias.reshape(-1), "bias"),
        }
    states["running_mean"] = kept(layer.running_mean.reshape(-1), "running_mean")
    states["running_var"] = kept(layer.variance().reshape(-1), "running_var")
    named: dict[str, Any] = {} if abs(layer.eps - 1e-5) < 1e-12 else {"eps": layer.eps}
    momentum = layer.raw.get("momentum", 0.1)
    if isinstance(momentum, (int, float)) and abs(momentum - 0.1) > 1e-12:
        named["momentum"] = float(momentum)
    if layer.weight is None:
        named["affine"] = False
    name = "BatchNorm2d" if _is_single(layer, at) else f"nn.BatchNorm{_RANKS[layer.dimensions]}d"
    return at.module(name, layer.running_mean.size, states=states, how="module", **named)


def _is_single(layer: batch.BatchNormalization, at: Run) -> bool:
    """Whether this is the CPU's module and is run on a batch of one, which it does not measure in training."""
    cpu = layer.typename.startswith("nn.") and layer.raw.get("_type") in ("torch.FloatTensor", "torch.DoubleTensor")
    return cpu and layer.dimensions == 4 and at.shape()[0] == 1


@rule(batch.InstanceNormalization)
def instance_normalization(layer: batch.InstanceNormalization, at: Run) -> Part | None:
    if layer.disabled or at.rank != 4:
        return None
    if not layer.measures():
        if layer.weight is None or layer.bias is None:
            return None
        frozen = {
            "weight": trained(layer.weight.reshape(-1), "weight"),
            "bias": trained(layer.bias.reshape(-1), "bias"),
        }
        return at.module("UnmeasuredNorm2d", at.shape()[1], float(layer.eps), states=frozen)
    named: dict[str, Any] = {} if abs(layer.eps - 1e-5) < 1e-12 else {"eps": layer.eps}
    if layer.weight is None and layer.bias is None:
        return at.module("nn.InstanceNorm2d", at.shape()[1], **named)
    if layer.weight is None or layer.bias is None:
        return None
    states = {"weight": trained(layer.weight.reshape(-1), "weight"), "bias": trained(layer.bias.reshape(-1), "bias")}
    return at.module("nn.InstanceNorm2d", at.shape()[1], affine=True, states=states, **named)


@rule(batch.SpatialCrossMapLRN)
def cross_map(layer: batch.SpatialCrossMapLRN, at: Run) -> Part | None:
    if at.rank != 4 or layer.size % 2 == 0:
        return None
    named: dict[str, Any] = {
        name: float(value)
        for name, value, default in (("alpha", layer.alpha, 1e-4), ("beta", layer.beta, 0.75), ("k", layer.k, 1.0))
        if value != default
    }
    return at.module("nn.LocalResponseNorm", layer.size, **named)
