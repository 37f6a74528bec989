"""Normalization by stored statistics, and over neighbours."""

from retorch.layers.normalization import batch, local

__all__ = ["batch", "local"]
