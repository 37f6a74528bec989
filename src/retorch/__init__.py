"""retorch: Torch7 models, alive again.

    import retorch

    obj = retorch.read("anything.t7")             # any .t7: numbers, tables, tensors, objects
    obj.modules[1].weight                         # fields by attribute; read(…, writable=True) gives a copy to change
    retorch.write("clean.t7", obj)                # back to Torch

    net = retorch.load("checkpoint.t7")           # the network in it; load(obj) takes what was read
    net(x)                                        # run it in NumPy
    net.state_dict()                              # its weights by PyTorch's names

    c = retorch.convert(net)                      # the input's shape is worked out; or convert(net, (1, 3, 224, 224))
    c.run(x)                                      # run it in onnxruntime
    c.save("out/")                                # Caffe2 files; or "model.onnx", "model.pb": by the suffix

    report = retorch.verify(net, "out/")          # every output against the reference; layers=True every layer
    report.ok, report.save("report.html")
    retorch.Network.load("out/")                  # what was written, by retorch or anyone

The same from a shell: ``retorch --help``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retorch.apply.sampling import sample
    from retorch.archive import batch
    from retorch.conversion import convert, to_pytorch
    from retorch.layers.base.layer import Layer, alias, layer
    from retorch.module import Module, load
    from retorch.network import Network
    from retorch.report import verify
    from retorch.torch7 import LuaFunction, LuaTable, TorchObject, read, write

__version__ = "0.2.0"

#: Where each public name lives; imported when first asked for, so that reading needs neither onnx nor onnxruntime.
_HOMES = {
    "Layer": "retorch.layers.base.layer",
    "LuaFunction": "retorch.torch7",
    "LuaTable": "retorch.torch7",
    "Module": "retorch.module",
    "Network": "retorch.network",
    "TorchObject": "retorch.torch7",
    "alias": "retorch.layers.base.layer",
    "batch": "retorch.archive",
    "convert": "retorch.conversion",
    "layer": "retorch.layers.base.layer",
    "load": "retorch.module",
    "read": "retorch.torch7",
    "sample": "retorch.apply.sampling",
    "to_pytorch": "retorch.conversion",
    "verify": "retorch.report",
    "write": "retorch.torch7",
}

__all__ = [
    "Layer",
    "LuaFunction",
    "LuaTable",
    "Module",
    "Network",
    "TorchObject",
    "alias",
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


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'retorch' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
