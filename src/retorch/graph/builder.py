"""What rules build with: values that may be rewritten, ONNX nodes with inferred shapes, and blob names.

Nodes are in SSA form as ONNX wants; what a tensor is in Torch, a :class:`retorch.graph.value.Value` is here.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, cast

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from retorch import limits
from retorch.errors import Problem, Refusal, RetorchError, UnsupportedError
from retorch.graph import nodes
from retorch.graph.value import Value
from retorch.layers.base.binding import Unknown
from retorch.layers.base.depth import deeper
from retorch.layers.base.layer import MAKES_NO_SENSE, Array, Layer, said
from retorch.layers.base.overlap import OVERLAP
from retorch.layers.base.random_source import DRAWS_AGAIN

Nested: TypeAlias = "Value | list[Nested]"


Operand: TypeAlias = "Value | Array | float | int | Sequence[int] | None"


class Builder:
    """Records ONNX nodes as rules ask for them: ``op.Relu(x)`` is a node and its output.

    Operands may be values, arrays, numbers (float32 scalars if ``float``) or lists of whole numbers (int64). Attributes
    are keywords. The output's type is inferred at once, so ``.shape`` can be read.

    Args:
        strict: stop at the first layer that refuses; ``refused`` holds it and its input.
        watch: called with each layer and its input, before it is lowered.
    """

    def __init__(self, *, strict: bool = False, watch: Callable[[Layer, Nested], None] | None = None) -> None:
        self.strict = strict
        self.watch = watch
        self.refused: tuple[Layer, Nested] | None = None
        self.nodes: list[ir.Node] = []
        self.initializers: dict[str, ir.Value] = {}
        self.problems: list[Problem] = []
        self.finished: list[tuple[Layer, list[ir.Value]]] = []
        self._known: dict[tuple[object, ...], ir.Value] = {}
        self._keep: list[Array] = []
        self._used: set[str] = set()
        self._counts: dict[str, int] = {}
        self.steps = 0
        self._prefix: str | None = None
        self._layer: Layer | None = None
        self._buffers: dict[int, Value] = {}
        # as in rule.Run: the tensor that each module calls its output, and what tensors are by now
        self._outputs: dict[int, Value] = {}
        self._moved: dict[int, tuple[Value, Value]] = {}
        self._tables: dict[object, list[Nested]] = {}
        self._clones: dict[object, tuple[dict[int, Value], dict[int, Value], dict[object, list[Nested]]]] = {}
        #: what recurrent layers keep from one step to the next, by ``id`` of the layer
        self.memory: dict[int, Any] = {}
        #: whether recurrent layers go on where their last sequence ended: their states are inputs of the network
        self.stateful = False
        #: the names of the inputs for what layers draw at random, by ``id`` of the layer; and those inputs
        self.undrawn: dict[int, str] = {}
        self.noise: dict[int, Value] = {}

    # -- nodes
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

    def drawn(self, owner: Layer, shape: Sequence[int]) -> Value:
        """What Torch draws at random for a layer: an input of the network."""
        name = self.undrawn.pop(id(owner), None)
        if name is None:
            raise Refusal(DRAWS_AGAIN)
        value = self.input(name, shape, ir.DataType.FLOAT)
        self.noise[id(owner)] = Value(value.read())
        return value

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
            array = array.astype(np.float32)
        digest = hashlib.blake2b(array.tobytes(), digest_size=16).digest()
        return self._initializer(("content", array.dtype.str, array.shape, digest), array, suffix)

    def weight(self, array: Array, suffix: str) -> Value:
        """A trained array, as the blob ``{layer}_{suffix}``: one initializer for one Torch tensor, as float32."""
        if array.flags.owndata or array.base is None:
            return self.constant(array.astype(np.float32, copy=False), suffix)
        self._keep.append(array)
        where = array.__array_interface__["data"][0]
        return self._initializer(("storage", where, array.dtype.str, array.shape, array.strides), array, suffix)

    def _initializer(self, key: tuple[object, ...], array: NDArray[Any], suffix: str) -> Value:
        if key not in self._known:
            value = ir.Value(name=self._name(suffix))
            value.const_value = nodes.tensor(array, value.name)
            value.shape = ir.Shape(array.shape)
            value.type = ir.TensorType(value.const_value.dtype)
            self._known[key] = value
            self.initializers[str(value.name)] = value
        return Value(self._known[key])

    def initializer_keys(self) -> list[tuple[object, ir.Value]]:
        """What each initializer is made of: equal keys are equal arrays."""
        return list(self._known.items())

    def output_copy(self, content: ir.Value) -> ir.Value:
        """A value of its own for an output that is an input, a weight, or another output too."""
        return self.Identity(Value(content)).read()

    # -- views and writes
    def view(
        self,
        x: Value,
        get: Callable[[Value], Value],
        put: Callable[[Value, Value], Value] | None = None,
        *,
        now: Value | None = None,
        strided: bool = False,
    ) -> Value:
        """A tensor on the storage of ``x``: ``get(x)`` is its content, ``put(x, new)`` that of ``x`` after a write.

        Args:
            x: the tensor that is looked at.
            get: the view's content from that of ``x``.
            put: the content of ``x`` after a write into the view; without one, such a write is refused.
            now: what ``get(x)`` would give, where a node has already been made of it.
            strided: whether the elements stand apart in memory, so that Torch does not call the view contiguous.
        """
        return Value((get(x) if now is None else now).read(), x, get, put, strided=strided)

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        """A view of other sizes (0 keeps the input's, one may be -1)."""

        def put(p: Value, new: Value) -> Value:
            # -1 in front keeps the node free of the batch size
            return self.Reshape(new, [-1, *p.shape[1:]] if p.rank and 0 not in p.shape else list(p.shape))

        return self.view(x, lambda p: self.Reshape(p, list(shape)), put)

    def unsqueeze(self, x: Value, axis: int) -> Value:
        """A view with a dimension of one more, at ``axis`` of the result."""
        return self.view(x, lambda p: self.Unsqueeze(p, [axis]), lambda _, new: self.Squeeze(new, [axis]))

    def squeeze(self, x: Value, axis: int) -> Value:
        """A view without dimension ``axis``, whose size is one."""
        return self.view(x, lambda p: self.Squeeze(p, [axis]), lambda _, new: self.Unsqueeze(new, [axis]))

    def transpose(self, x: Value, perm: Sequence[int]) -> Value:
        """A view with its dimensions in another order."""
        back = [int(i) for i in np.argsort(perm)]
        return self.view(x, lambda p: self.Transpose(p, perm=list(perm)), lambda _, new: self.Transpose(new, perm=back))

    def narrow(self, x: Value, axis: int, start: int, length: int) -> Value:
        """A view of ``length`` entries of dimension ``axis``, from ``start`` (from 0)."""
        size = x.shape[axis]

        def get(p: Value) -> Value:
            return self.Slice(p, [start], [start + length], [axis])

        def put(p: Value, new: Value) -> Value:
            before = [self.Slice(p, [0], [start], [axis])] if start else []
            after = [self.Slice(p, [start + length], [size], [axis])] if start + length < size else []
            parts = [*before, new, *after]
            return self.Concat(*parts, axis=axis) if len(parts) > 1 else new

        return self.view(x, get, put)

    def select(self, x: Value, axis: int, index: int) -> Value:
        """A view of entry ``index`` (from 0) of dimension ``axis``, without that dimension."""
        return self.squeeze(self.narrow(x, axis, index, 1), axis)

    def becomes(self, x: Value, y: Value) -> Value:
        """``y``, a view of x, as :func:`retorch.layers.base.memory.becomes` says it of arrays."""
        self._moved[id(x)] = x, y
        return y

    def write(self, x: Value, new: Value) -> Value:
        """What an in-place layer does: ``x`` now holds ``new``; returns ``x``."""
        x.write(new)
        return x

    def result(self, x: Value, new: Value, inplace: bool) -> Value:
        """``new`` in a tensor of its own, or written into ``x``."""
        return self.write(x, new) if inplace else new

    # -- the walk
    def call(self, module: Layer, x: Nested) -> Nested:
        """Lower a module inside the one being lowered."""
        self.steps += 1
        limits.check_steps(self.steps, "this network")
        return deeper(self._call, module, x)

    def _call(self, module: Layer, x: Nested) -> Nested:
        x = self.current(x)
        if self.watch is not None:
            self.watch(module, x)
        with self._scope(module):
            first = len(self.nodes)
            y = self._lower(module, x)
            if not module.container:
                self._rename(first, y)
                if isinstance(y, Value):
                    y = self._owned(module, x, self._settle(module, y, first))
        # what each tensor holds now: a later layer may write into it
        self.finished.append((module, [v.read() for v in flatten(self.current(y))]))
        return y

    def _lower(self, module: Layer, x: Nested) -> Nested:
        try:
            if isinstance(module, Unknown):
                raise Refusal(module.reason)
            module.check_nesting(x)
            return self._lower_here(module, x)
        except Refusal as refusal:
            self.problems.append(Problem(module.path, module.typename, str(refusal)))
            self.refused = self.refused or (module, x)
            if self.strict:
                raise UnsupportedError(self.problems) from refusal
            return self._stand_in(module, x)
        except MAKES_NO_SENSE as error:
            # a rule that took its input apart as its layer never gets it: a table of another length, too few dimensions
            given = " and ".join(str(v.shape) for v in flatten(x))
            self.problems.append(Problem(module.path, module.typename, f"does not take {given}: {said(error)}"))
            raise UnsupportedError(self.problems) from error

    def _lower_here(self, module: Layer, x: Nested) -> Nested:
        last = None if module.container or self.memory else self._buffers.get(id(module))
        if last is None or all(v.root is not last.root for v in flatten(x)):
            return cast("Nested", module.lower(self, x))
        y = cast("Nested", module.lower_over(self, x, last))
        if isinstance(y, Value) and math.prod(y.shape) != math.prod(last.shape):
            raise Refusal(OVERLAP)
        return y

    def _stand_in(self, module: Layer, x: Nested) -> Nested:
        """Something of the right shape after a refusal, so that the walk finds the other problems too."""
        try:
            return self._zeros_like(module(_zeros(x)))
        except (Refusal, RetorchError) as why:
            raise UnsupportedError(self.problems) from why

    def _zeros_like(self, y: Any) -> Nested:
        if isinstance(y, list):
            return [self._zeros_like(i) for i in cast("list[Any]", y)]
        return self.constant(np.zeros(cast("Array", y).shape, np.float32))

    def _settle(self, module: Layer, y: Value, first: int) -> Value:
        """A module used twice writes its second output over its first, as Torch's own buffer is overwritten."""
        producer = y.read().producer()
        if y.parent is not None or y.version or producer is None or producer not in self.nodes[first:]:
            return y
        last = self._buffers.get(id(module))
        if last is None:
            self._buffers[id(module)] = y
        elif last.shape == y.shape:
            last.write(y)
            return last
        elif math.prod(last.shape) == math.prod(y.shape):
            # the same memory under other sizes
            last.write(self.Reshape(y, [-1, *last.shape[1:]]))
            return self.reshape(last, [-1, *y.shape[1:]])
        else:
            # views of what it gave before now see part of this
            reason = "is used again at another size while a view of its first output is still read"
            last.root.gone = Problem(module.path, module.typename, reason)
            self._buffers[id(module)] = y
        return y

    def _owned(self, module: Layer, x: Nested, y: Value) -> Value:
        """The tensor that the module calls its output: since it runs again, its last output is this one."""
        if module.hands_on:
            return y
        if any(y is v for v in flatten(x)):
            y = Value(y.read(), y, lambda p: p, lambda _, new: new)
        last = self._outputs.get(id(module))
        # what is given now has not moved, whatever it did before
        self._moved.pop(id(y), None)
        if last is not None and last is not y:
            self._moved[id(last)] = last, y
        self._outputs[id(module)] = y
        return y

    def current(self, x: Nested) -> Nested:
        """What tensors are by now, as :func:`retorch.layers.base.memory.current` says it of arrays."""
        if isinstance(x, list):
            x[:] = [self.current(item) for item in x]
            return x
        while id(x) in self._moved:
            x = self._moved[id(x)][1]
        return x

    @contextmanager
    def clone(self, of: object) -> Generator[None]:
        """One clone of a module, as :func:`retorch.layers.base.memory.clone`."""
        outer = self._buffers, self._outputs, self._tables, self.memory
        self._buffers, self._outputs, self._tables = self._clones.setdefault(of, ({}, {}, {}))
        self.memory = {}
        try:
            yield
        finally:
            self._buffers, self._outputs, self._tables, self.memory = outer

    def last_output(self, layer: Layer) -> Value | None:
        """The tensor that a module calls its output, as :func:`retorch.layers.base.memory.last_output`."""
        return self._outputs.get(id(layer))

    def handed_on(self, layer: Layer) -> Value | None:
        """What a module was given and handed on, as :func:`retorch.layers.base.memory.handed_on`."""
        last, buffer = self.last_output(layer), self._buffers.get(id(layer))
        return None if last is None or (buffer is not None and last.root is buffer.root) else last

    def own_table(self, key: object) -> list[Nested]:
        """The one table that a module hands out, as :func:`retorch.layers.base.memory.own_table`."""
        return [] if self.memory else self._tables.setdefault(key, [])

    @contextmanager
    def _scope(self, module: Layer) -> Generator[None]:
        outer = self._prefix, self._layer
        self._prefix, self._layer = None, module
        try:
            yield
        finally:
            self._prefix, self._layer = outer

    # -- names
    def _name(self, suffix: str) -> str:
        if self._layer is None:
            return self._unique(suffix)
        if self._prefix is None:
            kind = self._layer.kind
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._prefix = f"{kind}{self._counts[kind]}"
        return self._unique(f"{self._prefix}_{suffix}")

    def _unique(self, name: str) -> str:
        candidate, n = name, 1
        while candidate in self._used:
            n += 1
            candidate = f"{name}_{n}"
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
                content.name = self._unique(self._prefix if isinstance(y, Value) else f"{self._prefix}_{i}")


def _zeros(x: Nested) -> Any:
    return np.zeros(x.shape, np.float32) if isinstance(x, Value) else [_zeros(i) for i in x]


def flatten(x: Nested) -> list[Value]:
    """The tensors of a nested table, in order."""
    return [x] if isinstance(x, Value) else [v for item in x for v in flatten(item)]


def _too_large(node: ir.Node) -> str | None:
    """Why a node cannot run: what it reads and gives would need more memory than is allowed."""
    count = 0.0
    for value in (*node.inputs, *node.outputs):
        if value is not None and value.shape is not None and value.shape.is_static():
            count += limits.needed(value.shape.numpy(), value.dtype.itemsize if value.dtype else 4)
    return limits.too_large(count)
