"""Writing ``.onnx`` files: weights go from where they are to the disk, without a copy of the model in memory.

A model is a protobuf message, which is limited to 2 GiB; above that its weights stand in a file of their own beside
it, as ONNX calls it: external data.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from retorch.errors import FormatError, RetorchError, UsageError
from retorch.files import atomic, digests, file_set, protobuf
from retorch.files.artifacts import any_external_data, external_data
from retorch.files.regular import check_regular
from retorch.graph import mapped_onnx
from retorch.graph.metadata import checked
from retorch.graph.ports import inputs_of, outputs_of

Array: TypeAlias = NDArray[Any]

#: Weights of at least this many bytes are not copied into the message.
LARGE = 1024
#: Protobuf's limit, less what the graph itself takes.
LIMIT = (1 << 31) - (1 << 26)
#: Weights in the data file begin at multiples of this, so that they can be mapped.
ALIGNMENT = 4096
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9


def contiguous(tensor: ir.TensorProtocol) -> Array:
    """The numbers of a weight, in order and little-endian."""
    array = np.ascontiguousarray(tensor.numpy())
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def large_weights(model: ir.Model) -> dict[str, Array]:
    """The weights that are worth keeping out of a copy, by name, in the order of the graph."""
    return {
        name: contiguous(value.const_value)
        for name, value in model.graph.initializers.items()
        if value.const_value is not None and value.const_value.nbytes >= LARGE
    }


def skeleton(model: ir.Model, without: Iterable[str]) -> onnx.ModelProto:
    """The model as a message, without the weights named."""
    names = set(without)
    light = model.clone()
    for name in names:
        light.graph.initializers[name].const_value = ir.tensor([], ir.DataType.FLOAT, name=name)
    proto = ir.to_proto(light)
    kept = [tensor for tensor in proto.graph.initializer if tensor.name not in names]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    return proto


def placeholder(name: str, array: Array, location: str, offset: int) -> onnx.TensorProto:
    """A weight that stands in another file."""
    tensor = onnx.TensorProto(
        name=name,
        dims=array.shape,
        data_type=int(ir.DataType.from_numpy(array.dtype)),
        data_location=onnx.TensorProto.EXTERNAL,
    )
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(array.nbytes))):
        tensor.external_data.add(key=key, value=value)
    return tensor


def save(model: ir.Model, path: Path) -> tuple[Path, ...]:
    """Write the model to ``path``, in folders that are made where they are missing.

    The file appears whole or not at all; the one that holds its weights past protobuf's limit is named after its
    content, so that the model that stood there before finds its own. Returns the files. UsageError where they cannot be
    written.
    """
    weights = large_weights(model)
    files = (path,)
    proto = skeleton(model, weights)
    with file_set.replacing_file(path, stale=any_external_data(path)) as part:
        if sum(array.nbytes for array in weights.values()) > LIMIT:
            data = _write_data(part, weights.values())
            starts = itertools.accumulate((_aligned(array.nbytes) for array in weights.values()), initial=0)
            proto.graph.initializer.extend(
                placeholder(name, array, data.name, start)
                for (name, array), start in zip(weights.items(), starts, strict=False)
            )
            weights = {}
            files += (path.with_name(data.name),)
        digests.write(part, _message(proto, weights))
    return files


def _write_data(part: Path, arrays: Iterable[Array]) -> Path:
    content = hashlib.sha256()
    unnamed = part.with_name("data")
    with unnamed.open("wb") as stream:
        for chunk in _padded(arrays):
            stream.write(chunk)
            content.update(chunk)
    return unnamed.rename(external_data(part, content.hexdigest()))


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _padded(arrays: Iterable[Array]) -> Iterator[bytes | memoryview]:
    for array in arrays:
        yield _bytes(array)
        yield bytes(-array.nbytes % ALIGNMENT)


def _message(proto: onnx.ModelProto, weights: Mapping[str, Array]) -> Iterator[bytes | memoryview]:
    """The model's bytes: in protobuf, fields of one message may be appended to it."""
    graph = proto.graph.SerializeToString(deterministic=True)
    heads: list[bytes] = []
    for name, array in weights.items():
        tensor = onnx.TensorProto(
            name=name, dims=array.shape, data_type=int(ir.DataType.from_numpy(array.dtype))
        ).SerializeToString(deterministic=True)
        start = tensor + protobuf.head(_RAW_DATA, array.nbytes)
        heads.append(protobuf.head(_INITIALIZER, len(start) + array.nbytes) + start)
    total = len(graph) + sum(len(head) + array.nbytes for head, array in zip(heads, weights.values(), strict=True))
    proto.ClearField("graph")
    yield proto.SerializeToString(deterministic=True) + protobuf.head(_GRAPH, total) + graph
    for head, array in zip(heads, weights.values(), strict=True):
        yield head
        yield _bytes(array)


