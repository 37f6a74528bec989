"""Pictures in, and what a network makes of them out: pictures, maps of classes, likeliest labels, embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retorch.apply.preprocessing import Preprocessing
from retorch.errors import UsageError

Array = NDArray[Any]
Pixels = NDArray[np.uint8]
_BILINEAR = 2  # of Pillow


@dataclass(frozen=True, slots=True)
class Label:
    """A class, and how likely the network holds it."""

    index: int
    name: str
    probability: float


def read_picture(file: Path, channels: int = 3) -> Pixels:
    """The pixels (height, width, channels) of a picture; one channel is grey.

    Raises:
        UsageError: not a picture that Pillow reads, or Pillow is missing.
    """
    image = _pillow(str(file))
    try:
        with image.open(file) as opened:
            shown = image.fromarray(_bytes_of(opened)) if opened.mode.startswith("I") else opened
            pixels = np.asarray(shown.convert("L" if channels == 1 else "RGB"))
    except (image.UnidentifiedImageError, image.DecompressionBombError, SyntaxError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's word, not Pillow's
        raise UsageError(f"{file}: not a picture that Pillow reads") from error
    return pixels.reshape(*pixels.shape[:2], channels)


def _bytes_of(image: Any) -> Pixels:
    """A picture of 16 bits of grey in 8: Pillow itself would cut off what is above 255."""
    return np.asarray(np.rint(np.asarray(image, np.float64) / 257).clip(0, 255), np.uint8)


def write_picture(file: Path, pixels: Pixels, *, suffix: str = ".png") -> None:
    """Write pixels (height, width, 1 or 3). UsageError for a suffix that Pillow does not know."""
    image = _pillow(str(file))
    kind = image.registered_extensions().get(suffix.lower())
    if kind is None or kind not in image.SAVE:
        raise UsageError(f"{file}: Pillow writes no pictures of the kind {suffix}", hint=".png keeps every number")
    image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(file, format=kind)


def fitted(pixels: Pixels, size: tuple[int, int] | None, crop: float = 1.0) -> Pixels:
    """The picture at another size (bilinear); with ``crop`` below 1 the middle of its shorter side, undistorted."""
    if size is None:
        return pixels
    image = _pillow("--size").fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    box = None
    if crop < 1:
        height, width = pixels.shape[:2]
        side = min(height / size[0], width / size[1]) * crop
        high, wide = side * size[0], side * size[1]
        box = ((width - wide) / 2, (height - high) / 2, (width + wide) / 2, (height + high) / 2)
    made = np.asarray(image.resize((size[1], size[0]), _BILINEAR, box=box))
    return made.reshape(*size, pixels.shape[2])


def picture_tensor(file: Path, shape: Sequence[int], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """A picture as an input of shape (batch, channels, height, width), or the same without the batch.

    It is scaled to the height and width (bilinear) and repeated along the batch.

    Raises:
        UsageError: not a picture; an input that is none; mean or std of another length; Pillow is missing.
    """
    if len(shape) not in (3, 4) or shape[-3] not in (1, 3):
        wanted = "x".join(map(str, shape))
        raise UsageError(f"{file}: the network takes {wanted}, which is no picture", hint="--input takes any array")
    channels, height, width = shape[-3:]
    pixels = fitted(read_picture(file, channels), (height, width))
    return np.array(np.broadcast_to(preprocessing.tensor(pixels)[0], shape))


def likeliest(scores: Array, labels: Sequence[str] = (), count: int = 5) -> list[Label]:
    """The classes with the highest scores, which may be probabilities, their logarithms, or neither.

    Args:
        scores: any shape with one number a class.
        labels: the names of the classes, in order.
        count: how many.

    Raises:
        UsageError: labels of another number than the classes.
    """
    x = np.ravel(scores).astype(np.float64)
    if labels and len(labels) != len(x):
        raise UsageError(f"--labels names {len(labels)} classes; the network has {len(x)}")
    likely = _probabilities(x)
    order = [int(i) for i in np.argsort(-likely, kind="stable")[:count]]
    names: list[str] = list(labels) if labels else [f"class {i + 1}" for i in range(len(x))]
    return [Label(i + 1, names[i], float(likely[i])) for i in order]


def _probabilities(x: Array) -> Array:
    if x.min() >= 0 and abs(x.sum() - 1) < 1e-3:
        return x
    y = np.exp(x - x.max())
    return y / y.sum()


def class_map(y: Array, palette: Sequence[tuple[int, int, int]] = ()) -> Pixels:
    """A tensor (classes, height, width) as a picture: each pixel in the colour of its likeliest class."""
    colours = np.asarray(palette or _distinct(len(y)), np.uint8)
    if len(colours) < len(y):
        raise UsageError(f"the palette has {len(colours)} colours; the network has {len(y)} classes")
    return colours[np.argmax(y, axis=0)]


def _distinct(count: int) -> list[tuple[int, int, int]]:
    """Colours that are easy to tell apart: the bits of the class's number, spread over channels (as PASCAL VOC's)."""
    made: list[tuple[int, int, int]] = []
    for number in range(count):
        channels = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                channels[channel] |= (number >> (3 * bit + channel) & 1) << (7 - bit)
        made.append((channels[0], channels[1], channels[2]))
    return made


def squared_distance(one: Array, other: Array) -> float:
    """The squared Euclidean distance of two embeddings, OpenFace's measure: below about 1 it is the same person."""
    return float(np.sum((one.ravel().astype(np.float64) - other.ravel()) ** 2))


def picture_of(y: Array, preprocessing: Preprocessing, palette: Sequence[tuple[int, int, int]] = ()) -> Pixels:
    """An output (1, channels, height, width) as pixels: one or three channels are a picture, more are classes.

    With a palette all channels are classes, however many there are.

    Raises:
        UsageError: an output that is no picture.
    """
    if y.ndim == 4 and len(y) == 1:
        y = y[0]
    if y.ndim != 3:
        raise UsageError(f"the network gives {'x'.join(map(str, y.shape))}, which is no picture", hint="-o y.npz")
    return preprocessing.pixels(y) if len(y) in (1, 3) and not palette else class_map(y, palette)


def _pillow(what: str) -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise UsageError(f"{what}: pictures need Pillow", hint="pip install 'retorch[image]'") from None
    Image.init()
    return Image
