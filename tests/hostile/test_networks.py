"""Networks that nobody can run say so by layer, soon, and at any depth."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import retorch
from building import module, sequential, torch_object
from retorch import limits
from retorch.cli import main
from retorch.errors import ConversionError, UnsupportedError, UsageError
from retorch.module import bind
from retorch.torch7 import LuaTable, TorchObject


def convolution(**fields: Any) -> TorchObject:
    whole: dict[str, Any] = {
        "nInputPlane": 4,
        "nOutputPlane": 3,
        "kW": 3,
        "kH": 3,
        "weight": np.ones((3, 4, 3, 3), np.float32),
        "bias": np.zeros(3, np.float32),
    }
    return torch_object("nn.SpatialConvolution", **(whole | fields))


@pytest.mark.parametrize("value", ["3", math.nan, math.inf, 0, -1, 0.5, 1e300, LuaTable()])
def test_a_senseless_field_is_a_problem_of_its_layer(value: Any) -> None:
    (problem,) = sequential(convolution(kW=value)).problems
    assert problem.path == "modules[1]"
    assert "'kW'" in problem.reason


def test_such_a_file_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    retorch.write(tmp_path / "x.t7", sequential(convolution(kW="3")).layer.raw)
    assert main(["inspect", str(tmp_path / "x.t7")]) == 0
    assert "field 'kW' should be a whole number, but is '3'" in capsys.readouterr().out


def test_a_container_in_itself_is_named() -> None:
    whole = torch_object("nn.Sequential", modules=[torch_object("nn.Tanh")])
    whole["modules"][2] = whole
    assert [str(p) for p in bind(whole).problems] == ["(root) nn.Sequential: contains itself: modules[2] is the root"]


def doubled(times: int) -> TorchObject:
    inner = torch_object("nn.Tanh")
    for _ in range(times):
        inner = torch_object("nn.Sequential", modules=[inner, inner])
    return inner


def test_paths_without_end_are_refused_before_they_are_gone() -> None:
    net = bind(doubled(40))
    for run in (lambda: retorch.convert(net, (1, 2)), lambda: net.forward(np.ones((1, 2)))):
        with pytest.raises(ConversionError, match="would run 2,199,023,255,551 layers, and 1,000,000 are allowed"):
            run()


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_file_with_paths_without_end_is_shown(tmp_path: Path, options: list[str]) -> None:
    retorch.write(tmp_path / "net.t7", doubled(40))
    begun = time.process_time()
    assert main(["inspect", str(tmp_path / "net.t7"), *options]) == 0
    assert time.process_time() - begun < 5
    with pytest.raises(ConversionError, match="1,000,000 are allowed"):
        retorch.load(tmp_path / "net.t7").input_shape()


def test_shared_modules_in_reason_run() -> None:
    assert retorch.convert(bind(doubled(3)), (1, 2), fold=False).run(np.ones((1, 2), np.float32))[0].shape == (1, 2)


@pytest.mark.parametrize(
    "layer",
    [
        torch_object("nn.SpatialUpSamplingNearest", scale_factor=10_000),
        torch_object("nn.Replicate", nfeatures=10**9, dim=1),
        torch_object("nn.SpatialZeroPadding", pad_l=10**9, pad_r=0, pad_t=10**5, pad_b=0),
    ],
)
def test_what_is_larger_than_memory_is_refused_and_nothing_replaced(layer: TorchObject, tmp_path: Path) -> None:
    retorch.write(tmp_path / "good.t7", sequential(torch_object("nn.Tanh")).layer.raw)
    retorch.write(tmp_path / "large.t7", sequential(layer).layer.raw)
    options = ["-o", str(tmp_path / "out"), "--input", "1x4x8x8"]
    assert main(["convert", str(tmp_path / "good.t7"), *options]) == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert main(["convert", str(tmp_path / "large.t7"), *options]) == 3
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_a_weight_that_shows_one_number_without_end_is_a_problem() -> None:
    weight = np.broadcast_to(np.float32(1), (1 << 20, 1 << 20))
    (problem,) = bind(torch_object("nn.Linear", weight=weight)).problems
    assert "'weight' should be a tensor that fits into memory" in problem.reason


def nested(kind: str, depth: int) -> TorchObject:
    inner = torch_object("nn.Tanh")
    for _ in range(depth):
        inner = torch_object(kind, modules=[inner])
    return inner


def test_five_thousand_modules_in_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = nested("nn.Sequential", 5000)
    net = bind(raw)
    x = np.ones((1, 2), np.float32)
    np.testing.assert_allclose(net.forward(x), np.tanh(x), rtol=1e-6)
    file, out = str(tmp_path / "deep.t7"), str(tmp_path / "out")
    retorch.write(file, raw)
    for command in (
        ["inspect", file],
        ["inspect", file, "--json"],
        ["clean", file, "-o", str(tmp_path / "clean.t7")],
        ["export", file, "-o", str(tmp_path / "deep.npz")],
        ["run", file, "--input", "1x2"],
        ["convert", file, "-o", out, "--input", "1x2"],
        ["verify", file, out],
    ):
        assert main(command) == 0, command
        capsys.readouterr()
    assert main(["convert", file, "-o", str(tmp_path / "model.py"), "--input", "1x2"]) == 3
    assert "stands inside 90 modules" in capsys.readouterr().err


def test_three_hundred_convert() -> None:
    x = np.ones((1, 2), np.float32)
    made = retorch.convert(bind(nested("nn.Sequential", 300)), (1, 2), fold=False)
    np.testing.assert_allclose(made.run(x)[0], np.tanh(x), rtol=1e-6)


def test_a_hundred_thousand_tables_in_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inner = LuaTable.of(1)
    for _ in range(100_000):
        inner = LuaTable.of(inner)
    file = str(tmp_path / "deep.t7")
    retorch.write(file, inner)
    assert main(["inspect", file]) == 0
    capsys.readouterr()
    assert main(["inspect", file, "--json"]) == 0
    assert '"deeper": true' in json.dumps(json.loads(capsys.readouterr().out))
    assert main(["clean", file, "-o", str(tmp_path / "clean.t7")]) == 0


def test_numbers_that_float32_cannot_hold_are_named() -> None:
    net = sequential(torch_object("nn.Linear", weight=np.full((2, 3), 1e300), bias=np.zeros(2)))
    with pytest.raises(
        UnsupportedError, match=r"modules\[1\] nn.Linear: weight holds 1e\+300, and float32 ends at 3.4e\+38"
    ):
        retorch.convert(net, (1, 3))


@pytest.mark.parametrize(("text", "count"), [("256M", 1 << 28), ("4G", 4 << 30), ("4GiB", 4 << 30), ("1tb", 1 << 40)])
def test_memory_is_said_in_units(text: str, count: int) -> None:
    assert limits.bytes_of(text) == count


@pytest.mark.parametrize("text", ["", "x", "-1", "1M", "4 apples"])
def test_memory_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--max-memory"):
        limits.bytes_of(text)


def test_escapes_in_names_are_shown_and_not_obeyed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steering = "\x1b]0;x\x07\r\x9b\u202e"
    table = LuaTable({steering: steering, "net": TorchObject("nn.Unknown", {steering: 1})})
    retorch.write(tmp_path / "x.t7", table)
    for command in (["inspect"], ["inspect", "--json"], ["convert", "-o", str(tmp_path / "out")]):
        main([command[0], str(tmp_path / "x.t7"), *command[1:]])
        said = "".join(capsys.readouterr())
        assert not set("\x1b\x07\r\x9b\u202e") & set(said), command
    assert module("nn.Tanh").problems == ()
