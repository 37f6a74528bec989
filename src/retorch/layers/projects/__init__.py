"""Classes that published projects brought along, one field a file."""

from retorch.layers.projects import (
    attention,
    cuda_convnet2,
    detection,
    recurrent,
    roi_pooling,
    stereo,
    style_transfer,
    text,
    vision,
)

__all__ = [
    "attention",
    "cuda_convnet2",
    "detection",
    "recurrent",
    "roi_pooling",
    "stereo",
    "style_transfer",
    "text",
    "vision",
]
