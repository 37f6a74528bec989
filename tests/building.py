"""Modules made by hand, and the ways a network can be run."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import retorch
from golden_cases import flatten
from retorch.module import Module, bind
from retorch.torch7 import LuaTable, TorchObject


def stored(value: Any) -> Any:
    """A field as a file would hold it: lists become tables, tuples of whole numbers LongStorages."""
    if isinstance(value, list):
        return LuaTable.of(*map(stored, value))
    if isinstance(value, tuple):
        return np.array(value, np.int64)
    return value


def torch_object(typename: str, **fields: Any) -> TorchObject:
    """An object of a class, with its fields."""
    return TorchObject(typename, {name: stored(value) for name, value in fields.items()})


def module(typename: str, **fields: Any) -> Module:
    """A network of one module."""
    return bind(torch_object(typename, **fields))


def sequential(*modules: TorchObject) -> Module:
    """A network of modules in a row."""
    return module("nn.Sequential", modules=list(modules))


def wide(x: Any) -> Any:
    """The same in float64; whole numbers stay."""
    if isinstance(x, list):
        return [wide(item) for item in x]
    return x.astype(np.float64) if x.dtype.kind == "f" else x


def reference(net: Module, x: Any) -> list[np.ndarray]:
    """The flat outputs of the formulas, in float64."""
    return flatten(net.forward(wide(x)))


def through_onnx(net: Module, x: Any) -> list[np.ndarray]:
    """The flat outputs of the converted network."""
    return retorch.convert(net, x, fold=False).run(*flatten(x))


def through_caffe2(net: Module, x: Any) -> list[np.ndarray]:
    """The flat outputs of the Caffe2 files, read back."""
    with tempfile.TemporaryDirectory() as folder:
        retorch.convert(net, x, fold=False).save(folder, format="caffe2")
        return retorch.Network.load(Path(folder)).run(*flatten(x))
