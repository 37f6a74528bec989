"""What a checkpoint says of the pictures that its network takes, and of the classes that it tells apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from retorch.apply.preprocessing import PREPROCESSINGS, Preprocessing
from retorch.graph.input_shape.options import image_sizes, settings
from retorch.torch7 import LuaTable, TorchObject

#: ``opt.preprocessing`` of fast-neural-style: numbers of Caffe's VGG, or of fb.resnet.torch at any size.
_STYLE: Mapping[object, Preprocessing] = {
    "vgg": PREPROCESSINGS["caffe-bgr"],
    "resnet": replace(PREPROCESSINGS["imagenet"], size=None, crop=1.0),
}
#: Where authors keep the names of classes: a sequence, or a table from name to number.
_CLASSES = ("classes", "classNames", "class_names", "labels", "classList", "synset", "synset_words")


def from_checkpoint(root: object) -> Preprocessing | None:
    """What a checkpoint says of its pictures: mean, deviation and size, with where it says so; None where nothing.

    They stand in ``transform``, ``stat``, ``opt`` or at its root.
    """
    numbers = _numbers_said(root)
    sizes = image_sizes(settings(root))
    if not sizes:
        return numbers
    height, width = sizes[0].sizes[-2:][0], sizes[0].sizes[-1]
    said = numbers or replace(PREPROCESSINGS["unit"], source="pixels from 0 to 1")
    return replace(
        said, source=f"{said.source}, at {height}x{width} ({sizes[0].name} in the file)", size=(height, width)
    )


def _numbers_said(root: object) -> Preprocessing | None:
    for place, table in _tables(root):
        mean, std = _numbers(table.get("mean")), _numbers(table.get("std"))
        if mean:
            top = 255.0 if max(abs(m) for m in mean) > 2 else 1.0
            return Preprocessing(f"{place or 'the checkpoint'} in the file", mean, std or (1.0,), top=top)
        style = table.get("preprocessing")
        if isinstance(style, str) and style in _STYLE:
            return replace(_STYLE[style], source=f"{place}.preprocessing in the file says: {style}".lstrip("."))
    return None


def class_names(root: object) -> tuple[list[str], str]:
    """The names of the classes, in order, and where they stand; none where a checkpoint says nothing."""
    for place, table in _tables(root):
        for key in _CLASSES:
            names = _names(table.get(key))
            if names:
                return names, f"{place}.{key}".lstrip(".")
    return [], ""


def _names(value: object) -> list[str]:
    if not isinstance(value, LuaTable) or len(value) < 2:
        return []
    listed = value.sequence()
    if len(listed) == len(value) and all(isinstance(name, str) for name in listed):
        return [str(name) for name in listed]
    numbered = {number: name for name, number in value.items() if isinstance(name, str) and isinstance(number, int)}
    count = len(value)
    return [numbered[i] for i in range(1, count + 1)] if numbered.keys() == set(range(1, count + 1)) else []


def _tables(root: object) -> list[tuple[str, Mapping[Any, object]]]:
    if not isinstance(root, (LuaTable, TorchObject)):
        return []
    found: list[tuple[str, Mapping[Any, object]]] = []
    for key in ("transform", "stat", "opt", ""):
        value = root.get(key) if key else root
        if isinstance(value, (LuaTable, TorchObject)):
            found.append((key, cast("Mapping[Any, object]", value)))
    return found


def _numbers(value: object) -> tuple[float, ...]:
    """A mean or a deviation: a number, a table of such, or a tensor of one to four."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return (float(value),)
    if isinstance(value, LuaTable):
        value = value.sequence()
    if isinstance(value, (list, np.ndarray)) and 1 <= np.size(cast("NDArray[Any]", value)) <= 4:
        try:
            return tuple(float(v) for v in np.ravel(np.asarray(value, np.float64)))
        except (TypeError, ValueError):
            return ()
    return ()
