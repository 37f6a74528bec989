"""What a ``.t7`` file holds, as stored: tables, objects, functions, tensors and storages.

Nothing here is interpreted. Tables, objects and functions are compared and hashed by identity, as in Lua, so that they
can be keys and can hold themselves. Arrays are NumPy arrays that remember how Torch stored them (``facts``); whatever
is computed from one is a plain array without facts.
"""

from __future__ import annotations

import math
from collections.abc import ItemsView, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from itertools import repeat
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
"""An array of any element type."""

Value: TypeAlias = "bool | int | float | str | bytes | LuaTable | TorchObject | LuaFunction | Array | None"
"""Everything that can stand in a file; ``None`` is Lua's nil."""

TYPE_NAMES = ("Byte", "Char", "Short", "Int", "Long", "Float", "Double", "Half")
DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(code)
    for name, code in zip(TYPE_NAMES, ("u1", "i1", "i2", "i4", "i8", "f4", "f8", "f2"), strict=True)
}
"""Element types by Torch's name for them; ``Cuda`` alone is float."""


def class_dtypes(kind: str) -> dict[str, np.dtype[Any]]:
    """The element type of every class of a ``kind``, ``"Tensor"`` or ``"Storage"``, host and Cuda alike."""
    host = {f"torch.{name}{kind}": dtype for name, dtype in DTYPES.items()}
    cuda = {f"torch.Cuda{name}{kind}": dtype for name, dtype in DTYPES.items()}
    return {**host, **cuda, f"torch.Cuda{kind}": DTYPES["Float"]}


TENSORS = class_dtypes("Tensor")
STORAGES = class_dtypes("Storage")


class _Exact:
    """A key that equals no other but itself: a boolean (``True == 1`` in Python, not in Lua) or an array."""

    __slots__ = ("value",)

    def __init__(self, value: Value) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Exact) and self.value is other.value


_TRUE = _Exact(True)
_FALSE = _Exact(False)


class LuaTable(MutableMapping[Any, Any]):
    """A table: keys of any kind but nil and NaN, in stored order.

    ``LuaTable({"a": 1})`` or ``LuaTable([(key, value), …])`` makes one; ``LuaTable.of(10, 20)`` makes a sequence. The
    keys ``1`` and ``True`` are two keys, as in Lua; ``1`` and ``1.0`` are one. A missing key raises ``KeyError``.
    """

    __slots__ = ("_entries",)

    def __init__(self, entries: Mapping[Any, Any] | Iterable[tuple[Any, Any]] = ()) -> None:
        self._entries: dict[Any, Any] = {}
        if entries:
            self.update(entries)

    @staticmethod
    def of(*values: Any) -> LuaTable:
        """The sequence ``{values[0], values[1], …}``, counted from 1."""
        return LuaTable(enumerate(values, start=1))

    @staticmethod
    def rows(keys: tuple[str | int, ...], columns: list[list[Any]]) -> list[LuaTable]:
        """One table per row of ``columns``, each with the same ``keys``."""
        dicts = _dicts(keys, zip(*columns, strict=True))
        tables = list(map(object.__new__, repeat(LuaTable, len(dicts))))
        for table, entries in zip(tables, dicts, strict=True):
            table._entries = entries
        return tables

    def sequence(self) -> list[Any]:
        """The values at 1, 2, 3, … up to the first key that is missing."""
        entries = self._entries
        found: list[Any] = []
        while (index := len(found) + 1) in entries:
            found.append(entries[index])
        return found

    def fill(self, flat: list[Any]) -> None:
        """Replace everything by ``[key, value, key, value, …]``; raises ValueError for a key that Lua has not."""
        pairs = iter(flat)
        entries: dict[Any, Any] = dict(zip(pairs, pairs, strict=True))
        if 2 * len(entries) == len(flat) and _PLAIN.issuperset(map(type, entries)):
            self._entries = entries
            return
        self._entries = {}
        for key, value in zip(flat[0::2], flat[1::2], strict=True):
            self[key] = value

    def _inner(self, key: Any) -> Any:
        """``key`` as ``_entries`` has it."""
        if key is True:
            return _TRUE
        if key is False:
            return _FALSE
        return _Exact(cast(Array, key)) if isinstance(key, np.ndarray) else key

    def __getitem__(self, key: Any) -> Any:
        return self._entries[self._inner(key)]

    def __setitem__(self, key: Any, value: Any) -> None:
        if key is None:
            raise ValueError("nil is a key")
        if isinstance(key, float):
            if math.isnan(key):
                raise ValueError("NaN is a key")
            key = int(key) if key.is_integer() else key
        self._entries[self._inner(key)] = value

    def __delitem__(self, key: Any) -> None:
        del self._entries[self._inner(key)]

    def __iter__(self) -> Iterator[Any]:
        for key in self._entries:
            yield key.value if type(key) is _Exact else key

    def __len__(self) -> int:
        return len(self._entries)

    def items(self) -> ItemsView[Any, Any]:
        """The pairs in stored order."""
        if _Exact in map(type, self._entries):
            return super().items()
        return self._entries.items()

    def __contains__(self, key: object) -> bool:
        return self._inner(key) in self._entries

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __repr__(self) -> str:
        return f"<LuaTable of {len(self)}>"


