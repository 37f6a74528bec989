"""Rows of a table that are looked up by index."""

from __future__ import annotations

from typing import Any

from retorch.layers import lookup
from retorch.pytorch.part import Part
from retorch.pytorch.rule import Run, exactly, rule, trained


@rule(lookup.LookupTable, says="nn.Embedding, indices from 1")
def lookup_table(layer: lookup.LookupTable, at: Run) -> Part | None:
    if not exactly(layer, lookup.LookupTable):
        return None
    named: dict[str, Any] = {}
    if layer.maxNorm is not None:
        named["max_norm"] = float(layer.maxNorm)
        named |= {} if layer.normType == 2 else {"norm_type": float(layer.normType)}
    return at.module("LookupTable", *layer.weight.shape, states={"weight": trained(layer.weight, "weight")}, **named)


@rule(lookup.OneHot)
def one_hot(layer: lookup.OneHot, at: Run) -> Part | None:
    return at.module("OneHot", int(layer.outputSize))


@rule(lookup.LookupTableMaskZero)
def lookup_table_with_zeros(layer: lookup.LookupTableMaskZero, at: Run) -> Part | None:
    if layer.maxNorm is not None:
        return None
    states = {"weight": trained(layer.weight, "weight")}
    return at.module("LookupTableMaskZero", *layer.weight.shape, states=states)
