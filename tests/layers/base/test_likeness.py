"""Classes that are one of nn under another name: offered in the hint, read as such where a person says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import retorch
from building import module, sequential, torch_object
from retorch.cli import main
from retorch.errors import UnsupportedError, UsageError
from retorch.layers.base import layer as registry
from retorch.layers.plugins import load_plugins, parse_aliases
from retorch.module import bind
from retorch.torch7 import write

WEIGHT = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], np.float32)
BIAS = np.array([1.0, 0.0, -1.0], np.float32)
CONVOLUTION: dict[str, Any] = {
    "weight": np.ones((2, 3, 3, 3), np.float32),
    "bias": np.zeros(2, np.float32),
    "kW": 3,
    "kH": 3,
    "dW": 1,
    "dH": 1,
    "padW": 1,
    "padH": 1,
    "nInputPlane": 3,
    "nOutputPlane": 2,
}


@pytest.fixture(autouse=True)
def _aliases(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setattr(registry, "_aliases", {})
    yield


def hint(typename: str, **fields: Any) -> str:
    with pytest.raises(UnsupportedError) as caught:
        retorch.convert(module(typename, **fields), (1, 2))
    return caught.value.hint or ""


@pytest.mark.parametrize(
    ("typename", "fields", "known"),
    [
        ("nn.CustomLinear", {"weight": WEIGHT, "bias": BIAS}, "nn.Linear"),
        ("my.LinearOfMine", {"weight": WEIGHT, "bias": BIAS, "gradWeight": WEIGHT}, "nn.Linear"),
        ("MyLeakyReLU", {"negval": 0.2, "inplace": False}, "nn.LeakyReLU"),
        ("Conv", CONVOLUTION, "nn.SpatialConvolution"),
        ("mine.Tanh", {}, "nn.Tanh"),
        ("mine.Max", {"dimension": 2}, "nn.Max"),
        ("nn.MySequential", {"modules": [torch_object("nn.Odd")]}, "nn.Sequential"),
    ],
)
def test_a_class_whose_fields_fit_is_offered(typename: str, fields: dict[str, Any], known: str) -> None:
    assert f"`--alias {typename}={known}`" in hint(typename, **fields)


def test_where_fields_fit_several_classes_all_are_offered() -> None:
    statistics = {"running_mean": BIAS, "running_var": BIAS + 2, "weight": BIAS, "bias": BIAS, "eps": 1e-5}
    told = hint("my.Norm", **statistics, momentum=0.1, affine=True)
    kinds = ("BatchNormalization", "SpatialBatchNormalization", "VolumetricBatchNormalization", "InstanceNormalization")
    assert all(f"`--alias my.Norm=nn.{kind}`" in told for kind in kinds)
    assert "or nn.InstanceNormalization: if it computes the same" in told


def test_a_name_that_says_which_is_offered_alone() -> None:
    statistics = {"running_mean": BIAS, "running_var": BIAS + 2, "weight": BIAS, "bias": BIAS, "eps": 1e-5}
    assert hint("my.SpatialBatchNormalization2", **statistics).count("--alias") == 1


@pytest.mark.parametrize(
    ("typename", "fields"),
    [
        ("my.Swish", {"beta": 1.0}),
        ("my.Thing", {"weight": WEIGHT, "bias": BIAS}),
        ("nn.CustomLinear", {"weight": WEIGHT, "bias": BIAS, "temperature": 2.0}),
        ("nn.CustomLinear", {"weight": "none"}),
        ("nn.Odd", {}),
        ("nn.MyTanh", {}),
        ("nn.Bound", {"threshold": 0.0, "val": 0.0, "inplace": False}),
    ],
    ids=["no known class", "too little to tell", "a field more", "no weight", "no fields", "a name alone", "no tensor"],
)
def test_what_fits_nothing_is_not_offered(typename: str, fields: dict[str, Any]) -> None:
    assert hint(typename, **fields) == "`--plugin my_layers.py` registers classes of your own"


def test_it_is_never_assumed() -> None:
    assert module("nn.CustomLinear", weight=WEIGHT, bias=BIAS).problems


def test_an_alias_reads_it_as_the_known_class() -> None:
    retorch.alias("nn.CustomLinear", "nn.Linear")
    net = sequential(torch_object("nn.CustomLinear", weight=WEIGHT, bias=BIAS))
    assert net.notes == ("modules[1] nn.CustomLinear: read as nn.Linear",)
    assert np.array_equal(net.forward(np.array([[1.0, 10.0]], np.float32)), [[22.0, 43.0, 64.0]])


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (["nn.Linear=nn.Tanh"], "nn.Linear is known already"),
        (["nn.Mine=nn.Yours"], "nn.Yours is not known"),
        (["nn.Mine"], "NAME=CLASS"),
        (["=nn.Linear"], "NAME=CLASS"),
    ],
)
def test_aliases_that_cannot_be(given: list[str], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        load_plugins([], parse_aliases(given))


def test_the_commands_take_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "net.t7", str(tmp_path / "out")
    write(file, torch_object("nn.CustomLinear", weight=WEIGHT, bias=BIAS))
    assert main(["convert", str(file), "-o", out]) == 3
    assert "--alias nn.CustomLinear=nn.Linear" in capsys.readouterr().err.replace("\n", " ")
    assert main(["run", str(file), "--input", "1x2"]) == 3
    assert "--alias nn.CustomLinear=nn.Linear" in capsys.readouterr().err.replace("\n", " ")
    for command in (
        ["inspect", str(file)],
        ["convert", str(file), "-o", out],
        ["verify", str(file), out],
        ["run", str(file)],
        ["export", str(file), "--weights", "-o", str(tmp_path / "w.npz")],
    ):
        assert main([*command, "--alias", "nn.CustomLinear=nn.Linear"]) == 0
    with np.load(tmp_path / "w.npz") as weights:
        assert np.array_equal(weights["weight"], WEIGHT)


def test_weights_of_an_unknown_class_are_left_out_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "net.t7"
    write(file, sequential(torch_object("nn.CustomLinear", weight=WEIGHT, bias=BIAS)).layer.raw)
    assert main(["export", str(file), "--weights", "-o", str(tmp_path / "w.npz")]) == 0
    told = capsys.readouterr().out.replace("\n", " ")
    assert "modules[1] nn.CustomLinear: unknown class, its tensors are left out" in told
    assert "--alias nn.CustomLinear=nn.Linear" in told


def test_the_same_name_twice_is_the_last() -> None:
    retorch.alias("nn.Mine", "nn.Tanh")
    retorch.alias("nn.Mine", "nn.Linear")
    assert not bind(torch_object("nn.Mine", weight=WEIGHT, bias=BIAS)).problems
