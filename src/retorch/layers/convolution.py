"""Convolutions, in one, two and three dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.rule import Array, Layer, layer

if TYPE_CHECKING:
    from retorch.builder import Builder, Value
