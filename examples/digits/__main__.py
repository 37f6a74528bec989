"""``python -m examples.digits FOLDER``: read the bundled digits with the converted network."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import retorch

IMAGES = Path(__file__).with_name("images.npz")
_SHADES = " .:-=+*#%@"


def drawing(image: NDArray[np.float32]) -> list[str]:
    """A 32×32 image as lines of text, two pixels to a character in height."""
    rows = image[::2]
    low, high = float(rows.min()), float(rows.max())
    levels = ((rows - low) / (high - low or 1.0) * (len(_SHADES) - 1)).astype(int)
    return ["".join(_SHADES[level] for level in line) for line in levels]


def main(folder: str) -> int:
    """Show eight images and what the network reads in each; returns how many it misread."""
    with np.load(IMAGES) as stored:
        images, labels = stored["input_0"], stored["label"].astype(int)
    network = retorch.Network.load(folder)
    scores = network.run(images)[0]
    read = scores.argmax(axis=1)
    for start in range(0, 8, 4):
        drawings = [drawing(image[0]) for image in images[start : start + 4]]
        print("\n".join("  ".join(line) for line in zip(*drawings, strict=True)))
        print("  ".join(f"reads {digit}".center(32) for digit in read[start : start + 4]))
    # Torch counts classes from 1: class 1 is the digit 0
    wrong = int(np.sum(read != labels - 1))
    print(f"{len(images) - wrong} of {len(images)} digits read right by the Caffe2 files in {folder}")
    return 0 if wrong == 0 else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
