"""Arrays by name into the files that other programs read."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from retorch import limits
from retorch.errors import UsageError
from retorch.files.atomic import replacing
from retorch.files.visible import visible

Array: TypeAlias = NDArray[Any]
Kind: TypeAlias = Literal["npz", "safetensors", "json", "hdf5"]

SUFFIXES: dict[Kind, str] = {"npz": ".npz", "safetensors": ".safetensors", "json": ".json", "hdf5": ".h5"}


def kind(to: str, output: Path | None) -> Kind:
    """The kind of file asked for by name, or by the output's ending; npz where neither says.

    Raises:
        UsageError: another name.
    """
    by_suffix = {suffix: name for name, suffix in SUFFIXES.items()} | {".hdf5": "hdf5"}
    found = to or (by_suffix.get(output.suffix, "") if output else "npz")
    if found not in SUFFIXES:
        raise UsageError(f"cannot export as {found or output}", hint=f"there are {', '.join(SUFFIXES)}")
    return found


#: Names that mean something else to a format or to what reads it.
_RESERVED = frozenset({"file", "allow_pickle", "__metadata__", ".", "..", ""})
#: Bytes of a name, at most: those of a file's name, less ``.npy`` and a number.
_LONGEST = 200


def by_name(pairs: Iterable[tuple[str, Array]]) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Arrays under names that every format bears, each once; and what was renamed."""
    found: dict[str, Array] = {}
    renamed: list[str] = []
    for name, array in pairs:
        usable = _usable(name)
        candidate, number = usable, 1
        while candidate in found:
            number += 1
            candidate = f"{usable}_{number}"
        if candidate != name:
            renamed.append(f"{name[:_LONGEST]} is called {candidate}")
        found[candidate] = array
    return found, tuple(renamed)


def _usable(name: str) -> str:
    usable = visible(name).replace("/", "_").replace("\n", "_")
    if len(usable.encode()) > _LONGEST:
        usable = usable.encode()[:_LONGEST].decode(errors="ignore")
    return f"{usable}_" if usable in _RESERVED else usable


def export(arrays: Mapping[str, Array], target: Path, kind: Kind) -> None:
    """Write arrays by name; a file that was there is replaced when all is written.

    Raises:
        UsageError: a format whose package is not installed, a full disk, or arrays that repeat what a small file holds
            until they are larger than memory.
    """
    if reason := limits.too_large(sum(array.nbytes for array in arrays.values() if _repeats(array))):
        raise UsageError(f"{target}: arrays that show the same elements again and again: {reason}")
    with replacing(target) as part:
        _WRITERS[kind](arrays, part)


def _repeats(array: Array) -> bool:
    return any(stride == 0 and size > 1 for stride, size in zip(array.strides, array.shape, strict=True))


def _package(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(f"{module} is not installed", hint=f"pip install 'retorch[{extra}]'") from error


def _npz(arrays: Mapping[str, Array], path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, **cast("Any", arrays))


def _safetensors(arrays: Mapping[str, Array], path: Path) -> None:
    package = _package("safetensors.numpy", "safetensors")
    _make_room(path, sum(array.nbytes for array in arrays.values()))
    # "pt" is what transformers and others look for before they take the tensors for PyTorch's
    package.save_file({name: np.array(a, order="C") for name, a in arrays.items()}, path, metadata={"format": "pt"})


def _hdf5(arrays: Mapping[str, Array], path: Path) -> None:
    package = _package("h5py", "hdf5")
    _make_room(path, sum(array.nbytes + 4096 for array in arrays.values()))
    with package.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)


def _make_room(path: Path, size: int) -> None:
    """Raise OSError where the disk has no room: HDF5 does not survive to find out, safetensors words it by itself."""
    if sys.platform == "linux" and size:
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)


def _json(arrays: Mapping[str, Array], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("{")
        for i, (name, array) in enumerate(arrays.items()):
            entry = {"dtype": array.dtype.name, "shape": array.shape, "data": array.tolist()}
            file.write(("," if i else "") + f"\n{json.dumps(name)}: {json.dumps(entry)}")
        file.write("\n}\n")


_WRITERS = {"npz": _npz, "safetensors": _safetensors, "json": _json, "hdf5": _hdf5}
