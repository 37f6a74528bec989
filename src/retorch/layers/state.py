"""Parameters and running statistics under PyTorch's names and in PyTorch's layouts, without PyTorch.

The names follow Torch's own tree, counted from 0: ``modules[1].modules[3].weight`` is ``0.2.weight``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np

from retorch.errors import UsageError
from retorch.layers.base.layer import Array, Layer
from retorch.layers.convolution.spatial import SpatialDepthWiseConvolution
from retorch.layers.convolution.temporal import TemporalConvolution
from retorch.layers.normalization.batch import BatchNormalization

#: The order in which PyTorch lists what one module holds; other names come after these.
ORDER = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_INDEX = re.compile(r"(?:^|\.)modules\[(\d+)\]")


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One tensor of a network.

    Attributes:
        prefix, field: PyTorch's name, in two parts.
        path, typename: the Torch layer that it belongs to.
        array: the tensor in PyTorch's layout.
        stored: the same in Torch's layout, where that is another.
    """

    prefix: str
    field: str
    path: str
    typename: str
    array: Array
    stored: Array | None = None

    @property
    def name(self) -> str:
        """As ``state_dict()`` prints it."""
        return f"{self.prefix}.{self.field}" if self.prefix else self.field


def state_dict(root: Layer) -> dict[str, Array]:
    """The tensors of a network by PyTorch's names."""
    return {entry.name: entry.array for entry in entries(root)}


def entries(root: Layer) -> Iterator[Entry]:
    """The tensors of a network, in the order in which PyTorch lists them."""
    for layer in root.every():
        prefix = dotted(layer.path)
        arrays = {name: array for name, array in layer.parameters().items() if array.dtype.kind == "f"}
        if isinstance(layer, BatchNormalization) and arrays.pop("running_std", None) is not None:
            arrays["running_var"] = layer.variance()
        for name in sorted(arrays, key=_place):
            array, stored = _laid_out(layer, name, arrays[name])
            yield Entry(prefix, name, layer.path, layer.typename, array, stored)


def dotted(path: str) -> str:
    """A Torch path as PyTorch counts: ``modules[1].modules[3]`` is ``0.2``; other fields keep their names."""
    return _INDEX.sub(lambda found: f".{int(found[1]) - 1}", path).lstrip(".")


def _place(name: str) -> tuple[int, str]:
    return (ORDER.index(name) if name in ORDER else len(ORDER), name)


def _laid_out(layer: Layer, name: str, array: Array) -> tuple[Array, Array | None]:
    """The array as PyTorch's module holds it; and as Torch does, where that is another."""
    if isinstance(layer, TemporalConvolution) and name == "weight":
        taps = array.reshape(array.shape[0], layer.taps()[0], -1)
        return np.ascontiguousarray(taps.transpose(0, 2, 1)), taps
    if isinstance(layer, SpatialDepthWiseConvolution):
        dense, bias = layer.dense()[0], layer.offsets()
        made = dense if name == "weight" else array if bias is None else bias
        return np.ascontiguousarray(made, array.dtype), array
    return array, None


def load_state_dict(root: Layer, weights: Mapping[str, Array]) -> None:
    """Write tensors by PyTorch's names and in its layouts into the arrays that the network was made of.

    Raises:
        UsageError: a tensor is missing or of another shape, or the arrays are read-only.
    """
    written: list[Array] = []
    for layer in root.every():
        prefix = dotted(layer.path)
        for field, laid_out in _fields(layer).items():
            stored = layer.raw.get(field)
            if not isinstance(stored, np.ndarray):
                continue
            target = cast("Array", stored)
            name = ".".join(filter(None, (prefix, "running_var" if field == "running_std" else field)))
            if name not in weights:
                if any(np.shares_memory(target, other) for other in written):
                    continue  # shared in Torch: one parameter in PyTorch
                raise UsageError(f"{name} is missing among the weights")
            given = np.asarray(weights[name])
            if given.shape != laid_out.shape:
                sizes = " and not ".join("x".join(map(str, a.shape)) or "a number" for a in (laid_out, given))
                raise UsageError(f"{name} is {sizes}")
            if not target.flags.writeable:
                raise UsageError("the weights are read-only", hint="retorch.read(file, writable=True), and load that")
            target[...] = _as_stored(layer, field, given).reshape(target.shape)
            written.append(target)


def _fields(layer: Layer) -> dict[str, Array]:
    """The fields that hold a layer's tensors, each with the tensor as PyTorch's module holds it."""
    arrays = {name: array for name, array in layer.parameters().items() if array.dtype.kind == "f"}
    return {name: _laid_out(layer, name, array)[0] for name, array in arrays.items()}


def _as_stored(layer: Layer, field: str, given: Array) -> Array:
    """The inverse of :func:`_laid_out`."""
    if isinstance(layer, TemporalConvolution) and field == "weight":
        return given.transpose(0, 2, 1)
    if isinstance(layer, SpatialDepthWiseConvolution):
        by_plane = given.reshape(layer.nInputPlane, -1, *given.shape[2:])
        return by_plane.swapaxes(0, 1)
    if isinstance(layer, BatchNormalization) and field == "running_std":
        return (given.astype(np.float64) + layer.eps) ** -0.5
    return given
