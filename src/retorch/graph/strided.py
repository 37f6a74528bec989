"""Tensors whose elements do not stand in memory in order.

Apart from the families, since these may be imported without ONNX and this may not.
"""

from __future__ import annotations

from retorch.graph.builder import Value


class Strided(Value):
    """A view that Torch does not call contiguous: ``nn.Reshape`` copies it where it would share memory with others."""

    __slots__ = ()
