"""The computation: two frames, a pyramid of images, and a flow that grows finer level by level.

Facts of Ranjan & Black, "Optical Flow Estimation using a Spatial Pyramid Network" (CVPR 2017), as its Torch7 code ran
on GPUs. Images are float32 arrays of shape (C, H, W); a flow has shape (2, H, W), u to the right and v down, in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from retorch.errors import UsageError

Array: TypeAlias = NDArray[Any]
Floats: TypeAlias = NDArray[np.float32]
#: One level's network: (1, 8, H, W) gives (1, 2, H, W).
LevelNetwork: TypeAlias = Callable[[Floats], Floats]

MEAN = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
STD = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)
#: Sizes are raised to multiples of this, so that they can be halved five times.
STEP = 32
MOST_LEVELS = 6


def raised(size: int) -> int:
    """The size that the pyramid works at: the next multiple of 32."""
    return -(-size // STEP) * STEP


def levels_for(height: int, width: int) -> int:
    """How many levels frames of this size have: 1 up to 32 pixels, one more for each doubling, 6 at most."""
    longest = max(raised(height), raised(width))
    return min(MOST_LEVELS, 1 + (longest // STEP - 1).bit_length())


def channels(frame: Array) -> Floats:
    """A frame, (H, W, 3) of bytes or of numbers in 0…1, as (3, H, W). UsageError for anything else."""
    if frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
        raise UsageError(f"a frame is height × width × 3 colours, not {'×'.join(map(str, frame.shape)) or 'a number'}")
    if frame.dtype != np.uint8 and frame.dtype.kind != "f":
        raise UsageError(f"a frame holds bytes or floats in 0…1, not {frame.dtype}")
    scale = 255 if frame.dtype == np.uint8 else 1
    return np.ascontiguousarray(frame.transpose(2, 0, 1), np.float32) / np.float32(scale)


def prepared(frame: Array) -> Floats:
    """A frame as the networks see it: (3, H, W), normalised, at the raised size."""
    normal = (channels(frame) - MEAN) / STD
    return resized(normal, raised(frame.shape[0]), raised(frame.shape[1]))


def resized(image: Floats, height: int, width: int) -> Floats:
    """The image stretched, linear between pixels, corners on corners."""
    for axis, length in ((-1, width), (-2, height)):
        if image.shape[axis] != length:
            image = _stretched(image, axis, length)
    return image


def _stretched(image: Floats, axis: int, length: int) -> Floats:
    last = image.shape[axis] - 1
    at = np.arange(length) * (last / (length - 1))
    low = np.minimum(at.astype(np.int64), last)
    share = (at - low).astype(np.float32).reshape((-1,) + (1,) * (-1 - axis))
    return image.take(low, axis) * (1 - share) + image.take(np.minimum(low + 1, last), axis) * share


def pooled(image: Floats) -> Floats:
    """The image at half its size: means of 2 × 2 pixels."""
    count, height, width = image.shape
    return image.reshape(count, height // 2, 2, width // 2, 2).mean(axis=(2, 4), dtype=np.float32)


def doubled(flow: Floats) -> Floats:
    """The flow of the level below, at twice the size: its pixels are half as large, so its values double."""
    return resized(flow, 2 * flow.shape[1], 2 * flow.shape[2]) * np.float32(2)


def warped(image: Floats, flow: Floats) -> Floats:
    """The image read at (x + u, y + v): linear between pixels; places beyond the border are brought onto it."""
    height, width = image.shape[1:]
    columns = np.clip(np.arange(width, dtype=np.float32) + flow[0], 0, width - 1)
    rows = np.clip(np.arange(height, dtype=np.float32)[:, None] + flow[1], 0, height - 1)
    left, top = columns.astype(np.int64), rows.astype(np.int64)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = columns - np.floor(columns), rows - np.floor(rows)
    upper = image[:, top, left] * (1 - across) + image[:, top, right] * across
    lower = image[:, bottom, left] * (1 - across) + image[:, bottom, right] * across
    return upper * (1 - down) + lower * down


def flows(first: Floats, second: Floats, networks: Sequence[LevelNetwork]) -> list[Floats]:
    """The flow of every level, coarsest first: the last is the result.

    Args:
        first: the first frame as :func:`prepared`.
        second: the second one; the flow says where in it each pixel of the first has gone.
        networks: those of the levels, coarsest first.
    """
    pairs = [(first, second)]
    for _ in networks[1:]:
        pairs.insert(0, (pooled(pairs[0][0]), pooled(pairs[0][1])))
    flow = np.zeros((2, *pairs[0][0].shape[1:]), np.float32)
    found: list[Floats] = []
    for (one, two), network in zip(pairs, networks, strict=True):
        if found:
            flow = doubled(flow)
            two = warped(two, flow)
        flow = network(np.concatenate([one, two, flow])[None])[0] + flow
        found.append(flow)
    return found


def picked(size: int) -> NDArray[np.int64]:
    """Which of the raised rows (or columns) each row of the frame takes its flow from, as Torch's image.scale picks."""
    scale = np.float32(raised(size)) / np.float32(size)
    return np.minimum((np.arange(size, dtype=np.float32) * scale).astype(np.int64), raised(size) - 1)


def restored(flow: Floats, height: int, width: int) -> Floats:
    """The flow at the frames' own size: every pixel takes the nearest flow, in pixels of the frame."""
    scale = np.array([width / flow.shape[2], height / flow.shape[1]], np.float32).reshape(2, 1, 1)
    return flow[:, picked(height)][:, :, picked(width)] * scale
