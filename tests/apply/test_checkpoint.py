"""What checkpoints say of their pictures and classes."""

from __future__ import annotations

import numpy as np

from retorch.apply.checkpoint import class_names, from_checkpoint
from retorch.torch7 import LuaTable


def test_a_checkpoint_says_its_own_mean() -> None:
    checkpoint = LuaTable({"transform": LuaTable({"mean": LuaTable({1: 0.4, 2: 0.5, 3: 0.6}), "std": 0.2})})
    found = from_checkpoint(checkpoint)
    assert found is not None
    assert (found.mean, found.std, found.top) == ((0.4, 0.5, 0.6), (0.2,), 1.0)
    assert "transform" in found.source
    assert from_checkpoint(LuaTable({"opt": LuaTable({"batchSize": 4})})) is None


def test_large_means_are_of_pixels_up_to_255() -> None:
    found = from_checkpoint(LuaTable({"mean": np.array([103.9, 116.8, 123.7]), "std": 1}))
    assert found is not None
    assert (found.mean, found.top) == ((103.9, 116.8, 123.7), 255.0)


def test_fast_neural_style_names_its_preprocessing() -> None:
    def said(name: str) -> tuple[tuple[float, ...], bool, float]:
        found = from_checkpoint(LuaTable({"opt": LuaTable({"preprocessing": name})}))
        assert found is not None
        assert f"opt.preprocessing in the file says: {name}" in found.source
        assert found.size is None
        return found.mean, found.bgr, found.top

    # fast_neural_style/preprocess.lua
    assert said("vgg") == ((103.939, 116.779, 123.68), True, 255.0)
    assert said("resnet") == ((0.485, 0.456, 0.406), False, 1.0)


def test_a_checkpoint_says_its_size() -> None:
    for options, size in (({"imageCrop": 224}, (224, 224)), ({"imHeight": 360, "imWidth": 480}, (360, 480))):
        found = from_checkpoint(LuaTable({"opt": LuaTable(options)}))
        assert found is not None
        assert found.size == size
        assert f"{size[0]}x{size[1]}" in found.source
        assert "in the file" in found.source


def test_a_checkpoint_names_its_classes() -> None:
    listed = LuaTable.of("cat", "dog", "cow")
    numbered = LuaTable({"dog": 2, "cow": 3, "cat": 1})
    for table, place in (
        (LuaTable({"classes": listed}), "classes"),
        (LuaTable({"opt": LuaTable({"classes": listed})}), "opt.classes"),
        (LuaTable({"labels": numbered}), "labels"),
    ):
        assert class_names(table) == (["cat", "dog", "cow"], place)
    assert class_names(LuaTable({"classes": 3})) == ([], "")
    assert class_names(LuaTable({"labels": LuaTable({"dog": 2, "cow": 5})})) == ([], "")
