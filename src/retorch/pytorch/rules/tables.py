"""Tables of tensors: arithmetic, joins and splits."""

from __future__ import annotations

from retorch.layers.table import arithmetic, selection
from retorch.pytorch.part import Part
from retorch.pytorch.rule import Run, rule
from retorch.pytorch.trace import flat

_SIGNS = {"CAddTable": "+", "CSubTable": "-", "CMulTable": "*", "CDivTable": "/"}
_FUNCTIONS = {"CMaxTable": "maximum", "CMinTable": "minimum"}


@rule(arithmetic.Accumulating, says="a class of its name")
def accumulating(layer: arithmetic.Accumulating, at: Run) -> Part | None:
    flat_table = isinstance(at.given, tuple) and not any(isinstance(item, tuple) for item in at.given)
    if not flat_table or any(at.shape(i) != at.shape() for i in range(at.count)):
        return None
    name = type(layer).__name__
    two = name in ("CSubTable", "CDivTable")
    if (two and at.count != 2) or name not in {**_SIGNS, **_FUNCTIONS}:
        return None
    places = [f"{{{i}}}" for i in range(at.count)]
    if name in _SIGNS:
        inline = f" {_SIGNS[name]} ".join(places)
        return at.module(name, inline=inline if len(places) == 2 or name == "CAddTable" else None, how="module")
    inline = f"torch.{_FUNCTIONS[name]}({', '.join(places)})" if len(places) == 2 else None
    return at.module(name, inline=inline, how="module")


@rule(arithmetic.JoinTable)
def join_table(layer: arithmetic.JoinTable, at: Run) -> Part | None:
    if not isinstance(at.given, tuple) or any(isinstance(item, tuple) for item in at.given):
        return None
    axis = layer.axis(at.rank)
    if any(len(at.shape(i)) != at.rank for i in range(at.count)):
        return None
    alike = {(*at.shape(i)[:axis], *at.shape(i)[axis + 1 :]) for i in range(at.count)}
    if len(alike) != 1:
        return None
    places = ", ".join(f"{{{i}}}" for i in range(at.count))
    comma = "," if at.count == 1 else ""
    return at.module("JoinTable", axis, inline=f"torch.cat(({places}{comma}), {axis})", how="module")


@rule(arithmetic.SplitTable)
def split_table(layer: arithmetic.SplitTable, at: Run) -> Part | None:
    axis = layer.axis(at.rank)
    return at.module("SplitTable", axis, inline=f"{{0}}.unbind({axis})", how="module")


@rule(selection.SelectTable)
def select_table(layer: selection.SelectTable, at: Run) -> Part | None:
    if not isinstance(at.given, tuple):
        return None
    index = layer.at(len(at.given))
    if flat(at.scope.made) != flat(at.given[index]):
        return None
    return at.module("SelectTable", index, how="module")


@rule(selection.NarrowTable)
def narrow_table(layer: selection.NarrowTable, at: Run) -> Part | None:
    start = layer.offset - 1
    if not isinstance(at.given, tuple) or at.scope.made != at.given[start : start + layer.length]:
        return None
    return at.module("NarrowTable", start, start + layer.length, how="module")


@rule(selection.FlattenTable)
def flatten_table(layer: selection.FlattenTable, at: Run) -> Part | None:
    return at.module("FlattenTable", how="module") if at.scope.made == tuple(flat(at.given)) else None


@rule(selection.ReverseTable)
def reverse_table(layer: selection.ReverseTable, at: Run) -> Part | None:
    is_table = isinstance(at.given, tuple) and at.scope.made == at.given[::-1]
    return at.module("ReverseTable") if is_table else None


@rule(selection.ZipTable)
def zip_table(layer: selection.ZipTable, at: Run) -> Part | None:
    return at.module("ZipTable")


@rule(selection.ZipTableOneToMany)
def zip_table_one_to_many(layer: selection.ZipTableOneToMany, at: Run) -> Part | None:
    return at.module("ZipTableOneToMany")


@rule(arithmetic.CAddTensorTable)
def add_tensor_table(layer: arithmetic.CAddTensorTable, at: Run) -> Part | None:
    return at.module("CAddTensorTable") if isinstance(at.given, tuple) and len(at.given) == 2 else None
