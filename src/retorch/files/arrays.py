"""Arrays by name into the files that other programs read."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from retorch.errors import UsageError
from retorch.files.atomic import replacing

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


def export(arrays: Mapping[str, Array], target: Path, kind: Kind) -> None:
    """Write arrays by name; a file that was there is replaced when all is written.

    Raises:
        UsageError: a format whose package is not installed.
    """
    with replacing(target) as part:
        _WRITERS[kind](arrays, part)


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
    package.save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, path)


def _hdf5(arrays: Mapping[str, Array], path: Path) -> None:
    with _package("h5py", "hdf5").File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)


def _json(arrays: Mapping[str, Array], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("{")
        for i, (name, array) in enumerate(arrays.items()):
            entry = {"dtype": array.dtype.name, "shape": array.shape, "data": array.tolist()}
            file.write(("," if i else "") + f"\n{json.dumps(name)}: {json.dumps(entry)}")
        file.write("\n}\n")


_WRITERS = {"npz": _npz, "safetensors": _safetensors, "json": _json, "hdf5": _hdf5}
