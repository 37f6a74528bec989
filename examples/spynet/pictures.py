"""Frames from picture files, and the pictures of a flow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from examples.spynet import pyramid
from examples.spynet.colors import colored, disc, longest
from examples.spynet.pyramid import Array, Floats
from retorch.errors import FormatError

Picture = NDArray[np.uint8]
_INK = (40, 40, 40)
_PAPER = (255, 255, 255)
_TEXT = 14  # the size of letters, in pixels
_LINE = 22
_KEY = 88  # the size of the colour wheel in a legend
_TILE = 240  # tiles of the overview are magnified to at least so many pixels


def read_frame(path: str | Path) -> Array:
    """A picture as (H, W, 3): bytes, or floats in 0…1 where the file has 16 bits. FormatError where it is none."""
    try:
        with Image.open(path) as image:
            if image.mode.startswith("I"):  # 16 bits of grey
                return np.repeat(np.asarray(image, np.float32)[..., None] / np.float32(65535), 3, axis=2)
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError) as error:  # Pillow's words for files that are broken, and the system's for none
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise FormatError(f"{path}: not a picture that can be read") from error


def flow_picture(flow: Array, most: float | None = None) -> Picture:
    """The flow in colours, with the wheel and its scale in pixels beside it."""
    scale = longest(flow) if most is None else most
    image = Image.fromarray(colored(flow, scale))
    height = max(image.height, _KEY + 2 * _LINE)
    sheet = Image.new("RGB", (image.width + _KEY + 2 * _LINE, height), _PAPER)
    sheet.paste(image, (0, (height - image.height) // 2))
    left, top = image.width + _LINE, (height - _KEY - _LINE) // 2
    sheet.paste(Image.fromarray(disc(_KEY)), (left, top))
    _write(sheet, f"radius: {scale:.3g} px", left + _KEY // 2, top + _KEY + _LINE // 2)
    return np.asarray(sheet)


def overview(frame1: Array, frame2: Array, flow: Floats, most: float | None = None) -> Picture:
    """Both frames, the flow, the second frame warped by it, and what differs without and with the warp."""
    one, two = (pyramid.channels(frame) for frame in (frame1, frame2))
    back = pyramid.warped(two, flow)
    before, after = np.abs(two - one), np.abs(back - one)
    tiles = (
        ("frame 1", _bytes(one)),
        ("frame 2", _bytes(two)),
        (f"flow, up to {longest(flow) if most is None else most:.3g} px", colored(flow, most)),
        ("frame 2, warped by the flow", _bytes(back)),
        (f"|frame 2 - frame 1|, mean {before.mean():.4f}", _bytes(before)),
        (f"|warped - frame 1|, mean {after.mean():.4f}", _bytes(after)),
    )
    return _sheet(tiles, columns=2 if frame1.shape[1] > 2 * frame1.shape[0] else 3)


def _bytes(image: Floats) -> Picture:
    return (image.transpose(1, 2, 0).clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _sheet(tiles: tuple[tuple[str, Picture], ...], columns: int) -> Picture:
    height, width = tiles[0][1].shape[:2]
    times = max(1, -(-_TILE // width))
    wide, tall = width * times, height * times
    rows = -(-len(tiles) // columns)
    gap = _LINE // 2
    sheet = Image.new("RGB", (columns * (wide + gap) + gap, rows * (tall + _LINE + gap) + gap), _PAPER)
    for i, (caption, tile) in enumerate(tiles):
        left, top = gap + i % columns * (wide + gap), gap + i // columns * (tall + _LINE + gap)
        _write(sheet, caption, left + wide // 2, top + _LINE // 2 - 2)
        sheet.paste(Image.fromarray(tile).resize((wide, tall), Image.Resampling.NEAREST), (left, top + _LINE))
    return np.asarray(sheet)


def _write(sheet: Image.Image, text: str, x: int, y: int) -> None:
    ImageDraw.Draw(sheet).text((x, y), text, fill=_INK, anchor="mm", font=ImageFont.load_default(_TEXT))
