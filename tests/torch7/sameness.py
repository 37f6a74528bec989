"""Whether two values are the same in structure: types, order, sharing and cycles included."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from retorch.torch7 import LuaFunction, LuaTable, TorchObject, TorchStorage, TorchTensor


def assert_same(first: Any, second: Any) -> None:
    """Walk both side by side; what was met before must be the partner that it had then."""
    partners: dict[int, Any] = {}
    kept: list[Any] = []
    stack = [(first, second)]
    while stack:
        one, two = stack.pop()
        if isinstance(one, LuaTable | TorchObject | LuaFunction | np.ndarray):
            if id(one) in partners:
                assert partners[id(one)] is two
                continue
            assert id(two) not in {id(partner) for partner in partners.values()}
            partners[id(one)] = two
            kept += [one, two]
        assert type(one) is type(two), (one, two)
        stack.extend(_children(one, two))


def _children(one: Any, two: Any) -> list[tuple[Any, Any]]:
    match one:
        case LuaTable():
            assert len(one) == len(two)
            pairs = zip(one.items(), two.items(), strict=True)
            return [pair for (key, value), (other, partner) in pairs for pair in ((key, other), (value, partner))]
        case TorchObject():
            assert (one.typename, one.version) == (two.typename, two.version)
            return [(one.fields, two.fields)]
        case LuaFunction():
            assert (one.code, one.tag) == (two.code, two.tag)
            return [(one.upvalues, two.upvalues)]
        case TorchTensor():
            return _tensors(one, two)
        case np.ndarray():
            assert one.dtype == two.dtype
            assert one.tobytes() == two.tobytes()
            if isinstance(one, TorchStorage):
                assert one.facts is not None
                assert one.facts.typename == two.facts.typename
        case float():
            assert struct.pack("<d", one) == struct.pack("<d", two)
        case _:
            assert one == two
    return []


def _tensors(one: TorchTensor, two: TorchTensor) -> list[tuple[Any, Any]]:
    a, b = one.facts, two.facts
    assert a is not None
    assert b is not None
    assert (a.typename, a.version, a.sizes, a.strides, a.offset) == (
        b.typename,
        b.version,
        b.sizes,
        b.strides,
        b.offset,
    )
    assert one.shape == two.shape
    assert one.tobytes() == two.tobytes()
    return [(a.storage, b.storage)]
