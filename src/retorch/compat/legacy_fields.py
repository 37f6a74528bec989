"""Where ``torch.legacy.nn`` called a field otherwise, or counted it from 0, for scripts that read such fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from retorch.torch7 import LuaTable, TorchObject

#: Names by class: Lua's, and Python's.
_RENAMED: dict[str, dict[str, str]] = {
    "nn.ReLU": {"val": "value"},
    "nn.Threshold": {"val": "value"},
    "nn.Unsqueeze": {"pos": "dim"},
    "nn.HardShrink": {"lambda": "lambd"},
    "nn.SoftShrink": {"lambda": "lambd"},
    "nn.GradientReversal": {"lambda": "lambd"},
    "nn.SpatialAdaptiveMaxPooling": {"H": "h", "W": "w"},
}
#: Fields, by Python's names, that Lua counts from 1; those of the second table where they are positive.
_FROM_ZERO: dict[str, tuple[str, ...]] = {
    "nn.Index": ("dimension",),
    "nn.SelectTable": ("index",),
    "nn.SplitTable": ("dimension",),
    "nn.Parallel": ("inputDimension", "outputDimension"),
    "nn.Concat": ("dimension",),
    "nn.DepthConcat": ("dimension",),
    "nn.Squeeze": ("dim",),
    "nn.Unsqueeze": ("dim",),
    "nn.Replicate": ("dim",),
    "nn.MixtureTable": ("dim",),
    "nn.Narrow": ("dimension", "index"),
    "nn.NarrowTable": ("offset",),
    "nn.LookupTable": ("paddingValue",),
    "nn.SpatialConvolutionMap": ("connTable",),
    "nn.SpatialFullConvolutionMap": ("connTable",),
    "nn.Select": ("dimension", "index"),
    "nn.Padding": ("dim", "index"),
    "nn.PartialLinear": ("partition",),
}
_FROM_ZERO_IF_POSITIVE: dict[str, tuple[str, ...]] = dict.fromkeys(
    ("nn.Sum", "nn.Max", "nn.Min", "nn.Mean"), ("dimension",)
)
#: What a script may ask for though old files, or files of layers without it, have no such field.
_ABSENT = ("weight", "bias", "gradWeight", "gradBias")
_ABSENT_FROM = ("Linear", "Convolution", "ConvolutionMM", "BatchNormalization")


def to_python(value: TorchObject) -> dict[Any, Any]:
    """The fields of a module as ``torch.legacy.nn`` has them."""
    typename = value.typename
    names = _RENAMED.get(typename, {})
    fields: dict[Any, Any] = {names.get(key, key): field for key, field in value.items()}
    if typename.endswith(_ABSENT_FROM):
        fields = {**dict.fromkeys(_ABSENT), **fields}
    if typename.endswith("BatchNormalization") and "running_std" in fields:
        inverse = np.asarray(fields.pop("running_std"))
        fields["running_var"] = inverse**-2.0 - fields.get("eps", 1e-5)
    if typename == "nn.Transpose" and isinstance(fields.get("permutations"), LuaTable):
        fields["permutations"] = _swaps(fields["permutations"], -1)
    _shift(typename, fields, -1)
    return fields


def to_lua(typename: str, fields: Mapping[str, Any]) -> dict[Any, Any]:
    """The way back; fields that are None are none in Lua."""
    names = {python: lua for lua, python in _RENAMED.get(typename, {}).items()}
    stored: dict[Any, Any] = {key: field for key, field in fields.items() if field is not None}
    if typename == "nn.Transpose" and isinstance(stored.get("permutations"), list):
        stored["permutations"] = [[number + 1 for number in pair] for pair in stored["permutations"]]
    _shift(typename, stored, 1)
    return {names.get(key, key): field for key, field in stored.items()}


def _swaps(table: LuaTable, shift: int) -> LuaTable:
    pairs = (pair.sequence() for pair in table.sequence())
    return LuaTable.of(*(LuaTable.of(*(number + shift for number in pair)) for pair in pairs))


def _shift(typename: str, fields: dict[Any, Any], by: int) -> None:
    for name in _FROM_ZERO.get(typename, ()):
        if fields.get(name) is not None:
            fields[name] = fields[name] + by
    for name in _FROM_ZERO_IF_POSITIVE.get(typename, ()):
        least = 1 if by < 0 else 0
        if fields.get(name) is not None and fields[name] >= least:
            fields[name] = fields[name] + by
