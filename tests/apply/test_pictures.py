"""Pictures as numbers and back, tile by tile, and what is read from a network's outputs."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from retorch.apply.pictures import (
    class_map,
    fitted,
    likeliest,
    picture_of,
    read_picture,
    squared_distance,
    write_picture,
)
from retorch.apply.preprocessing import PREPROCESSINGS, named
from retorch.apply.tiles import spans, tiled
from retorch.errors import UsageError

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (6, 5, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", sorted(set(PREPROCESSINGS) - {"lab"}))
def test_pixels_come_back(name: str) -> None:
    x = PREPROCESSINGS[name].tensor(PIXELS)
    assert x.shape == (1, 3, 6, 5)
    assert x.dtype == np.float32
    assert np.array_equal(PREPROCESSINGS[name].pixels(x[0]), PIXELS)


def test_caffes_networks_read_blue_first_and_less_the_mean() -> None:
    red = np.zeros((1, 1, 3), np.uint8)
    red[0, 0, 0] = 255
    x = PREPROCESSINGS["caffe-bgr"].tensor(red)
    assert np.allclose(x.ravel(), [-103.939, -116.779, 255 - 123.68])


def test_pix2pix_reads_blue_first_from_minus_one_to_one() -> None:
    red = np.zeros((1, 1, 3), np.uint8)
    red[0, 0, 0] = 255
    assert PREPROCESSINGS["pix2pix"].tensor(red).ravel().tolist() == [-1, -1, 1]
    assert PREPROCESSINGS["tanh"].tensor(red).ravel().tolist() == [1, -1, -1]


def test_an_unknown_preprocessing_lists_the_others() -> None:
    with pytest.raises(UsageError, match="imagenet, caffe-bgr"):
        named("vgg")


@given(st.integers(1, 300), st.integers(8, 64), st.integers(0, 6))
def test_tiles_keep_every_pixel_once(length: int, tile: int, overlap: int) -> None:
    found = spans(length, tile, overlap)
    assert found[0].keep == 0
    assert found[-1].keep_end == length
    assert all(one.keep_end == other.keep for one, other in pairwise(found))
    assert all(s.start <= s.keep < s.keep_end <= s.start + tile for s in found)


@pytest.mark.parametrize("size", [(40, 50), (9, 100), (16, 16), (5, 7)])
def test_tiles_give_what_the_whole_picture_gives(size: tuple[int, int]) -> None:
    x = RANDOM.normal(size=(1, 2, *size))

    def blurred_and_doubled(piece: np.ndarray) -> np.ndarray:
        wide = np.pad(piece, [(0, 0), (0, 0), (1, 1), (1, 1)], "edge")
        mean = sum(wide[:, :, i : i + piece.shape[2], j : j + piece.shape[3]] for i in range(3) for j in range(3)) / 9
        return mean.repeat(2, axis=2).repeat(2, axis=3)

    seen: list[tuple[int, int]] = []
    y = tiled(blurred_and_doubled, x, (16, 16), 4, lambda done, of: seen.append((done, of)))
    want = blurred_and_doubled(x)
    assert y.shape == want.shape
    inner = (slice(None), slice(None), slice(0, 2 * size[0] - 2), slice(0, 2 * size[1] - 2))
    assert np.abs(y[inner] - want[inner]).max() < 1e-12
    assert seen[-1][0] == seen[-1][1] == len(seen)


def test_a_network_that_cuts_the_border_off_takes_no_tiles() -> None:
    with pytest.raises(UsageError, match="no picture of its size"):
        tiled(lambda piece: piece[:, :, 1:-1, 1:-2], RANDOM.normal(size=(1, 1, 40, 40)), (16, 16), 4)


def test_the_likeliest_classes_by_probabilities_or_their_logarithms() -> None:
    scores = np.log([[0.1, 0.6, 0.3]])
    for given_scores in (scores, np.exp(scores), scores + 7):
        best = likeliest(given_scores, ["cat", "dog", "cow"], 2)
        assert [(label.index, label.name) for label in best] == [(2, "dog"), (3, "cow")]
        assert best[0].probability == pytest.approx(0.6)
    with pytest.raises(UsageError, match="names 1 classes; the network has 3"):
        likeliest(scores, ["cat"])


def test_classes_have_colours_of_their_own() -> None:
    y = np.eye(4).reshape(4, 2, 2)
    pixels = class_map(y)
    assert len({tuple(colour) for colour in pixels.reshape(-1, 3)}) == 4
    assert tuple(class_map(y, [(9, 8, 7)] * 4)[0, 0]) == (9, 8, 7)
    with pytest.raises(UsageError, match="3 colours"):
        class_map(y, [(0, 0, 0)] * 3)


def test_vectors_are_no_pictures() -> None:
    with pytest.raises(UsageError, match="1x128, which is no picture"):
        picture_of(np.zeros((1, 128)), PREPROCESSINGS["unit"])


def test_the_distance_of_embeddings_is_openfaces() -> None:
    assert squared_distance(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])) == 2.0


def test_pictures_are_read_and_written(tmp_path: Path) -> None:
    write_picture(tmp_path / "x.png", PIXELS)
    assert np.array_equal(read_picture(tmp_path / "x.png"), PIXELS)
    assert read_picture(tmp_path / "x.png", 1).shape == (6, 5, 1)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match="not a picture"):
        read_picture(tmp_path / "bad.png")
    with pytest.raises(UsageError, match="writes no pictures"):
        write_picture(tmp_path / "x.t7", PIXELS, suffix=".t7")


def test_pictures_of_16_bits_keep_their_brightness(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 13107, 65535]], np.uint16)).save(tmp_path / "deep.png")
    assert read_picture(tmp_path / "deep.png")[0, :, 0].tolist() == [0, 51, 255]
    assert read_picture(tmp_path / "deep.png", 1)[0, :, 0].tolist() == [0, 51, 255]


def test_a_picture_that_is_cut_off_is_none(tmp_path: Path) -> None:
    write_picture(tmp_path / "x.png", RANDOM.integers(0, 256, (60, 50, 3), dtype=np.uint8))
    data = (tmp_path / "x.png").read_bytes()
    (tmp_path / "x.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(UsageError, match="not a picture"):
        read_picture(tmp_path / "x.png")


def test_a_crop_is_cut_from_the_middle_undistorted() -> None:
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = 255
    assert fitted(wide, (4, 4), crop=0.999).min() == 255
    assert fitted(wide, (4, 4)).min() == 0
