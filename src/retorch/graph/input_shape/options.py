"""What a checkpoint's author wrote beside the network: the size of images, the length of sequences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from retorch.torch7 import LuaTable, TorchObject

#: Names of an image's height and width, the most telling first.
IMAGE = (
    "imageCrop",
    "cropSize",
    "crop_size",
    "fineSize",
    "sampleSize",
    "imageSize",
    "image_size",
    "imgSize",
    "img_size",
    "imSize",
    "inputSize",
    "input_size",
    "reshapeSize",
    "patchSize",
    "patch_size",
    "loadSize",
    "sz",
    "iSz",
)
#: Names of a sequence's length.
SEQUENCE = (
    "seq_length",
    "seqLength",
    "seq_len",
    "seqLen",
    "sequence_length",
    "max_sent_l",
    "max_word_l",
    "max_length",
    "memsize",
    "rho",
    "nSteps",
    "bptt",
)
#: Names of an image's height, and of its width.
HEIGHT = ("imageHeight", "imgH", "imHeight", "height", "H")
WIDTH = ("imageWidth", "imgW", "imWidth", "width", "W")

#: Where authors keep such settings, besides the root.
_FOLDERS = ("opt", "opts", "options", "params", "config", "args", "cmd", "kwargs", "model_opt", "info")

#: A number, or the numbers of a small tensor or table, by the name that stands in the file.
Settings = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Said:
    """Sizes, and under which name they stand."""

    name: str
    sizes: tuple[int, ...]


def settings(root: object) -> dict[str, tuple[int, ...]]:
    """The whole numbers that stand at the root of a file or in its options, by name (``opt.fineSize``)."""
    found: dict[str, tuple[int, ...]] = {}
    if not isinstance(root, (LuaTable, TorchObject)):
        return found
    for key, value in root.items():
        if isinstance(key, str):
            _note(found, key, value)
    for folder in _FOLDERS:
        inside = root.get(folder)
        for key, value in inside.items() if isinstance(inside, (LuaTable, TorchObject)) else ():
            if isinstance(key, str):
                _note(found, f"{folder}.{key}", value)
    return found


def _note(found: dict[str, tuple[int, ...]], name: str, value: object) -> None:
    numbers = _numbers(value)
    if numbers and all(0 < number < 1 << 20 and number == int(number) for number in numbers):
        found[name] = tuple(int(number) for number in numbers)


def _numbers(value: object) -> list[float]:
    if isinstance(value, bool):
        return []
    if isinstance(value, (int, float)):
        return [value]
    if isinstance(value, np.ndarray) and 0 < value.size <= 4:
        return [float(number) for number in cast("NDArray[Any]", value).ravel()]
    if isinstance(value, LuaTable) and 0 < len(value) <= 4:
        items = value.sequence()
        return [item for item in items if isinstance(item, (int, float)) and not isinstance(item, bool)]
    return []


def image_sizes(stored: Settings) -> list[Said]:
    """Heights and widths that the author named, the most telling first."""
    rows, columns = _named(stored, HEIGHT), _named(stored, WIDTH)
    pair = (
        [Said(f"{rows[0].name}, {columns[0].name}", (rows[0].sizes[0], columns[0].sizes[0]))]
        if rows and columns
        else []
    )
    return pair + [Said(said.name, _pair(said.sizes)) for said in _named(stored, IMAGE)]


def _pair(sizes: tuple[int, ...]) -> tuple[int, int]:
    """Height and width, of one number, of two, or of channels and two."""
    return (sizes[-1], sizes[-1]) if len(sizes) == 1 else (sizes[-2], sizes[-1])


def lengths(stored: Settings) -> list[Said]:
    """Lengths of sequences that the author named."""
    return _named(stored, SEQUENCE)


def _named(stored: Settings, names: tuple[str, ...]) -> list[Said]:
    last = {name.rpartition(".")[2]: name for name in reversed(list(stored))}
    return [Said(last[name], stored[last[name]]) for name in names if name in last]
