"""Torch modules made in Python: random weights as Torch begins with, and the fields that evaluation needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retorch import LuaTable, TorchObject

Floats = NDArray[np.float32]


def module(typename: str, **fields: Any) -> TorchObject:
    """A module with the fields that every one has, and its own."""
    empty = LuaTable() if typename.endswith("Table") else np.zeros(0, np.float32)
    common = {"output": np.zeros(0, np.float32), "gradInput": empty, "_type": "torch.FloatTensor", "train": False}
    return TorchObject(typename, {**common, **fields})


def container(typename: str, *modules: TorchObject) -> TorchObject:
    """``nn.Sequential``, ``nn.ConcatTable`` and their like."""
    return module(typename, modules=LuaTable.of(*modules))


def sequential(*modules: TorchObject) -> TorchObject:
    """Modules in a row."""
    return container("nn.Sequential", *modules)


@dataclass(frozen=True)
class Maker:
    """Makes modules that have weights; equal seeds give equal ones.

    Attributes:
        random: where the weights come from: as in Torch, evenly from ±1 / √(inputs of one output).
    """

    random: np.random.Generator

    def _even(self, inputs: int, *shape: int) -> Floats:
        bound = inputs**-0.5
        return self.random.uniform(-bound, bound, shape).astype(np.float32)

    def linear(self, inputs: int, outputs: int) -> TorchObject:
        """``nn.Linear(inputs, outputs)``."""
        return module("nn.Linear", weight=self._even(inputs, outputs, inputs), bias=self._even(inputs, outputs))

    def convolution(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, int],
        stride: int = 1,
        *,
        pad: tuple[int, int] = (0, 0),
        dilation: int = 1,
        bias: bool = True,
    ) -> TorchObject:
        """``nn.SpatialConvolution``, or the dilated one; kernel and padding are (width, height)."""
        seen = inputs * kernel[0] * kernel[1]
        fields: dict[str, Any] = _window(inputs, outputs, kernel, stride, pad)
        fields["weight"] = self._even(seen, outputs, inputs, kernel[1], kernel[0])
        if bias:
            fields["bias"] = self._even(seen, outputs)
        if dilation == 1:
            return module("nn.SpatialConvolution", **fields)
        return module("nn.SpatialDilatedConvolution", **fields, dilationW=dilation, dilationH=dilation)

    def full_convolution(self, inputs: int, outputs: int) -> TorchObject:
        """``nn.SpatialFullConvolution`` of 3×3 that doubles height and width."""
        fields = _window(inputs, outputs, (3, 3), 2, (1, 1))
        weight, bias = self._even(inputs * 9, inputs, outputs, 3, 3), self._even(inputs * 9, outputs)
        return module("nn.SpatialFullConvolution", **fields, adjW=1, adjH=1, weight=weight, bias=bias)

    def batch_norm(self, planes: int, eps: float = 1e-5) -> TorchObject:
        """``nn.SpatialBatchNormalization(planes)``."""
        weight, bias = self.random.uniform(0, 1, planes).astype(np.float32), np.zeros(planes, np.float32)
        running = {"running_mean": np.zeros(planes, np.float32), "running_var": np.ones(planes, np.float32)}
        settings = {"eps": eps, "momentum": 0.1, "affine": True, "nDim": 4}
        return module("nn.SpatialBatchNormalization", **settings, **running, weight=weight, bias=bias)

    def prelu(self, planes: int) -> TorchObject:
        """``nn.PReLU(planes)``."""
        return module("nn.PReLU", nOutputPlane=planes, weight=np.full(planes, 0.25, np.float32))


def _window(inputs: int, outputs: int, kernel: tuple[int, int], stride: int, pad: tuple[int, int]) -> dict[str, int]:
    sizes = {"nInputPlane": inputs, "nOutputPlane": outputs, "kW": kernel[0], "kH": kernel[1]}
    return {**sizes, "dW": stride, "dH": stride, "padW": pad[0], "padH": pad[1]}


class Graph:
    """Builds an ``nn.gModule`` as nngraph does: ``graph(module, *inputs)`` is a node.

    A node is a ``nngraph.Node`` whose ``data`` knows its inputs in order (``mapindex``) and whose ``children`` are the
    nodes that read it. ``forwardnodes`` has them in the order in which they were made, in which they can run.
    """

    def __init__(self, inputs: int) -> None:
        """A graph that takes a table of so many tensors."""
        self._nodes: list[TorchObject] = []
        self._first = self._node([], input=LuaTable())
        entries = list(self.split(self._first, inputs))
        self.inputs = [self(module("nn.Identity"), entry) for entry in entries]

    def __call__(self, made: TorchObject, *inputs: TorchObject, name: str = "") -> TorchObject:
        """A node that runs a module; ``name`` annotates it."""
        return self._node(inputs, name, module=made)

    def split(self, table: TorchObject, count: int) -> Iterator[TorchObject]:
        """A node for each entry of a table."""
        split = self._node([table], nSplitOutputs=count)
        return (self._node([split], selectindex=i, input=LuaTable()) for i in range(1, count + 1))

    def _node(self, inputs: Sequence[TorchObject], name: str = "", **data: Any) -> TorchObject:
        index = LuaTable()
        made = LuaTable({**data, "annotations": LuaTable({"name": name} if name else {}), "mapindex": index})
        node = TorchObject("nngraph.Node", {"data": made, "id": len(self._nodes) + 1, "children": LuaTable()})
        for place, parent in enumerate(inputs, 1):
            index[place] = parent["data"]
            index[parent["data"]] = place
            children = parent["children"]
            children[len(children) + 1] = node
        self._nodes.append(node)
        return node

    def build(self, *outputs: TorchObject) -> TorchObject:
        """The module that gives the table of these nodes' results."""
        last = self._node(outputs, input=LuaTable())
        modules = [node["data"]["module"] for node in self._nodes if "module" in node["data"]]
        return module(
            "nn.gModule",
            modules=LuaTable.of(*modules),
            forwardnodes=LuaTable.of(*self._nodes),
            innode=self._first,
            outnode=last,
            nInputs=len(self.inputs),
            verbose=False,
        )
