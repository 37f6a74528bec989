"""retorch: Torch7 models, alive again.

>>> import retorch
>>> net = retorch.load("model.t7")            # doctest: +SKIP
>>> y = net.forward(x)                        # doctest: +SKIP
>>> c = retorch.convert(net, (1, 3, 224, 224))  # doctest: +SKIP
>>> c.save("out/", format="caffe2")           # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retorch.apply.sampling import sample
    from retorch.archive import batch
    from retorch.conversion import convert, to_pytorch
    from retorch.layers.base.layer import Layer, layer
    from retorch.module import Module, load
    from retorch.network import Network
    from retorch.torch7 import LuaFunction, LuaTable, TorchObject, read, write
    from retorch.verification import verify

__version__ = "0.2.0"

#: Where each public name lives; imported when first asked for, so that reading needs neither onnx nor onnxruntime.
_HOMES = {
    "Layer": "retorch.layers.base.layer",
    "LuaFunction": "retorch.torch7",
    "LuaTable": "retorch.torch7",
    "Module": "retorch.module",
    "Network": "retorch.network",
    "TorchObject": "retorch.torch7",
    "batch": "retorch.archive",
    "convert": "retorch.conversion",
    "layer": "retorch.layers.base.layer",
    "load": "retorch.module",
    "read": "retorch.torch7",
    "sample": "retorch.apply.sampling",
    "to_pytorch": "retorch.conversion",
    "verify": "retorch.verification",
    "write": "retorch.torch7",
}

__all__ = [
    "Layer",
    "LuaFunction",
    "LuaTable",
    "Module",
    "Network",
    "TorchObject",
    "batch",
    "convert",
    "layer",
    "load",
    "read",
    "sample",
    "to_pytorch",
    "verify",
    "write",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'retorch' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
