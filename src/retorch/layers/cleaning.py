"""A file without its ballast: what a network needs to run, in types that every machine has.

GPU tensors become host tensors, ``cudnn`` modules their ``nn`` twins, gradients and buffers empty tensors, and of a
storage only that stays which a tensor shows. What is shared stays shared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from retorch.layers.base.bookkeeping import BOOKKEEPING
from retorch.layers.base.layer import rule
from retorch.layers.base.networks import is_module
from retorch.torch7 import LuaFunction, LuaTable, TensorFacts, TorchObject, TorchTensor
from retorch.torch7.objects import StorageFacts, TorchStorage
from retorch.torch7.paths import Way, linked

Array: TypeAlias = NDArray[Any]
Precision: TypeAlias = Literal["", "float", "half"]

_PRECISIONS: dict[str, tuple[np.dtype[Any], str]] = {
    "float": (np.dtype(np.float32), "torch.FloatTensor"),
    "half": (np.dtype(np.float16), "torch.HalfTensor"),
}


@dataclass(slots=True)
class Cleaned:
    """What is left, and what was done.

    Attributes:
        root: the value to write.
        host: how many tensors came from the GPU.
        renamed: how many ``cudnn`` modules became ``nn``.
        emptied: how many gradients and buffers were emptied.
        kept: ``cudnn`` modules that have no ``nn`` twin, by path.
    """

    root: Any = None
    host: int = 0
    renamed: int = 0
    emptied: int = 0
    kept: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything was there to be cleaned; storages that are larger than their tensors aside."""
        return bool(self.host or self.renamed or self.emptied)


def clean(root: Any, precision: Precision = "") -> Cleaned:
    """A value like ``root`` without ballast; ``root`` is left as it is.

    Args:
        root: what :func:`retorch.read` gave.
        precision: ``float`` or ``half`` for all floating point tensors; by default each keeps its own.
    """
    return _Cleaner(precision).run(root)


