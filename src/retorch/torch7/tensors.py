"""A tensor from its sizes, strides, offset and storage: only where each of its elements is in the storage."""

from __future__ import annotations

from typing import cast

from retorch.errors import FormatError
from retorch.torch7.objects import TENSORS, Array, TensorFacts, TorchTensor


def tensor_of(facts: TensorFacts, mark: int) -> TorchTensor:
    """The tensor itself, once it is known that each of its elements is in its storage."""
    typename, _, sizes, strides, offset, storage = facts
    dtype = TENSORS[typename]
    last, empty = offset, not sizes
    for size, stride in zip(sizes, strides, strict=True):
        if size < 0 or stride < 0:
            raise FormatError(f"a {typename} of sizes {sizes}, strides {strides}", offset=mark)
        last += (size - 1) * stride
        empty = empty or not size
    if storage is None and any(sizes):
        raise FormatError(f"a {typename} of sizes {sizes} without a storage", offset=mark)
    if empty or storage is None:
        held, steps, first = b"", None, 0
    elif 1 <= offset <= last <= len(storage):
        held, first = cast(Array, storage), dtype.itemsize * (offset - 1)
        steps = [dtype.itemsize * stride for stride in strides]
    else:
        text = f"offset {offset}, sizes {sizes}, strides {strides}"
        raise FormatError(f"a {typename} outside its storage of {len(storage)} elements: {text}", offset=mark)
    try:
        return TorchTensor(sizes or (0,), dtype, held, first, steps)
    except (ValueError, OverflowError):
        raise FormatError(f"a {typename} too large: sizes {sizes}", offset=mark) from None
