"""A picture as the tensor that a network takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retorch.errors import UsageError


@dataclass(frozen=True, slots=True)
class Preparation:
    """How a network wants its pictures.

    Attributes:
        mean, std: subtracted from and divided into each channel, in the order that the network reads the channels; one
            number stands for all channels.
        bgr: blue first, as Caffe's and OpenCV's networks want it.
        top: what the brightest pixel is before that: 1 or 255.
    """

    mean: Sequence[float] = (0.0,)
    std: Sequence[float] = (1.0,)
    bgr: bool = False
    top: float = 1.0


def picture_tensor(file: Path, shape: Sequence[int], preparation: Preparation) -> NDArray[np.float32]:
    """Read a picture for an input of shape (batch, channels, height, width), or the same without the batch.

    It is scaled to the height and width (bilinear) and repeated along the batch.

    Returns:
        A float32 array of that shape.

    Raises:
        UsageError: not a picture; an input that is none; mean or std of another length; Pillow is missing.
    """
    if len(shape) not in (3, 4) or shape[-3] not in (1, 3):
        wanted = "x".join(map(str, shape))
        raise UsageError(f"--image: the network takes {wanted}, which is no picture", hint="--inputs takes any array")
    channels, height, width = shape[-3:]
    pixels = _pixels(file, channels, height, width)
    x = np.moveaxis(pixels, -1, 0) * (preparation.top / 255)
    if preparation.bgr:
        x = x[::-1]
    mean = _per_channel("mean", preparation.mean, channels)
    std = _per_channel("std", preparation.std, channels)
    return np.array(np.broadcast_to((x - mean) / std, shape), np.float32)


def _pixels(file: Path, channels: int, height: int, width: int) -> NDArray[np.float64]:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise UsageError("--image needs Pillow", hint="pip install 'retorch[image]'") from None
    try:
        with Image.open(file) as opened:
            grey = opened.convert("L" if channels == 1 else "RGB")
            fitted = grey.resize((width, height), Image.Resampling.BILINEAR)
    except UnidentifiedImageError:
        raise UsageError(f"--image {file}: not a picture that Pillow reads") from None
    return np.asarray(fitted, np.float64).reshape(height, width, channels)


def _per_channel(what: str, numbers: Sequence[float], channels: int) -> NDArray[np.float64]:
    if len(numbers) not in (1, channels):
        raise UsageError(f"--{what} has {len(numbers)} numbers; the network takes {channels} channels")
    made = np.asarray(numbers, np.float64).reshape(-1, 1, 1)
    if what == "std" and not np.all(made):
        raise UsageError("--std cannot be 0")
    return made
