"""Torch's memory in a graph, whose values never change: who owns a tensor, who looks at it, and who writes over it.

The specification is that of :mod:`retorch.layers.base.memory`; this is the same for values, under the same names and in
the same order, so that the two can be read side by side. Where NumPy's arrays share memory by themselves, a
:class:`retorch.graph.value.Value` knows its root and its parent, and a write gives the root new content.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from retorch.errors import Problem, Refusal
from retorch.graph.recorder import Recorder
from retorch.graph.value import Nested, Value, flatten
from retorch.layers.base.layer import Layer
from retorch.layers.base.memory import WRITE_ELSEWHERE, WRITTEN_AGAIN, shows_again


class Memory(Recorder):
    """A graph's nodes, and Torch's memory while they are recorded: what ``Run`` is for arrays."""

    def __init__(self) -> None:
        super().__init__()
        self._buffers: dict[int, Value] = {}
        self._outputs: dict[int, Value] = {}
        self._replaced: dict[int, tuple[Value, Value]] = {}
        self._tables: dict[object, list[Nested]] = {}
        self._clones: dict[object, tuple[dict[int, Value], dict[int, Value], dict[object, list[Nested]]]] = {}
        #: 7. states: what recurrent layers keep from one step to the next, by ``id`` of the layer
        self.memory: dict[int, Any] = {}
        #: what each nn.PullTable will put into its table, by ``id`` of its object
        self.pushed: dict[int, Nested] = {}
        #: whether recurrent layers go on where their last sequence ended: their states are inputs of the network
        self.stateful = False

    # -- 1. buffers
    def in_buffer(self, owner: Layer, y: Value, first: int) -> Value:
        """The output in the memory that the module used before; as it is where none of its own nodes made it."""
        producer = y.read().producer()
        if y.parent is not None or y.version or producer is None or producer not in self.nodes[first:]:
            return y
        last = self._buffers.get(id(owner))
        if last is None or last.is_float != y.is_float:
            self._buffers[id(owner)] = y
            return y
        if last.shape != y.shape:
            resized = self._resized(last, y)
            if resized is None:
                # views of what it gave before now see part of this; another module may have lost the same memory before
                last.read()
                reason = "is used again at another size while a view of its first output is still read"
                last.root.gone = Problem(owner.path, owner.typename, reason)
            self._buffers[id(owner)] = resized or y
            return resized or y
        last.write(y)
        return last

    def _resized(self, last: Value, y: Value) -> Value | None:
        """``y`` in the memory of ``last`` under its own sizes, which may grow; nothing where it cannot be followed."""
        root, first, count = last.root, last.offset, math.prod(y.shape)
        if first is None or not last.is_contiguous or 0 in (count, math.prod(root.shape)):
            return None
        root.read()  # it may be lost
        if first + count <= math.prod(root.shape):
            made = self._part(root, first, y)
            made.write(y)
            return made
        old = _Part(self, 0, root.shape)
        before = [self.Slice(old.flat(root), [0], [first], [0])] if first else []
        grown = self.Concat(*before, self.Reshape(y, [-1]), axis=0) if first else y
        root.become_view(grown, old.get, old.put)
        return self._part(grown, first, y) if first else grown

    def _part(self, root: Value, first: int, y: Value) -> Value:
        part = _Part(self, first, y.shape)
        return Value(y.read(), root, part.get, part.put, offset=first)

    # -- 2. outputs
    def set_output(self, owner: Layer, x: Nested, y: Value, first: int) -> Value:
        """The output as Torch gives it: in the module's buffer, and from now on what the module's last output is.

        ``first`` is the position of the module's own first node.
        """
        y = self.in_buffer(owner, y, first)
        if owner.owns_no_output:
            return y
        if any(y is v for v in flatten(x)):
            y = Value(y.read(), y, lambda p: p, lambda _, new: new, strides=y.strides, offset=y.offset)
        last = self._outputs.get(id(owner))
        # what is given now is not replaced, whatever was before
        self._replaced.pop(id(y), None)
        if last is not None and last is not y:
            self._replaced[id(last)] = last, y
        self._outputs[id(owner)] = y
        return y

    def current(self, x: Nested) -> Nested:
        """What tensors are by now, since a module that runs again makes its last output point at the new one."""
        if isinstance(x, list):
            x[:] = [self.current(item) for item in x]
            return x
        while id(x) in self._replaced:
            x = self._replaced[id(x)][1]
        return x

    def last_output(self, layer: Layer) -> Value | None:
        """The tensor that a module calls its output, as it is before the module runs again."""
        return self._outputs.get(id(layer))

    def release(self, layer: Layer) -> None:
        """The module lets go of its buffer: its output is a view of its input (``self.output:set(input)``)."""
        self._buffers.pop(id(layer), None)

    def write_into_last_output(self, layer: Layer, x: Value) -> None:
        """The module will write where its last output lies, even if that is what it was given; but not over ``x``."""
        last = self.last_output(layer)
        if last is None:
            return
        if last.root is x.root:
            self._buffers.pop(id(layer), None)
        else:
            self._buffers.setdefault(id(layer), last)

    # -- 3. views and in-place writes
    def resize_in_place(self, x: Value, y: Value) -> Value:
        """``y``, a view of x: a module has given x itself other sizes, which all who hold it see from now on."""
        self._replaced[id(x)] = x, y
        return y

    def view(
        self,
        x: Value,
        get: Callable[[Value], Value],
        put: Callable[[Value, Value], Value] | None = None,
        *,
        now: Value | None = None,
        strides: Sequence[int] | None = None,
        offset: int | None = None,
    ) -> Value:
        """A tensor on the storage of ``x``: ``get(x)`` is its content, ``put(x, new)`` that of ``x`` after a write.

        Args:
            x: the tensor that is looked at.
            get: the view's content from that of ``x``.
            put: the content of ``x`` after a write into the view; without one, such a write is refused.
            now: what ``get(x)`` would give, where a node has already been made of it.
            strides: how far apart the elements stand in memory, along each dimension; in order by default.
            offset: how many elements of the storage stand before the first, where that is known.
        """
        return Value((get(x) if now is None else now).read(), x, get, put, strides=strides, offset=offset)

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        """A view of other sizes (0 keeps the input's, one may be -1)."""

        def put(p: Value, new: Value) -> Value:
            # -1 in front keeps the node free of the batch size
            return self.Reshape(new, [-1, *p.shape[1:]] if p.rank and 0 not in p.shape else list(p.shape))

        return self.view(x, lambda p: self.Reshape(p, list(shape)), put, offset=x.offset)

    def unsqueeze(self, x: Value, axis: int) -> Value:
        """A view with a dimension of one more, at ``axis`` of the result."""

        def back(_: Value, new: Value) -> Value:
            return self.Squeeze(new, [axis])

        at = None if x.strides is None else (*x.strides[:axis], 1, *x.strides[axis:])
        return self.view(x, lambda p: self.Unsqueeze(p, [axis]), back, strides=at, offset=x.offset)

    def squeeze(self, x: Value, axis: int) -> Value:
        """A view without dimension ``axis``, whose size is one."""
        return self.squeeze_all(x, [axis])

    def squeeze_all(self, x: Value, axes: Sequence[int]) -> Value:
        """A view without the dimensions ``axes``, whose sizes are one."""

        def back(_: Value, new: Value) -> Value:
            return self.Unsqueeze(new, list(axes))

        at = None if x.strides is None else [s for axis, s in enumerate(x.strides) if axis not in axes]
        return self.view(x, lambda p: self.Squeeze(p, list(axes)), back, strides=at, offset=x.offset)

    def transpose(self, x: Value, perm: Sequence[int]) -> Value:
        """A view with its dimensions in another order."""
        back = [int(i) for i in np.argsort(perm)]
        stands = x.stands()

        def undone(_: Value, new: Value) -> Value:
            return self.Transpose(new, perm=back)

        at = [stands[axis] for axis in perm]
        return self.view(x, lambda p: self.Transpose(p, perm=list(perm)), undone, strides=at, offset=x.offset)

    def narrow(self, x: Value, axis: int, start: int, length: int) -> Value:
        """A view of ``length`` entries of dimension ``axis``, from ``start`` (from 0)."""

        def get(p: Value) -> Value:
            return self.Slice(p, [start], [start + length], [axis])

        stands = x.stands()

        def put(p: Value, new: Value) -> Value:
            return self.replaced(p, new, axis, start, stands[axis])

        offset = None if x.offset is None else x.offset + start * stands[axis]
        return self.view(x, get, put, strides=stands, offset=offset)

    def replaced(self, x: Value, new: Value, axis: int, start: int, stride: int) -> Value:
        """``x`` after a write of ``new`` into its entries from ``start`` on of dimension ``axis``."""
        size, end = x.shape[axis], start + new.shape[axis]
        if size > 1 and not stride:
            # all entries are one memory
            one = new if end == start + 1 else self.Slice(new, [0], [1], [axis])
            return self.Tile(one, [size if i == axis else 1 for i in range(x.rank)])
        before = [self.Slice(x, [0], [start], [axis])] if start else []
        after = [self.Slice(x, [end], [size], [axis])] if end < size else []
        parts = [*before, new, *after]
        return self.Concat(*parts, axis=axis) if len(parts) > 1 else new

    def select(self, x: Value, axis: int, index: int) -> Value:
        """A view of entry ``index`` (from 0) of dimension ``axis``, without that dimension."""
        return self.squeeze(self.narrow(x, axis, index, 1), axis)

    def write(self, x: Value, new: Value, *, idempotent: bool = False) -> Value:
        """What an in-place layer does: ``x`` now holds ``new``; returns ``x``."""
        if not idempotent and shows_again(x.shape, x.stands()):
            raise Refusal(WRITTEN_AGAIN, hint=WRITE_ELSEWHERE)
        x.write(new)
        return x

    def result(self, x: Value, new: Value, inplace: bool, *, idempotent: bool = False) -> Value:
        """``new`` in a tensor of its own, or written into ``x``."""
        return self.write(x, new, idempotent=idempotent) if inplace else new

    # -- 4. overlap
    def overwritten_output(self, owner: Layer, x: Nested) -> Value | None:
        """The module's own last output, where x lies in its memory, which the module is about to write over."""
        last = None if owner.container or self.memory else self._buffers.get(id(owner))
        return last if last is not None and any(v.root is last.root for v in flatten(x)) else None

    # -- 5. tables
    def output_table(self, key: object) -> list[Nested]:
        """The one table that a module hands out, whenever it runs; the steps of a recurrence have theirs."""
        return [] if self.memory else self._tables.setdefault(key, [])

    # -- 6. clones
    @contextmanager
    def clone(self, of: object) -> Generator[None]:
        """One clone of a module, the same for the same key: it owns buffers and tables, and states of its own."""
        outer = self._buffers, self._outputs, self._tables, self.memory
        self._buffers, self._outputs, self._tables = self._clones.setdefault(of, ({}, {}, {}))
        self.memory = {}
        try:
            yield
        finally:
            self._buffers, self._outputs, self._tables, self.memory = outer


class _Part:
    """The elements of a storage from ``first`` on, as a tensor of these sizes: how to look at them and write them."""

    def __init__(self, op: Recorder, first: int, sizes: Sequence[int]) -> None:
        self._op, self._first, self._sizes = op, first, list(sizes)
        self._end = first + math.prod(sizes)

    def flat(self, whole: Value) -> Value:
        """All elements of a storage, one after the other."""
        return self._op.Reshape(whole, [-1])

    def get(self, whole: Value) -> Value:
        """The part's content."""
        if self._end - self._first == math.prod(whole.shape):
            return self._op.Reshape(whole, [-1, *self._sizes[1:]])
        return self._op.Reshape(self._op.Slice(self.flat(whole), [self._first], [self._end], [0]), self._sizes)

    def put(self, whole: Value, new: Value) -> Value:
        """The storage's content after a write into the part."""
        size = math.prod(whole.shape)
        if self._end - self._first == size:
            # -1 in front keeps the node free of the batch size
            return self._op.Reshape(new, [-1, *whole.shape[1:]])
        flat = self.flat(whole)
        before = [self._op.Slice(flat, [0], [self._first], [0])] if self._first else []
        after = [self._op.Slice(flat, [self._end], [size], [0])] if self._end < size else []
        return self._op.Reshape(self._op.Concat(*before, self.flat(new), *after, axis=0), list(whole.shape))