def _bytes(array: Array) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def load(path: Path) -> ir.Model:
    """Read a model. FormatError where the file is not one, or its weights are outside of its folder."""
    check_regular(path)
    try:
        model = mapped_onnx.read(path)
        if not model.graph.outputs:
            raise FormatError(f"{path}: not an ONNX model: it has no outputs")
        _check_values(model, path)
        for tensor in _tensors(model):
            if isinstance(tensor, ir.ExternalTensor):
                _check_external(tensor, path)
            tensor.numpy()
        _hold_external(model)
        _ = inputs_of(model), outputs_of(model)  # of types that NumPy has
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except RetorchError:
        raise
    except Exception as error:  # whatever protobuf's parser and its caller raise on bytes that are no model
        raise FormatError(f"{path}: not an ONNX model: {str(error)[:200] or type(error).__name__}") from error
    try:
        checked(model.metadata_props)
    except FormatError as error:
        raise FormatError(f"{path}: {error.detail}") from error
    return model


def check_sizes(model: ir.Model) -> None:
    """Raise FormatError where what a file states of its values contradicts its operators: readers believe it."""
    weights = large_weights(model)
    proto = skeleton(model, weights)
    proto.graph.initializer.extend(placeholder(name, array, "", 0) for name, array in weights.items())
    try:
        onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
        raise FormatError(f"the ONNX file contradicts itself: {_first(str(error))}") from None


def _first(text: str) -> str:
    """The first of ONNX's complaints: operator, node and what is wrong."""
    found = re.search(r"\(op_type:(\w+)(?:, node name: ([^)]*))?\):? (?:\[\w+\] )?([^\n]*?)(?: \(op_type|\n|$)", text)
    return text[:200] if found is None else f"{found[1]} ({found[2] or 'no name'}): {found[3][:200]}"


def _check_values(model: ir.Model, path: Path) -> None:
    """Refuse a graph that reads a value, or gives one, that nothing makes."""
    read = [value for node in model.graph for value in node.inputs if value is not None]
    for value in (*read, *model.graph.outputs):
        if value.producer() is None and not value.is_graph_input() and not value.is_initializer():
            raise FormatError(f"{path}: not an ONNX model: nothing makes {value.name}")


def _hold_external(model: ir.Model) -> None:
    """Weights in other files become maps of them, so that nobody looks for these files again, from elsewhere."""
    for value in model.graph.initializers.values():
        if isinstance(value.const_value, ir.ExternalTensor):
            value.const_value = ir.Tensor(value.const_value.numpy(), name=value.name)
    if any(isinstance(tensor, ir.ExternalTensor) for tensor in _tensors(model)):
        raise ValueError("weights of inner graphs, or of attributes, stand in other files")


def _tensors(model: ir.Model) -> Iterator[ir.TensorProtocol]:
    """Every tensor of a model: weights and attributes, of graphs inside of graphs and of functions too."""
    graphs: list[Any] = [model.graph, *model.functions.values()]
    while graphs:
        graph = graphs.pop()
        weights: Any = getattr(graph, "initializers", {})
        yield from (value.const_value for value in weights.values() if value.const_value is not None)
        for node in graph:
            for attribute in node.attributes.values():
                kind, value = attribute.type, attribute.value
                if kind in {ir.AttributeType.TENSOR, ir.AttributeType.TENSORS}:
                    yield from [value] if kind == ir.AttributeType.TENSOR else value
                elif kind in {ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS}:
                    graphs.extend([value] if kind == ir.AttributeType.GRAPH else value)


def _check_external(tensor: Any, path: Path) -> None:
    """Refuse weights that are not in a file of the model's own folder, or not whole."""
    location = str(tensor.location)
    folder, place = atomic.resolved(path.parent), path.parent / location
    what = f"{path}: the weights {tensor.name} are said to be in {location!r}"
    outside = Path(location).is_absolute() or ".." in Path(location).parts or "\0" in location or "\\" in location
    if outside or not atomic.resolved(place).is_relative_to(folder):
        raise FormatError(f"{what}, outside of the model's folder")
    check_regular(place)
    offset, size = tensor.offset or 0, place.stat().st_size
    length = tensor.nbytes if tensor.length is None else tensor.length
    if offset < 0 or length != tensor.nbytes or offset + length > size:
        raise FormatError(f"{what}, which has {size:,} bytes, and not {length:,} from {offset:,} for {tensor.nbytes:,}")
