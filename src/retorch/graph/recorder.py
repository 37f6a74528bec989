"""ONNX nodes as rules ask for them: ``op.Relu(x)`` is a node and its output, with an inferred shape and a blob's name.

Nodes are in SSA form as ONNX wants; what a tensor is in Torch, a :class:`retorch.graph.value.Value` is here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from retorch import limits
from retorch.errors import Refusal
from retorch.graph import nodes
from retorch.graph.nan import NanSources
from retorch.graph.value import Nested, Value, flatten
from retorch.layers.base.layer import Array, Layer

Operand: TypeAlias = "Value | Array | float | int | Sequence[int] | None"


_LARGEST = float(np.finfo(np.float32).max)


class Recorder:
    """The nodes, initializers and names of one graph.

    Operands may be values, arrays, numbers (float32 scalars if ``float``) or lists of whole numbers (int64). Attributes
    are keywords. The output's type is inferred at once, so ``.shape`` can be read.
    """

    def __init__(self) -> None:
        self.nodes: list[ir.Node] = []
        self.initializers: dict[str, ir.Value] = {}
        self._known: dict[tuple[object, ...], ir.Value] = {}
        self._keep: list[Array] = []
        self.nan = NanSources()
        self._used: set[str] = set()
        #: the last number given to a name
        self._last: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._prefix: str | None = None
        self._layer: Layer | None = None

    def __getattr__(self, op_type: str) -> Callable[..., Value]:
        if not op_type[0].isupper():
            raise AttributeError(op_type)

        def record(*operands: Operand, **attributes: object) -> Value:
            return self.many(op_type, 1, *operands, **attributes)[0]

        return record

    def input(self, name: str, shape: Sequence[int], dtype: ir.DataType) -> Value:
        """An input of the network."""
        value = ir.Value(name=self._unique(name), shape=ir.Shape(shape), type=ir.TensorType(dtype))
        return Value(value)

    def many(self, op_type: str, count: int, *operands: Operand, **attributes: object) -> list[Value]:
        """A node with several outputs."""
        inputs = [self._operand(x) for x in operands]
        while inputs and inputs[-1] is None:
            inputs.pop()
        node = nodes.make(op_type, inputs, attributes, count)
        name = self._name(op_type.lower())
        for i, out in enumerate(node.outputs):
            out.name = name if i == 0 else self._unique(f"{name}_{i}")
        if self._layer is not None:
            node.metadata_props["retorch.path"] = self._layer.path
            node.metadata_props["retorch.class"] = self._layer.typename
        try:
            nodes.infer(node)
        except nodes.DoesNotFitError as error:
            raise Refusal(f"its input does not fit: {error}") from None
        if reason := _too_large(node):
            raise Refusal(reason)
        self.nodes.append(node)
        return [Value(out) for out in node.outputs]

    def may_be_nan(self, x: Value) -> bool:
        """Whether a tensor can hold NaN where the network's inputs are finite, for all that the graph says."""
        return self.nan.can_be(x.read())

    def _operand(self, x: Operand) -> ir.Value | None:
        if x is None:
            return None
        if isinstance(x, Value):
            return x.read()
        if isinstance(x, np.ndarray):
            return self.constant(x).read()
        if isinstance(x, float):
            return self.constant(np.float32(x)).read()
        return self.constant(np.asarray(x, np.int64)).read()

    def constant(self, array: Array | np.generic, suffix: str = "const") -> Value:
        """A small array that the rule made up: one initializer for equal ones."""
        array = np.ascontiguousarray(array) if np.ndim(array) else np.asarray(array)
        if array.dtype == np.float64:
            self._check_range(array)
            array = array.astype(np.float32)
        digest = hashlib.blake2b(array.tobytes(), digest_size=16).digest()
        return self._initializer(("content", array.dtype.str, array.shape, digest), array, suffix)

    def weight(self, array: Array, suffix: str) -> Value:
        """A trained array, as the blob ``{layer}_{suffix}``: one initializer for one Torch tensor, as float32."""
        self._check_range(array)
        if array.flags.owndata or array.base is None:
            return self.constant(array.astype(np.float32, copy=False), suffix)
        self._keep.append(array)
        where = array.__array_interface__["data"][0]
        return self._initializer(("storage", where, array.dtype.str, array.shape, array.strides), array, suffix)

    def _check_range(self, array: NDArray[Any]) -> None:
        """Refuse numbers that are finite, and would not be as float32."""
        if array.dtype != np.float64 or not array.size:
            return
        most = float(np.nanmax(np.where(np.isinf(array), 0, np.abs(array))))
        if most > _LARGEST:
            held = {} if self._layer is None else self._layer.parameters()
            name = next((name for name, own in held.items() if own.size and np.shares_memory(own, array)), "a number")
            raise Refusal(f"{name} holds {most:g}, and float32 ends at {_LARGEST:.3g}")

    def _initializer(self, key: tuple[object, ...], array: NDArray[Any], suffix: str) -> Value:
        if key not in self._known:
            value = ir.Value(name=self._name(suffix))
            value.const_value = nodes.tensor(array, value.name)
            value.shape = ir.Shape(array.shape)
            value.type = ir.TensorType(value.const_value.dtype)
            self._known[key] = value
            self.initializers[str(value.name)] = value
            self.nan.add_weight(value, key, array)
        return Value(self._known[key])

    def initializer_keys(self) -> list[tuple[object, ir.Value]]:
        """What each initializer is made of: equal keys are equal arrays."""
        return list(self._known.items())

    def output_copy(self, content: ir.Value) -> ir.Value:
        """A value of its own for an output that is an input, a weight, or another output too."""
        return self.Identity(Value(content)).read()

    # -- names
    @contextmanager
    def _scope(self, module: Layer) -> Generator[None]:
        outer = self._prefix, self._layer
        self._prefix, self._layer = None, module
        try:
            yield
        finally:
            self._prefix, self._layer = outer

    def _name(self, suffix: str) -> str:
        if self._layer is None:
            return self._unique(suffix)
        if self._prefix is None:
            kind = self._layer.kind
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._prefix = f"{kind}{self._counts[kind]}"
        return self._unique(f"{self._prefix}_{suffix}")

    def _unique(self, name: str) -> str:
        n = self._last.get(name, 1)
        candidate = name if n == 1 else f"{name}_{n}"
        while candidate in self._used:
            n += 1
            candidate = f"{name}_{n}"
        self._last[name] = n
        self._used.add(candidate)
        return candidate

    def _rename(self, first: int, y: Nested) -> None:
        """The last node of a layer gives its output the layer's own name."""
        made = {out for node in self.nodes[first:] for out in node.outputs}
        for i, value in enumerate(flatten(y), 1):
            content = value.read()
            if content in made and self._prefix is not None:
                made.discard(content)
                self._used.discard(str(content.name))
                self._last.clear()  # a number is free again
                content.name = self._unique(self._prefix if isinstance(y, Value) else f"{self._prefix}_{i}")


def _too_large(node: ir.Node) -> str | None:
    """Why a node cannot run: what it reads and gives would need more memory than is allowed."""
    count = 0.0
    for value in (*node.inputs, *node.outputs):
        if value is not None and value.shape is not None and value.shape.is_static():
            count += limits.needed(value.shape.numpy(), value.dtype.itemsize if value.dtype else 4)
    return limits.too_large(count)
