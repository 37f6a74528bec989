"""``retorch check``: what the mobile builds of 2017 lack of a network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import retorch
from building import sequential, torch_object
from caffe2.nets import Row, row
from golden_cases import GOLDEN
from retorch.caffe2.versions import lacks
from retorch.cli import main

IMAGE, VECTOR = (2, 4, 6, 6), (2, 4)
# A net, the shapes of its blobs, and how what is missing begins.
LACKING = [
    (row("Sqrt X -> Y", X=IMAGE), {}, "Y: Sqrt: there is no such operator (instead: Pow"),
    (row("ReduceMean X -> Y | axes=1, keepdims=0", X=IMAGE), {}, "Y: ReduceMean: there is no such operator"),
    (row("Frobnicate X -> Y", X=IMAGE), {}, "Y: Frobnicate: it is not on the list"),
    (row("AveragePool X -> Y | kernel=3 count_include_pad=1", X=IMAGE), {}, "Y: AveragePool: the argument count_in"),
    (row("ConvTranspose X w -> Y | kernel=2 group=2", X=IMAGE, w=(4, 2, 2, 2)), {}, "Y: ConvTranspose: the argument"),
    (row("Conv X w -> Y | kernel=3 group=2 dilation=2", X=IMAGE, w=(4, 2, 3, 3)), {}, "Y: Conv: groups and dilation"),
    (row("BatchMatMul X Z -> Y | broadcast=1", X=(2, 3, 4), Z=(4, 5)), {}, "Y: BatchMatMul: the argument broadcast"),
    (row("Gather X i -> Y | axis=1", X=VECTOR, i=[0]), {}, "Y: Gather: the argument axis"),
    (row("SpatialBN X s b m v -> Y | is_test=1", X=VECTOR), {"X": VECTOR}, "Y: SpatialBN: it takes no batches"),
    (row("Add X w -> Y", X=IMAGE, w=(1, 4, 1, 1)), {"X": IMAGE}, "Y: Add: operands of different shapes"),
    (row("Mul X Z -> Y", X=IMAGE, Z=(4, 1, 1)), {"X": IMAGE, "Z": (4, 1, 1)}, "Y: Mul: operands of different shapes"),
    (row("Add X w -> Y | broadcast=1", X=IMAGE, w=(4, 1, 1)), {"X": IMAGE}, "Y: Add: operands that do not broadcast"),
]
FINE = [
    (row("Conv X w b -> Y | kernel=3 group=2", X=IMAGE, w=(4, 2, 3, 3), b=(4,)), {}),
    (row("Conv X w -> Y | kernel=3 dilation=2", X=IMAGE, w=(4, 4, 3, 3)), {}),
    (row("AveragePool X -> Y | kernel=3 count_include_pad=0", X=IMAGE), {}),
    (row("ConvTranspose X w -> Y | kernel=2 group=1", X=IMAGE, w=(4, 2, 2, 2)), {}),
    (row("Add X w -> Y | broadcast=1 axis=1", X=IMAGE, w=(4,)), {"X": IMAGE}),
    (row("Add X w -> Y | broadcast=1 axis=1", X=IMAGE, w=(4,)), {"X": ("N", 4, 6, 6)}),
    (row("Mul X w -> Y | broadcast=1", X=IMAGE, w=(1,)), {"X": IMAGE}),
    (row("Add X Z -> Y | broadcast=1", X=IMAGE, Z=(6, 6)), {"X": IMAGE, "Z": (6, 6)}),
    (row("Add X Z -> Y", X=IMAGE, Z=IMAGE), {"X": ("N", 4, 6, 6), "Z": ("N", 4, 6, 6)}),
    (row("Add X Z -> Y", X=IMAGE, Z=(4,)), {}),
    (row("SpatialBN X s b m v -> Y | is_test=1", X=IMAGE), {"X": IMAGE}),
]
CASES = [pytest.param(*case, id=str(case[0])) for case in LACKING]
GOOD = [pytest.param(*case, id=f"{case[0]} {case[1]}") for case in FINE]


@pytest.mark.parametrize(("net", "shapes", "start"), CASES)
def test_lacking(net: Row, shapes: dict[str, tuple[int | str | None, ...]], start: str) -> None:
    found = [str(lack) for lack in lacks(net.net(), shapes, {}, 0)]
    assert len(found) == 1
    assert found[0].startswith(start)


@pytest.mark.parametrize(("net", "shapes"), GOOD)
def test_there(net: Row, shapes: dict[str, tuple[int | str | None, ...]]) -> None:
    assert lacks(net.net(), shapes, {}, 0) == []


def test_weights_of_a_type_that_came_later() -> None:
    net = row("Copy X -> Y", X=VECTOR).net()
    found = lacks(net, {}, {"w": "GivenTensorByteStringToUInt8Fill", "b": "GivenTensorFill"}, 0)
    assert [(lack.blob, lack.operator) for lack in found] == [("w", "GivenTensorByteStringToUInt8Fill")]


@pytest.mark.parametrize(("size", "count"), [(1 << 30, 0), ((1 << 30) + 1, 1)])
def test_weights_that_are_too_large(size: int, count: int) -> None:
    assert len(lacks(row("Copy X -> Y", X=VECTOR).net(), {}, {}, size)) == count


def test_arguments_beyond_the_fields_of_its_protobuf() -> None:
    net = row("Copy X -> Y", X=VECTOR).net()
    net.predict.op[0].arg.add(name="body").n.name = "inner"
    assert [lack.what[:17] for lack in lacks(net, {}, {}, 0)] == ["the argument body"]


def test_a_plain_network_runs_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conv = {"nInputPlane": 3, "nOutputPlane": 2, "kW": 3, "kH": 3, "dW": 1, "dH": 1, "padW": 1, "padH": 1}
    weight = np.ones((2, 3, 3, 3), np.float32)
    layers = [torch_object("nn.SpatialConvolution", **conv, weight=weight), torch_object("nn.ReLU")]
    retorch.convert(sequential(*layers), (1, 3, 6, 6), fold=False).save(tmp_path)
    assert main(["check", str(tmp_path), "--ops", "0.8.1"]) == 0
    assert "Caffe2 0.8.1 has all of it (2 operators" in capsys.readouterr().out


def test_shapes_come_from_the_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(GOLDEN / "digits" / "digits.t7"), "-o", str(tmp_path), "--no-verify"]) == 0
    capsys.readouterr()
    assert main(["check", str(tmp_path), "--json"]) == 1
    found = {(lack["operator"], lack["what"]) for lack in json.loads(capsys.readouterr().out)["lacks"]}
    assert ("ReduceMax", "there is no such operator") in found
    assert ("Sub", "operands of different shapes") in found  # the logarithms of the soft maximum, row by row


def test_what_is_missing_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = sequential(torch_object("nn.Sqrt"), torch_object("nn.CMul", size=(1, 3, 2), weight=np.ones((1, 3, 2), "f")))
    retorch.convert(net, (1, 3, 2), fold=False).save(tmp_path)
    assert main(["check", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "sqrt1" in out
    assert "Pow with the exponent 0.5" in out
    assert main(["check", str(tmp_path), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [lack["operator"] for lack in found["lacks"]] == ["Sqrt"]


def test_only_one_release_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path), "--ops", "0.4"]) == 2
    assert "the operators of 0.8.1 are known" in capsys.readouterr().err
