"""Softmaxes along a tree of classes, as dp trained language models by nnx."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Refusal, layer
from retorch.layers.convolution.spatial import check_rank
from retorch.layers.lookup import indices
from retorch.layers.shape.selection import from_zero
from retorch.layers.softmax import log_softmax

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value

#: The score of a child that is not there: its share is 0.
NO_CHILD = -1e30


@layer("nn.SoftMaxTree", kind="softmaxtree")
class SoftMaxTree(Layer):
    """{x, class} ↦ of each row, Σ log softmax(W x + b) of the children on the way from the class up to the root"""

    weight: Array
    bias: Array
    rootId: int = 1
    parentChildren: Array
    childParent: Array
    ignored = frozenset(
        """inputSize accUpdate nChildNode nParentNode minNodeId maxNodeId maxParentId maxChildId maxFamily childIds
        parentIds maxFamilyPath maxDept updates batchSize static hierarchy parentChildrenCuda childParentCuda
        _nodeBuffer _multiBuffer _gradTarget _nodeUpdateHost _nodeUpdateCuda _paramUpdateHost
        _paramUpdateCuda""".split()
    )

    def setup(self, bind: Binder) -> None:
        families = self.parentChildren.astype(int)
        parents = [i for i, (start, count) in enumerate(families) if start > 0 and count > 0]
        most = max((int(families[i][1]) for i in parents), default=0)
        if not parents or self.rootId - 1 not in parents:
            raise Refusal("has a tree without a root")
        self._weights = np.zeros((len(parents), most, self.weight.shape[1]), self.weight.dtype)
        self._biases = np.full((len(parents), most), NO_CHILD, self.bias.dtype)
        for at, parent in enumerate(parents):
            start, count = families[parent][0] - 1, families[parent][1]
            self._weights[at, :count] = self.weight[start : start + count]
            self._biases[at, :count] = self.bias[start : start + count]
        self._ways([self.way(child, parents) for child in range(len(self.childParent))])

    def way(self, child: int, parents: list[int]) -> list[tuple[int, int]]:
        """From a node up to the root: which family, and which child of it; nothing for what hangs nowhere."""
        way: list[tuple[int, int]] = []
        while True:
            parent, place = (int(n) - 1 for n in self.childParent[child])
            if parent not in parents or len(way) > len(parents):
                return []
            way.append((parents.index(parent), place))
            if parent == self.rootId - 1:
                return way
            if parent >= len(self.childParent):
                return []
            child = parent

    def _ways(self, ways: list[list[tuple[int, int]]]) -> None:
        deepest = max(map(len, ways))
        #: (nodes, steps): the family of each step, the child, and 1 where there is such a step.
        self._families, self._children = np.zeros((2, len(ways), deepest), np.int64)
        self._taken = np.zeros((len(ways), deepest), np.float32)
        for node, way in enumerate(ways):
            for step, (family, place) in enumerate(way):
                self._families[node, step], self._children[node, step] = family, place
                self._taken[node, step] = 1

    def check(self, x: list[Array] | list[Value]) -> None:
        if len(x) != 2:
            raise Refusal(f"takes rows and their classes, not {len(x)} tensors")
        check_rank(x[0], 2)
        if x[0].shape[1] != self.weight.shape[1] or int(np.prod(x[1].shape)) != x[0].shape[0]:
            raise Refusal(f"takes rows of {self.weight.shape[1]} with a class each, not {x[0].shape} and {x[1].shape}")

    def forward(self, x: list[Array]) -> Array:
        self.check(x)
        rows, at = x[0], indices(x[1].reshape(-1))
        if at.size and (at.min() < 0 or at.max() >= len(self._taken) or not self._taken[at, 0].all()):
            raise Refusal("is given a class that is not in its tree")
        y = np.zeros(len(rows), rows.dtype)
        for step in range(self._taken.shape[1]):
            families = self._families[at, step]
            scores = np.einsum("nfi,ni->nf", self._weights[families], rows) + self._biases[families]
            shares = log_softmax(scores, 1)[np.arange(len(rows)), self._children[at, step]]
            y += np.where(self._taken[at, step] > 0, shares, 0)
        return y

    def lower(self, op: Builder, x: list[Value]) -> Value:
        self.check(x)
        at = op.Reshape(from_zero(op, x[1]), [-1])
        rows = op.Unsqueeze(x[0], [1])
        weights, biases = op.weight(self._weights, "w"), op.weight(self._biases, "b")
        shares: list[Value] = []
        for step in range(self._taken.shape[1]):
            families = op.Gather(op.constant(self._families[:, step]), at, axis=0)
            scores = op.ReduceSum(op.Mul(op.Gather(weights, families, axis=0), rows), [2], keepdims=0)
            scores = op.LogSoftmax(op.Add(scores, op.Gather(biases, families, axis=0)), axis=1)
            child = op.Gather(op.constant(self._children[:, step, None]), at, axis=0)
            share = op.GatherElements(scores, child, axis=1)
            shares.append(op.Mul(share, op.Gather(op.constant(self._taken[:, step, None]), at, axis=0)))
        return op.Squeeze(op.Sum(*shares) if len(shares) > 1 else shares[0], [1])
