"""``torchfile``'s own face over retorch's reader: a script changes its import, and nothing else.

What is read is what torchfile gives: strings are bytes, whole numbers ints, tables that count from 1 lists, other
tables dicts that are compared by identity and have attributes, classes ``TorchObject``, where what is missing is None.
Unlike torchfile, it reads the text form, gzip, files of every byte order and ``long``, half precision, tensors inside
themselves, and refuses what would read past the end of a file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np

from retorch.errors import FormatError
from retorch.torch7 import LuaFunction as _Function
from retorch.torch7 import LuaTable, open_file
from retorch.torch7 import TorchObject as _Object

TYPE_NIL = 0
TYPE_NUMBER = 1
TYPE_STRING = 2
TYPE_TABLE = 3
TYPE_TORCH = 4
TYPE_BOOLEAN = 5
TYPE_FUNCTION = 6
LEGACY_TYPE_RECUR_FUNCTION = 7
TYPE_RECUR_FUNCTION = 8


class LuaFunction(NamedTuple):
    """A function: its bytecode, which is kept and never run, and its upvalues."""

    size: int
    dumped: bytes
    upvalues: Any


class hashable_uniq_dict(dict[Any, Any]):  # noqa: N801 (torchfile's name)
    """A table: compared and hashed by identity, so that it can be a key; its keys are attributes too."""

    def __hash__(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return id(self)

    def __getattr__(self, key: str) -> Any:
        return _by_name(self, key)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other

    def _disabled_binop(self, other: object) -> bool:
        raise TypeError("hashable_uniq_dict does not support these comparisons")

    __le__ = __gt__ = __lt__ = __ge__ = _disabled_binop


class TorchObject:
    """An instance of a class: fields by attribute or key, as text or bytes; a field that is missing is None."""

    def __init__(self, typename: bytes, obj: Any = None, version_number: int = 0) -> None:
        self._typename = typename
        self._obj = obj
        self._version_number = version_number

    def __getattr__(self, k: str) -> Any:
        return _by_name(vars(self).get("_obj", {}), k)

    def __getitem__(self, k: Any) -> Any:
        return _by_key(self._obj, k)

    def torch_typename(self) -> bytes:
        """The name of the class, as bytes."""
        return self._typename

    def __repr__(self) -> str:
        return f"TorchObject({self._typename!r}, {self._obj!r})"

    def __dir__(self) -> list[str]:
        return [*(k.decode() if isinstance(k, bytes) else str(k) for k in self._obj), "torch_typename"]


def _by_name(entries: Any, name: str) -> Any:
    if name.startswith("__") or name == "_obj":
        # what copy, pickle and NumPy ask every object for
        raise AttributeError(name)
    return _by_key(entries, name)


def _by_key(entries: Any, key: Any) -> Any:
    if key in entries:
        return entries[key]
    return entries.get(key.encode()) if isinstance(key, str) else None


class T7ReaderException(Exception):  # noqa: N818 (torchfile's name)
    """A file that cannot be read."""


class T7Reader:
    """Reads one value after the other from a file that is open for reading bytes."""

    def __init__(
        self,
        fileobj: BinaryIO,
        use_list_heuristic: bool = True,
        use_int_heuristic: bool = True,
        utf8_decode_strings: bool = False,
        force_deserialize_classes: bool | None = None,
        force_8bytes_long: bool = False,
    ) -> None:
        """``force_…`` are taken and do nothing: all classes are read, and the file itself says how long a long is."""
        self.f = fileobj
        self.use_list_heuristic = use_list_heuristic
        self.use_int_heuristic = use_int_heuristic
        self.utf8_decode_strings = utf8_decode_strings

    def read_obj(self) -> Any:
        """The next value. T7ReaderException where the file is not a readable ``.t7``."""
        seekable = self.f.seekable()
        start = self.f.tell() if seekable else 0
        try:
            document = open_file(self.f, writable=True)
        except FormatError as error:
            raise T7ReaderException(str(error)) from error
        if seekable:
            self.f.seek(start + document.size - document.trailing)
        return _Translation(self).whole(document.root)


class _Translation:
    """From retorch's objects to torchfile's, each once, without recursion: cycles and depth cost nothing."""

    def __init__(self, reader: T7Reader) -> None:
        self.lists = reader.use_list_heuristic
        self.ints = reader.use_int_heuristic
        self.text = reader.utf8_decode_strings
        self.made: dict[int, Any] = {}
        self.pending: list[Callable[[], None]] = []

    def whole(self, root: Any) -> Any:
        made = self.value(root)
        while self.pending:
            self.pending.pop()()
        return made

    def value(self, value: Any) -> Any:
        if isinstance(value, (LuaTable, _Object, _Function)):
            if id(value) not in self.made:
                self.made[id(value)] = self.twin(value)
            return self.made[id(value)]
        if isinstance(value, np.ndarray):
            return self.made.setdefault(id(value), value.view(np.ndarray))  # pyright: ignore[reportUnknownMemberType,reportUnknownArgumentType]
        if isinstance(value, str):
            return value if self.text else value.encode()
        if isinstance(value, int) and not isinstance(value, bool) and not self.ints:
            return float(value)
        return value

    def twin(self, value: LuaTable | _Object | _Function) -> Any:
        if isinstance(value, _Function):
            return LuaFunction(len(value.code), value.code, self.value(value.upvalues))
        if isinstance(value, LuaTable):
            return self.table(value)
        if value.typename == "tds.Vec":
            return self.filled_list(value.sequence())
        entries = hashable_uniq_dict()
        self.fill(entries, value.items())
        if value.typename == "tds.Hash":
            return entries
        return TorchObject(value.typename.encode(), entries, value.version or 0)

    def table(self, table: LuaTable) -> Any:
        sequence = table.sequence()
        if self.lists and self.ints and len(sequence) == len(table):
            return self.filled_list(sequence)
        entries = hashable_uniq_dict()
        self.fill(entries, table.items())
        return entries

    def filled_list(self, values: list[Any]) -> list[Any]:
        made: list[Any] = []
        self.pending.append(lambda: made.extend(map(self.value, values)))
        return made

    def fill(self, entries: hashable_uniq_dict, items: Iterable[tuple[Any, Any]]) -> None:
        self.pending.append(lambda: entries.update((_key(self.value(k)), self.value(v)) for k, v in items))


def _key(key: Any) -> Any:
    """A key that Python can hash: arrays and lists are known by their identity, as in Lua."""
    return id(cast("object", key)) if isinstance(key, (list, np.ndarray)) else key


def load(filename: str | os.PathLike[str], **kwargs: Any) -> Any:
    """The value in a file; the keywords are those of :class:`T7Reader`."""
    with Path(filename).open("rb") as f:
        return T7Reader(f, **kwargs).read_obj()
