"""Torch's tensors over storages, and nn's modules over them, line for line after their Lua: an oracle of its own.

Nothing here is shared with the code under test: a tensor is a storage, an offset, sizes and strides, and a module is
what its ``updateOutput`` does with ``self.output``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Method = Callable[["Lua", Any], Any]


class Storage:
    def __init__(self) -> None:
        self.data = np.zeros(0)


class Tensor:
    """A view of a storage, as TH keeps it."""

    def __init__(self) -> None:
        self.set(Storage(), 0, (), ())

    @staticmethod
    def of(x: np.ndarray) -> Tensor:
        made = Tensor()
        made.resize(x.shape).copy(x)
        return made

    def set(self, storage: Storage, offset: int, size: Sequence[int], stride: Sequence[int]) -> Tensor:
        self.storage, self.offset, self.size, self.stride = storage, offset, tuple(size), tuple(stride)
        return self

    def set_to(self, other: Tensor) -> Tensor:
        return self.set(other.storage, other.offset, other.size, other.stride)

    @property
    def array(self) -> np.ndarray:
        """The elements, in the storage's own memory."""
        data = self.storage.data
        return np.lib.stride_tricks.as_strided(data[self.offset :], self.size, [s * data.itemsize for s in self.stride])

    @property
    def contiguous(self) -> bool:
        return self.stride_of_size() == tuple(
            s if d != 1 else t for s, d, t in zip(self.stride, self.size, self.stride_of_size(), strict=True)
        )

    def stride_of_size(self) -> tuple[int, ...]:
        return tuple(int(np.prod(self.size[i + 1 :], dtype=int)) for i in range(len(self.size)))

    def resize(self, size: Sequence[int]) -> Tensor:
        """TH's resizeNd: what has these sizes keeps its strides; a storage that is too small grows where it is."""
        if tuple(size) != self.size:
            self.size = tuple(size)
            self.stride = self.stride_of_size()
            short = self.offset + int(np.prod(size, dtype=int)) - len(self.storage.data)
            if short > 0:
                self.storage.data = np.concatenate([self.storage.data, np.zeros(short)])
        return self

    def copy(self, x: Tensor | np.ndarray) -> Tensor:
        self.array[...] = x.array.copy() if isinstance(x, Tensor) else x
        return self

    def view(self, size: Sequence[int]) -> Tensor:
        assert self.contiguous
        made = Tensor().set(self.storage, self.offset, np.empty(self.size, np.bool_).reshape(size).shape, ())
        made.stride = made.stride_of_size()
        return made

    def select(self, axis: int, at: int) -> Tensor:
        without = [self.size[:axis] + self.size[axis + 1 :], self.stride[:axis] + self.stride[axis + 1 :]]
        return Tensor().set(self.storage, self.offset + at * self.stride[axis], *without)

    def squeezed(self, axes: Sequence[int]) -> Tensor:
        kept = [i for i in range(len(self.size)) if i not in axes]
        size, stride = [self.size[i] for i in kept], [self.stride[i] for i in kept]
        return Tensor().set(self.storage, self.offset, size, stride)


class Lua:
    """One nn module: its fields, its ``output``, and whatever else it keeps."""

    def __init__(self, method: Method, **fields: Any) -> None:
        self.method = method
        self.output: Any = Tensor()
        self.input = Tensor()
        self.__dict__.update(fields)

    def forward(self, x: Any) -> Any:
        return self.method(self, x)


def elementwise(self: Lua, x: Tensor) -> Tensor:
    """MulConstant, LeakyReLU, …: ``self.output:set(input)`` in place, else ``resizeAs`` and the formula."""
    if self.inplace:
        self.output.set_to(x).copy(self.formula(x.array))
    else:
        y = self.formula(x.array)
        self.output.resize(x.size).copy(y)
    return self.output


def identity(self: Lua, x: Any) -> Any:
    """``self.output = input``"""
    self.output = x
    return x


