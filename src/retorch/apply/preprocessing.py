"""How networks want their pictures: mean, deviation, order of channels, range and size, by the names of their users.

What a checkpoint says of itself (``checkpoint.py``) comes before any name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retorch.apply.lab import lab_of, rgb_of
from retorch.errors import UsageError, counted

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """A picture as numbers: ``(pixel * top / 255 - mean) / std``, per channel.

    Attributes:
        source: whose preprocessing it is.
        mean, std: per channel, in the order in which the network reads them; one number stands for all.
        bgr: whether the channels come blue first.
        top: what the brightest pixel is before mean and deviation: 1 or 255.
        size: height and width that the network was trained on; None for any.
        lab: whether the network takes brightness alone and gives the two channels of colour (L*a*b*: L / 50 - 1, and a
            and b / 110), where the other settings do not count.
        crop: the part of the picture's shorter side that is looked at, cut from its middle; 1 is all of the picture.
    """

    source: str
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    bgr: bool = False
    top: float = 1.0
    size: tuple[int, int] | None = None
    crop: float = 1.0
    lab: bool = False

    def tensor(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The pixels (height, width, channels) as a tensor (1, channels, height, width)."""
        if self.lab:
            return (lab_of(pixels / 255)[None, None, :, :, 0] / 50 - 1).astype(np.float32)
        x = np.moveaxis(pixels, -1, 0)[::-1] if self.bgr else np.moveaxis(pixels, -1, 0)
        mean, std = self._per_channel(len(x))
        return ((x * np.float32(self.top / 255) - mean) / std)[None].astype(np.float32)

    def pixels(self, y: Array) -> NDArray[np.uint8]:
        """A tensor (channels, height, width) in these numbers, as pixels; what lies outside of them is cut."""
        if self.lab:
            shown = rgb_of(np.stack([(y[0] + 1) * 50, *(np.clip(y[1:], -1, 1) * 110)], axis=-1).astype(np.float64))
            return np.rint(shown * 255).astype(np.uint8)
        mean, std = self._per_channel(len(y))
        x = (y * std + mean) * (255 / self.top)
        x = x[::-1] if self.bgr else x
        return np.moveaxis(np.clip(np.rint(np.nan_to_num(x)), 0, 255), 0, -1).astype(np.uint8)

    def _per_channel(self, channels: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        numbers: list[NDArray[np.float32]] = []
        for what, given in (("mean", self.mean), ("std", self.std)):
            if len(given) not in (1, channels):
                raise UsageError(
                    f"--{what} has {counted(len(given), 'number')}; the network takes {counted(channels, 'channel')}"
                )
            numbers.append(np.asarray(given, np.float32).reshape(-1, 1, 1))
        if not np.all(numbers[1]):
            raise UsageError("--std cannot be 0")
        return numbers[0], numbers[1]


#: The preprocessings with a name.
PREPROCESSINGS: Mapping[str, Preprocessing] = {
    # Torch's package image: load gives 0 to 1
    "unit": Preprocessing("pixels from 0 to 1 (image.load of Torch)"),
    # facebook/fb.resnet.torch, datasets/imagenet.lua: meanstd, Scale(256), CenterCrop(224)
    "imagenet": Preprocessing(
        "for fb.resnet.torch (datasets/imagenet.lua)",
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
        size=(224, 224),
        crop=224 / 256,
    ),
    # jcjohnson/fast-neural-style, fast_neural_style/preprocess.lua: vgg
    "caffe-bgr": Preprocessing(
        "for Caffe's VGG (neural-style, fast-neural-style)",
        (103.939, 116.779, 123.68),
        bgr=True,
        top=255.0,
    ),
    # soumith/dcgan.torch, data/donkey_folder.lua: mul(2):add(-1)
    "tanh": Preprocessing("pixels from -1 to 1 (DCGAN)", (0.5,), (0.5,)),
    # phillipi/pix2pix and junyanz/CycleGAN, util/util.lua: preprocess
    "pix2pix": Preprocessing("pixels from -1 to 1, blue first (pix2pix, CycleGAN)", (0.5,), (0.5,), bgr=True),
    # the same, deprocessLAB, and its data/donkey_folder.lua: colorization
    "lab": Preprocessing("brightness from -1 to 1, for networks that colour it (pix2pix)", lab=True),
    # cmusatyalab/openface, openface/torch_neural_net.py and align_dlib.py: 96 x 96
    "openface": Preprocessing("for OpenFace (an aligned face, pixels from 0 to 1)", size=(96, 96)),
    # e-lab/ENet-training, visualize/demo.lua: as image.load gives it
    "enet": Preprocessing("for ENet (pixels from 0 to 1)"),
    # nagadomi/waifu2x, lib/reconstruct.lua: as image.load gives it, the edge repeated (border.py)
    "waifu2x": Preprocessing("for waifu2x (pixels from 0 to 1)"),
}


def named(name: str) -> Preprocessing:
    """The preprocessing of that name. UsageError where there is none."""
    if name not in PREPROCESSINGS:
        raise UsageError(f"--preprocess {name}: there are {', '.join(PREPROCESSINGS)}")
    return PREPROCESSINGS[name]
