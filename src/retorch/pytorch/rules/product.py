"""Products and distances of two tensors, and rows brought to length one."""

from __future__ import annotations

import math
from typing import Any

from retorch.layers import linear, product
from retorch.layers.normalization.batch import Normalize
from retorch.pytorch.part import Part
from retorch.pytorch.rule import Run, rule, trained


def _two(at: Run) -> bool:
    """Whether two tensors went in."""
    return isinstance(at.given, tuple) and len(at.given) == at.count == 2


@rule(product.MM)
def matrices(layer: product.MM, at: Run) -> Part | None:
    if not _two(at):
        return None
    named: dict[str, Any] = {name: True for name in ("transA", "transB") if getattr(layer, name)}
    texts = ["{0}" + ".transpose(-1, -2)" * layer.transA, "{1}" + ".transpose(-1, -2)" * layer.transB]
    return at.module("MM", inline=" @ ".join(texts), **named)


@rule(product.MV)
def matrix_and_vector(layer: product.MV, at: Run) -> Part | None:
    if not _two(at):
        return None
    named: dict[str, Any] = {"trans": True} if layer.trans else {}
    return at.module("MV", **named)


@rule(product.DotProduct, product.CosineDistance, says="a class of its name")
def of_rows(layer: product.DotProduct | product.CosineDistance, at: Run) -> Part | None:
    return at.module(type(layer).__name__) if _two(at) and at.rank == 2 else None


@rule(product.PairwiseDistance)
def pairwise_distance(layer: product.PairwiseDistance, at: Run) -> Part | None:
    if not _two(at) or at.rank != 2:
        return None
    return at.module("PairwiseDistance", *([] if layer.norm == 2 else [float(layer.norm)]))


@rule(linear.Euclidean, says="Euclidean, WeightedEuclidean")
def euclidean(layer: linear.Euclidean, at: Run) -> Part | None:
    inputs, outputs = layer.weight.shape
    states = {"weight": trained(layer.weight, "weight")}
    if isinstance(layer, linear.WeightedEuclidean):
        states["diagCov"] = trained(layer.diagCov, "diagCov")
        return at.module("WeightedEuclidean", inputs, outputs, states=states)
    return at.module("Euclidean", inputs, outputs, states=states)


@rule(Normalize)
def normalize(layer: Normalize, at: Run) -> Part | None:
    if math.isinf(layer.p):
        return None
    named: dict[str, Any] = {} if layer.eps == 1e-10 else {"eps": float(layer.eps)}
    return at.module("Normalize", *([] if layer.p == 2 else [float(layer.p)]), **named)