def copy_of_the_same_type(self: Lua, x: Tensor) -> Tensor:
    """Copy.lua: ``self.output:set(input); return input``"""
    self.output.set_to(x)
    return x


def reversal(self: Lua, x: Tensor) -> Tensor:
    """GradientReversal.lua, and Dropout in place at evaluation: ``self.output:set(input)``"""
    return self.output.set_to(x)


def copied(self: Lua, x: Tensor) -> Tensor:
    """Dropout at evaluation, Copy between types: ``self.output:resizeAs(input):copy(input)``"""
    return self.output.resize(x.size).copy(x)


def contiguous(self: Lua, x: Tensor) -> Tensor:
    """Contiguous.lua"""
    if x.contiguous:
        return self.output.set_to(x)
    if self.output.storage is x.storage:
        self.output.set_to(Tensor())
    return self.output.resize(x.size).copy(x)


def view(self: Lua, x: Tensor) -> Tensor:
    """View.lua: ``self.output:view(input, …)``"""
    return self.output.set_to(x.view(self.sizes))


def reshape(self: Lua, x: Tensor) -> Tensor:
    """Reshape.lua: what is not contiguous goes by way of ``self._input``"""
    if not x.contiguous:
        x = self.input.resize(x.size).copy(x)
    return self.output.set_to(x.view(self.sizes))


def unsqueeze(self: Lua, x: Tensor) -> Tensor:
    """Unsqueeze.lua, in front of dimension 2"""
    size, stride = (x.size[0], 1, *x.size[1:]), (x.stride[0], x.size[1] * x.stride[1], *x.stride[1:])
    return self.output.set(x.storage, x.offset, size, stride)


def squeeze(self: Lua, x: Tensor) -> Tensor:
    """Squeeze.lua, dimension 2"""
    return self.output.set_to(x.squeezed([1]) if x.size[1] == 1 else x)


def transpose(self: Lua, x: Tensor) -> Tensor:
    """Transpose.lua: ``self.output:resizeAs(input):copy(input)``"""
    y = x.array.swapaxes(0, 1).copy()
    return self.output.resize(y.shape).copy(y)


def replicate(self: Lua, x: Tensor) -> Tensor:
    """Replicate.lua, along a new dimension 2"""
    size, stride = (x.size[0], self.times, *x.size[1:]), (x.stride[0], 0, *x.stride[1:])
    return self.output.set(x.storage, x.offset, size, stride)


def narrow(self: Lua, x: Tensor) -> Tensor:
    """Narrow.lua: a copy"""
    y = x.array[:, : self.length].copy()
    return self.output.resize(y.shape).copy(y)


def sequential(self: Lua, x: Any) -> Any:
    for made in self.modules:
        x = made.forward(x)
    self.output = x
    return x


def concat_table(self: Lua, x: Any) -> list[Any]:
    """``self.output[i] = …``: the table is the module's own"""
    if not isinstance(self.output, list):
        self.output = [None] * len(self.modules)
    for i, made in enumerate(self.modules):
        self.output[i] = made.forward(x)
    return self.output


def split_table(self: Lua, x: Tensor) -> list[Tensor]:
    """SplitTable.lua: views, in a new table"""
    self.output = [x.select(self.axis, i) for i in range(x.size[self.axis])]
    return self.output


def select_table(self: Lua, x: list[Any]) -> Any:
    self.output = x[self.index]
    return self.output


def add_table(self: Lua, x: list[Tensor]) -> Tensor:
    """CAddTable.lua"""
    if self.inplace:
        self.output.set_to(x[0])
    else:
        self.output.resize(x[0].size).copy(x[0])
    for other in x[1:]:
        self.output.copy(self.output.array + other.array)
    return self.output


def join_table(self: Lua, x: list[Tensor]) -> Tensor:
    """JoinTable.lua along dimension 2"""
    size = (x[0].size[0], sum(t.size[1] for t in x), *x[0].size[2:])
    self.output.resize(size)
    at = 0
    for t in x:
        self.output.array[:, at : at + t.size[1]] = t.array.copy()
        at += t.size[1]
    return self.output
