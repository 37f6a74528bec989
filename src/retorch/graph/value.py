"""What a tensor is in Torch: an identity whose content may change.

Torch's in-place layers write into tensors that other branches may read later. A view (of ``nn.View``, ``nn.Narrow``, …)
knows its parent and how to write back into it, so that whoever shares storage in Torch shares content here: rule 3 of
:mod:`retorch.layers.base.memory`. The other rules are in :mod:`retorch.graph.memory`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias, cast

import onnx_ir as ir

from retorch.errors import Problem, Refusal, UnsupportedError


class Value:
    """A Torch tensor during lowering.

    A root holds its content; a view derives it from its parent with ``get`` and writes into it with ``put``.
    """

    __slots__ = ("_current", "_get", "_put", "_seen", "gone", "offset", "parent", "strides", "version")

    def __init__(
        self,
        current: ir.Value,
        parent: Value | None = None,
        get: Callable[[Value], Value] | None = None,
        put: Callable[[Value, Value], Value] | None = None,
        *,
        strides: Sequence[int] | None = None,
        offset: int | None = 0,
    ) -> None:
        self._current = current
        self.parent = parent
        self._get = get
        self._put = put
        #: how far apart the elements stand in memory, along each dimension; None where they stand in order
        self.strides = strides
        #: how many elements of the storage stand before the first; None where nobody knows
        self.offset = offset
        self.version = 0
        self._seen = self.root.version
        #: why the storage no longer holds what it did, where that cannot be followed
        self.gone: Problem | None = None

    def become_view(self, of: Value, get: Callable[[Value], Value], put: Callable[[Value, Value], Value]) -> None:
        """The storage has grown: what owned it looks at the beginning of one that is larger."""
        of.version = self.version + 1  # all that look at it have to look again
        self.parent, self._get, self._put = of, get, put

    @property
    def root(self) -> Value:
        """The tensor that owns the storage."""
        at = self
        while at.parent is not None:
            at = at.parent
        return at

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes as numbers; a refusal where one depends on values, so that no rule goes on without it."""
        shape = self._current.shape
        if shape is None:
            raise Refusal("the shape of its input is not known")
        if not shape.is_static():
            raise Refusal("how many elements its input has depends on the values in the network")
        return tuple(int(d) for d in cast("Sequence[int]", shape))

    @property
    def rank(self) -> int:
        """How many dimensions."""
        return len(self.shape)

    @property
    def is_float(self) -> bool:
        """Whether the elements are floats (else: integers or booleans)."""
        return self._current.dtype == ir.DataType.FLOAT

    @property
    def is_contiguous(self) -> bool:
        """Whether Torch would call it so: the elements stand in memory one after the other."""
        if self.strides is None:
            return True
        shape = self.shape
        return all(size == 1 or s == t for size, s, t in zip(shape, self.strides, in_order(shape), strict=True))

    def stands(self) -> tuple[int, ...]:
        """How far apart the elements stand in memory, along each dimension."""
        return in_order(self.shape) if self.strides is None else tuple(self.strides)

    def _check_known(self) -> None:
        if (gone := self.root.gone) is not None:
            raise UnsupportedError([gone])

    def read(self) -> ir.Value:
        """The content as of now."""
        self._check_known()
        if self.parent is not None and self._seen != self.root.version and self._get is not None:
            self._current = self._get(self.parent).read()
            self._seen = self.root.version
        return self._current

    def write(self, new: Value) -> None:
        """Overwrite the content; everyone who shares the storage sees it."""
        self._check_known()
        content = new.read()
        if self.parent is None:
            self._current = content
            self.version += 1
            return
        if self._put is None:
            raise Refusal("writes in place into a view that cannot be followed")
        self.parent.write(self._put(self.parent, new))
        self._current = content
        self._seen = self.root.version


def in_order(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides of a tensor whose elements stand in memory one after the other."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


#: What Torch passes between modules: a tensor, or a table of such.
Nested: TypeAlias = "Value | list[Nested]"


def flatten(x: Nested) -> list[Value]:
    """The tensors of a nested table, in order."""
    return [x] if isinstance(x, Value) else [v for item in x for v in flatten(item)]
