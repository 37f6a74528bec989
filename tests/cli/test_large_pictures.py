"""Pictures of any size in bounded memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

STYLE = Path(__file__).parents[2] / "examples" / "style" / "style.t7"
RUN = """
import resource, sys
from retorch.cli import main
code = main(["run", *sys.argv[1:]])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
sys.exit(code)
"""


def peak(picture: Path, out: Path, *options: str) -> int:
    """The most memory in MiB that a process of its own takes for a picture."""
    command = [sys.executable, "-c", RUN, str(STYLE), "--input", str(picture), "-o", str(out), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory in another unit")
@pytest.mark.parametrize(
    ("height", "width", "bound"),
    [(1200, 2000, 800), pytest.param(3000, 4000, 1000, marks=pytest.mark.slow)],
)
def test_a_large_picture_goes_through_a_style_network(height: int, width: int, bound: int, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((width, height)).save(tmp_path / "large.png", compress_level=1)
    assert peak(tmp_path / "large.png", tmp_path / "out.png") < bound
    with Image.open(tmp_path / "out.png") as made:
        assert made.size == (width, height)


def test_tiles_of_a_style_network_have_no_seams(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (60, 75, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((600, 480)).save(tmp_path / "x.png")
    for name, tile in (("whole", "0"), ("tiles", "256")):
        peak(tmp_path / "x.png", tmp_path / f"{name}.png", "--tile", tile)
    made: dict[str, np.ndarray] = {}
    for name in ("whole", "tiles"):
        with Image.open(tmp_path / f"{name}.png") as image:
            made[name] = np.asarray(image, np.int16)
    whole, tiles = made["whole"], made["tiles"]
    assert np.abs(whole - tiles).max() <= 1
    assert np.std(whole) > 20
