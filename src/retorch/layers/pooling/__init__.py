"""Pooling: windows, adaptive bins, sequences, and putting maxima back."""

from retorch.layers.pooling import adaptive, temporal, unpooling, window

__all__ = ["adaptive", "temporal", "unpooling", "window"]