def _dicts(keys: tuple[str | int, ...], rows: Iterable[tuple[Any, ...]]) -> list[dict[Any, Any]]:
    """A dict per row; written out for few keys, because a display is five times as fast as ``dict(zip(...))``."""
    match keys:
        case (a,):
            return [{a: p} for (p,) in rows]
        case (a, b):
            return [{a: p, b: q} for p, q in rows]
        case (a, b, c):
            return [{a: p, b: q, c: r} for p, q, r in rows]
        case (a, b, c, d):
            return [{a: p, b: q, c: r, d: s} for p, q, r, s in rows]
        case (a, b, c, d, e):
            return [{a: p, b: q, c: r, d: s, e: t} for p, q, r, s, t in rows]
        case _:
            return [dict(zip(keys, row, strict=True)) for row in rows]


#: The class whose objects write nothing after their class's name: a Timer is made anew wherever it is read.
TIMER = "torch.Timer"


class TorchObject(MutableMapping[Any, Any]):
    """An instance of a class: its name and its fields, a Mapping like a table's; ``obj.weight`` is ``obj["weight"]``.

    ``version`` is the number written before the class name, None in files from before versions. A ``tds.Hash`` holds
    its entries and a ``tds.Vec`` its values at 1, 2, … . ``bodyless`` are objects of which a file holds the class only.
    """

    __slots__ = ("bodyless", "fields", "typename", "version")

    def __init__(
        self, typename: str, fields: LuaTable | Mapping[Any, Any] | None = None, *, version: int | None = 1
    ) -> None:
        self.typename = typename
        self.version = version
        self.fields = fields if isinstance(fields, LuaTable) else LuaTable(fields or ())
        self.bodyless = typename == TIMER

    def sequence(self) -> list[Any]:
        """The fields at 1, 2, 3, … up to the first that is missing."""
        return self.fields.sequence()

    def __getitem__(self, key: Any) -> Any:
        return self.fields[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self.fields[key] = value

    def __delitem__(self, key: Any) -> None:
        del self.fields[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def __contains__(self, key: object) -> bool:
        return key in self.fields

    def __bool__(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        if name in TorchObject.__slots__ or name.startswith("__"):  # an object that is only being made
            raise AttributeError(name)
        if name not in self.fields:
            raise AttributeError(f"{self!r} has no field {name!r}")
        return self.fields[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if name in TorchObject.__slots__:
            object.__setattr__(self, name, value)
        else:
            self.fields[name] = value

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(key for key in self.fields if isinstance(key, str) and key.isidentifier())]

    def items(self) -> ItemsView[Any, Any]:
        """The fields in stored order."""
        return self.fields.items()

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __repr__(self) -> str:
        return f"<{self.typename} of {len(self)} fields>"


@dataclass(slots=True, eq=False)
class LuaFunction:
    """A function: bytecode that is kept and never run, its upvalues, and the type tag it was written with (6, 7, 8)."""

    code: bytes
    upvalues: Any = None
    tag: int = 8

    def __repr__(self) -> str:
        return f"<Lua function of {len(self.code)} bytes>"


_PLAIN = frozenset((str, int, bytes, LuaTable, TorchObject, LuaFunction))


class StorageFacts(NamedTuple):
    """How a storage was written: its class and the version before the class name."""

    typename: str
    version: int | None = 1


class TensorFacts(NamedTuple):
    """How a tensor was written.

    ``sizes`` and ``strides`` count elements, ``offset`` counts elements from 1, all as in the file; ``storage`` is the
    very storage that other tensors may share, or None.
    """

    typename: str
    version: int | None
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    storage: TorchStorage | None


class _Stored(np.ndarray[Any, np.dtype[Any]]):
    """An array that came out of a file; what is computed from it is a plain array."""

    __slots__ = ()

    def __hash__(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return id(self)

    def __array_wrap__(self, array: Array, context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar or array.ndim == 0 else array.view(np.ndarray)


class TorchStorage(_Stored):
    """A storage, shape ``(count,)``; ``facts`` is None where this is a slice or a copy of one."""

    __slots__ = ("_facts",)

    @property
    def facts(self) -> StorageFacts | None:
        """How the file held it."""
        return getattr(self, "_facts", None)

    def named(self, facts: StorageFacts) -> TorchStorage:
        """This storage, remembering ``facts``."""
        self._facts = facts
        return self


class TorchTensor(_Stored):
    """A tensor: a view of its storage, shape as in Torch, ``(0,)`` where Torch has none.

    ``facts`` is None where this is a slice or a copy of one.
    """

    __slots__ = ("_facts",)

    @property
    def facts(self) -> TensorFacts | None:
        """How the file held it."""
        return getattr(self, "_facts", None)

    def named(self, facts: TensorFacts) -> TorchTensor:
        """This tensor, remembering ``facts``."""
        self._facts = facts
        return self