class _Cleaner:
    def __init__(self, precision: Precision) -> None:
        self.precision = precision
        self.done = Cleaned()
        self.made: dict[int, Any] = {}
        self.arrays: dict[tuple[object, ...], Array] = {}
        self.storages: dict[int, TorchStorage] = {}
        self.crowded: set[int] = set()
        self.pending: list[tuple[Any, Any, Way]] = []

    def run(self, root: Any) -> Cleaned:
        self.crowded = _crowded(root)
        self.done.root = self.value(root, None)
        while self.pending:
            source, target, path = self.pending.pop()
            module = is_module(source)
            for key, item in source.items():
                where = (path, key)
                buffer = module and key in BOOKKEEPING
                target[self.value(key, where)] = self.buffer(item) if buffer else self.value(item, where)
        return self.done

    def value(self, value: Any, path: Way) -> Any:
        """The clean twin of a value; its inside is filled later, so depth and cycles cost nothing."""
        if isinstance(value, np.ndarray):
            return self.array(cast("Array", value))
        if isinstance(value, str):
            return value.replace("torch.Cuda", "torch.") if value.startswith("torch.Cuda") else value
        if isinstance(value, LuaFunction):
            return self.function(value, path)
        if not isinstance(value, (TorchObject, LuaTable)):
            return value
        if id(value) not in self.made:
            twin = LuaTable() if isinstance(value, LuaTable) else TorchObject(self.name(value, path))
            self.made[id(value)] = twin
            self.pending.append((value, twin, path))
        return self.made[id(value)]

    def function(self, value: LuaFunction, path: Way) -> LuaFunction:
        """A function; what it holds may be shared with the network."""
        if id(value) not in self.made:
            twin = self.made[id(value)] = LuaFunction(value.code, None, value.tag)
            twin.upvalues = self.value(value.upvalues, path)
        return cast("LuaFunction", self.made[id(value)])

    def name(self, value: TorchObject, path: Way) -> str:
        if not value.typename.startswith("cudnn."):
            return value.typename
        twin = "nn." + value.typename.removeprefix("cudnn.")
        groups = value.get("groups")
        if rule(twin) is None or (isinstance(groups, int) and groups > 1):
            self.done.kept = (*self.done.kept, f"{linked(path) or '(root)'} {value.typename}")
            return value.typename
        self.done.renamed += 1
        return twin

    def buffer(self, value: Any) -> Any:
        """What stands for a gradient or a buffer: nothing, of the same kind."""
        if isinstance(value, np.ndarray):
            if not cast("Array", value).size:
                return self.array(cast("Array", value))
            self.done.emptied += 1
            return self.empty(cast("Array", value))
        if isinstance(value, LuaTable):
            return LuaTable()
        return None if isinstance(value, (TorchObject, LuaFunction)) else self.value(value, None)

    def empty(self, array: Array) -> Array:
        """An empty tensor of the same kind, without a storage."""
        made = np.zeros(0, self.dtype(array))
        facts = array.facts if isinstance(array, TorchTensor) else None
        if not isinstance(facts, TensorFacts):
            return made
        typename = self.host_name(facts, made.dtype != array.dtype)
        return made.view(TorchTensor).named(TensorFacts(typename, 1, (), (), 1, None))

    def host_name(self, facts: TensorFacts, converted: bool) -> str:
        """What a tensor is called on the host."""
        host = facts.typename.replace("torch.Cuda", "torch.").replace("torch.Tensor", "torch.FloatTensor")
        return _PRECISIONS[self.precision][1] if converted else host

    def array(self, array: Array) -> Array:
        facts = array.facts if isinstance(array, TorchTensor) else None
        self.done.host += isinstance(facts, TensorFacts) and facts.typename.startswith("torch.Cuda")
        if array.size == 0:
            if id(array) not in self.made:
                self.made[id(array)] = self.empty(array)
            return cast("Array", self.made[id(array)])
        place = array.__array_interface__["data"][0]
        key = (type(array), place, array.shape, array.strides, array.dtype.str)
        if key not in self.arrays and facts is not None and id(facts.storage) in self.crowded:
            self.arrays[key] = self.on_its_storage(array, facts)
        if key not in self.arrays:
            plain = array.view(np.ndarray).astype(self.dtype(array), copy=False)
            # a storage is written whole: a copy is all of its own
            shown = plain if plain.flags.c_contiguous and _fills(array) else np.ascontiguousarray(plain)
            self.arrays[key] = shown if isinstance(array, TorchTensor) else array
        return self.arrays[key]

    def on_its_storage(self, array: Array, facts: TensorFacts) -> Array:
        """A tensor whose elements are shown more than once: written out, they could be of any size."""
        storage = cast("TorchStorage", facts.storage)
        dtype = self.dtype(array)
        host = self.host_name(facts, dtype != array.dtype)
        if id(storage) not in self.storages:
            kept = storage.astype(dtype).view(TorchStorage)
            self.storages[id(storage)] = kept.named(StorageFacts(host.replace("Tensor", "Storage")))
        return array.view(TorchTensor).named(facts._replace(typename=host, storage=self.storages[id(storage)]))

    def dtype(self, array: Array) -> np.dtype[Any]:
        if array.dtype.kind == "f" and self.precision:
            return _PRECISIONS[self.precision][0]
        return array.dtype


def _fills(array: Array) -> bool:
    facts = array.facts if isinstance(array, TorchTensor) else None
    return facts is not None and facts.storage is not None and facts.storage.size == array.size


def _crowded(root: Any) -> set[int]:
    """The storages that are smaller than what their tensors show together, as weights do that are tied transposed."""
    shown: dict[int, dict[tuple[object, ...], int]] = {}
    sizes: dict[int, int] = {}
    stack, seen = [root], set[int]()
    while stack:
        value = stack.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, TorchTensor):
            facts = value.facts
            if facts is not None and facts.storage is not None:
                sizes[id(facts.storage)] = facts.storage.nbytes
                view = (facts.offset, facts.sizes, facts.strides)
                shown.setdefault(id(facts.storage), {})[view] = value.nbytes
        elif isinstance(value, LuaFunction):
            stack.append(value.upvalues)
        elif isinstance(value, (TorchObject, LuaTable)):
            module = is_module(value)
            stack.extend(item for key, item in value.items() if not (module and key in BOOKKEEPING))
    return {storage for storage, views in shown.items() if sum(views.values()) > sizes[storage]}


def tensors(root: Any) -> Iterator[tuple[str, Array]]:
    """Every tensor and storage-less array in a value with its path, shared ones once."""
    stack: list[tuple[Way, Any]] = [(None, root)]
    seen: set[int] = set()
    while stack:
        path, value = stack.pop()
        if id(value) in seen:
            continue
        if isinstance(value, np.ndarray):
            seen.add(id(cast("Array", value)))
            yield linked(path) or "tensor", cast("Array", value).view(np.ndarray)
        elif isinstance(value, (TorchObject, LuaTable)):
            seen.add(id(value))
            stack.extend(reversed([((path, key), item) for key, item in value.items()]))
