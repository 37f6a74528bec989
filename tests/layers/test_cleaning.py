"""Cleaning keeps what a network computes and drops the rest; exporting keeps every number."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import retorch
from building import torch_object
from golden_cases import GOLDEN, Case, check, flatten
from retorch.cli import main
from retorch.errors import RetorchError
from retorch.layers.cleaning import clean, tensors
from retorch.torch7 import LuaTable, TorchTensor

GPU = ["cuda_cudnn_full", "cuda_cudnn_net", "cuda_net_resnet", "cudnn_net"]


@pytest.mark.parametrize("name", GPU)
def test_a_cleaned_network_computes_the_same_on_host_types(name: str, tmp_path: Path) -> None:
    case = Case(GOLDEN / f"{name}.t7")
    assert main(["clean", str(case.path), "-o", str(tmp_path / "clean.t7")]) == 0
    check(case.flat("output"), flatten(retorch.load(tmp_path / "clean.t7").forward(case.nested("input"))))
    written = (tmp_path / "clean.t7").read_bytes()
    assert b"Cuda" not in written
    assert b"cudnn." not in written


def test_gradients_and_buffers_are_emptied_and_the_file_shrinks(tmp_path: Path) -> None:
    source = GOLDEN / "KeptState_1.t7"
    assert main(["clean", str(source), "-o", str(tmp_path / "clean.t7")]) == 0
    root = retorch.read(tmp_path / "clean.t7")
    for module in root["modules"].sequence():
        assert module["output"].size == 0
    assert (tmp_path / "clean.t7").stat().st_size < 0.7 * source.stat().st_size


def test_a_slice_leaves_the_rest_of_its_storage_behind(tmp_path: Path) -> None:
    retorch.write(tmp_path / "whole.t7", np.zeros(100_000))
    whole = retorch.read(tmp_path / "whole.t7")
    assert clean({"part": whole}.get("part")).root.size == 100_000
    flattened = GOLDEN / "Flattened_1.t7"
    assert main(["clean", str(flattened), "-o", str(tmp_path / "clean.t7")]) == 0
    case = Case(flattened)
    check(case.flat("output"), flatten(retorch.load(tmp_path / "clean.t7").forward(case.nested("input"))))


def test_shared_weights_stay_shared(tmp_path: Path) -> None:
    assert main(["clean", str(GOLDEN / "SharedWeights_1.t7"), "-o", str(tmp_path / "clean.t7")]) == 0
    before = {
        a.__array_interface__["data"][0] for _, a in tensors(retorch.read(GOLDEN / "SharedWeights_1.t7")) if a.size
    }
    after = {a.__array_interface__["data"][0] for _, a in tensors(retorch.read(tmp_path / "clean.t7")) if a.size}
    assert len(after) <= len(before)
    net = retorch.load(tmp_path / "clean.t7")
    blobs = retorch.convert(net, (2, 4), fold=False).caffe2().params
    assert len([name for name in blobs if name.endswith("_w")]) == 1


@pytest.mark.parametrize(("dtype", "expected"), [("float", np.float32), ("half", np.float16)])
def test_every_float_takes_the_precision_asked_for(dtype: str, expected: type, tmp_path: Path) -> None:
    assert main(["clean", str(GOLDEN / "Double_1.t7"), "-o", str(tmp_path / "c.t7"), "--dtype", dtype]) == 0
    kinds = {a.dtype for _, a in tensors(retorch.read(tmp_path / "c.t7")) if a.dtype.kind == "f"}
    assert kinds == {np.dtype(expected)}


def test_cycles_survive_cleaning() -> None:
    table = retorch.LuaTable({"a": 1})
    table["self"] = table
    made = clean(table).root
    assert made["self"] is made


@pytest.mark.parametrize("kind", ["npz", "safetensors", "json", "hdf5"])
def test_every_tensor_is_exported_under_its_path(kind: str, tmp_path: Path) -> None:
    suffix = {"hdf5": "h5"}.get(kind, kind)
    target = tmp_path / f"weights.{suffix}"
    assert main(["export", str(GOLDEN / "Double_1.t7"), "-o", str(target)]) == 0
    expected = retorch.read(GOLDEN / "Double_1.t7")["modules"][1]["weight"]
    np.testing.assert_array_equal(exported(target, kind, "modules[1].weight"), expected)
    (tmp_path / "any").touch()
    assert target.stat().st_mode == (tmp_path / "any").stat().st_mode


def exported(path: Path, kind: str, name: str) -> np.ndarray:
    if kind == "npz":
        return np.load(path)[name]
    if kind == "json":
        return np.asarray(json.loads(path.read_text())[name]["data"])
    if kind == "hdf5":
        with pytest.importorskip("h5py").File(path) as file:
            return file[name][...]
    return pytest.importorskip("safetensors.numpy").load_file(path)[name]


@pytest.mark.parametrize("path", sorted(GOLDEN.rglob("*.t7")), ids=lambda path: path.stem)
def test_no_file_becomes_larger(path: Path, tmp_path: Path) -> None:
    assert main(["clean", str(path), "-o", str(tmp_path / "clean.t7")]) == 0
    assert (tmp_path / "clean.t7").stat().st_size <= path.stat().st_size


def test_what_functions_share_with_the_network_is_written_once(tmp_path: Path) -> None:
    weight = np.ones((40, 50), np.float32)
    file = tmp_path / "closure.t7"
    retorch.write(file, {"weight": weight, "closure": retorch.LuaFunction(b"\x1bLJ", LuaTable.of(weight))})
    cleaned = clean(retorch.read(file)).root
    assert cleaned["closure"].upvalues[1] is cleaned["weight"]


def test_a_cleaned_file_exports_what_is_left(tmp_path: Path) -> None:
    net = torch_object("cudnn.ReLU", output=np.ones((2, 3), np.float32), scale=np.ones(4, np.float32))
    retorch.write(tmp_path / "net.t7", net)
    assert main(["clean", str(tmp_path / "net.t7"), "-o", str(tmp_path / "clean.t7")]) == 0
    assert main(["export", str(tmp_path / "clean.t7"), "-o", str(tmp_path / "all.npz")]) == 0
    with np.load(tmp_path / "all.npz") as stored:
        assert {name: stored[name].shape for name in stored.files if stored[name].size} == {"scale": (4,)}


def test_weights_that_are_tied_transposed_stay_on_one_storage(tmp_path: Path) -> None:
    rows, columns = 60, 80
    retorch.write(tmp_path / "weight.t7", np.arange(rows * columns, dtype=np.float32).reshape(rows, columns))
    weight = retorch.read(tmp_path / "weight.t7")
    turned = weight.view(np.ndarray).T.view(TorchTensor)
    turned = turned.named(weight.facts._replace(sizes=(columns, rows), strides=(1, columns)))
    encoder = torch_object("nn.Linear", weight=weight, bias=np.zeros(rows, np.float32))
    decoder = torch_object("nn.Linear", weight=turned, bias=np.zeros(columns, np.float32), output=np.ones(9))
    source, target = tmp_path / "tied.t7", tmp_path / "clean.t7"
    retorch.write(source, torch_object("nn.Sequential", modules=[encoder, decoder]))
    assert main(["clean", str(source), "-o", str(target)]) == 0
    assert target.stat().st_size < source.stat().st_size
    left, right = (part["weight"] for part in retorch.read(target)["modules"].sequence())
    np.testing.assert_array_equal(left, weight)
    np.testing.assert_array_equal(right, np.asarray(weight).T)


@pytest.mark.parametrize("path", sorted(GOLDEN.rglob("*.t7")), ids=lambda path: path.stem)
def test_a_cleaned_file_exports_the_weights_of_the_first(path: Path, tmp_path: Path) -> None:
    try:
        before = retorch.load(path).state_dict()
    except RetorchError:
        pytest.skip("not one network")
    assert main(["clean", str(path), "-o", str(tmp_path / "clean.t7")]) == 0
    assert main(["export", str(tmp_path / "clean.t7"), "-o", str(tmp_path / "w.npz"), "--weights"]) == 0
    with np.load(tmp_path / "w.npz") as after:
        assert after.files == list(before)
        for name, array in before.items():
            np.testing.assert_array_equal(after[name], array)
