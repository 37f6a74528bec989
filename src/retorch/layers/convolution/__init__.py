"""Convolutions: over images, sequences and volumes, and the transposed ones."""

from retorch.layers.convolution import full, spatial, temporal, volumetric

__all__ = ["full", "spatial", "temporal", "volumetric"]
