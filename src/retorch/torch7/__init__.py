"""The ``.t7`` format: read any, write any.

Comes in: a path, bytes or an open file. Goes out: tables, tensors and objects as stored, or the bytes of a new file.
Open first: ``reader.py``, whose docstring is the format.
"""

from retorch.torch7.files import Document, open_file, read
from retorch.torch7.objects import (
    Array,
    LuaFunction,
    LuaTable,
    StorageFacts,
    TensorFacts,
    TorchObject,
    TorchStorage,
    TorchTensor,
    Value,
)
from retorch.torch7.stream import Dialect
from retorch.torch7.writer import encode, write

__all__ = [
    "Array",
    "Dialect",
    "Document",
    "LuaFunction",
    "LuaTable",
    "StorageFacts",
    "TensorFacts",
    "TorchObject",
    "TorchStorage",
    "TorchTensor",
    "Value",
    "encode",
    "open_file",
    "read",
    "write",
]
