"""Scripts that were written for ``torchfile``: each changes its import, and nothing else."""

from __future__ import annotations

import copy
import io
from pathlib import Path

import numpy as np
import pytest

import retorch
from golden_cases import GOLDEN, Case
from retorch.compat import torchfile
from retorch.torch7 import LuaFunction, LuaTable

RESNET = GOLDEN / "net_lenet.t7"


def test_weights_by_attributes_and_layers_by_class_name() -> None:
    """As converters to other frameworks walk a network."""
    model = torchfile.load(str(RESNET))
    assert model.torch_typename() == b"nn.Sequential"
    found = []

    def walk(node):
        name = node._typename.decode().split(".")[-1]
        if name == "Sequential":
            for child in node.modules:
                walk(child)
        elif "Convolution" in name:
            found.append((name, node.weight.reshape(node.nOutputPlane, node.nInputPlane, node.kH, node.kW), node.bias))
        elif name == "Linear":
            found.append((name, node.weight, node.bias))

    walk(model)
    stored = retorch.load(RESNET).state_dict()
    weights = [array for name, array in stored.items() if name.endswith("weight")]
    assert len(found) == len(weights)
    for (_, weight, bias), wanted in zip(found, weights, strict=True):
        np.testing.assert_array_equal(weight, wanted)
        assert bias.ndim == 1


def test_fields_by_bytes_and_by_text_and_what_is_missing() -> None:
    model = torchfile.load(RESNET)
    first = model[b"modules"][0]
    assert first[b"kW"] == first["kW"] == first.kW == first._obj[b"kW"]
    assert first[b"nothing"] is None
    assert first["nothing"] is None
    assert first.nothing is None
    assert b"weight" in first._obj
    assert "torch_typename" in dir(first)
    assert repr(first).startswith("TorchObject(b'nn.SpatialConvolution")
    assert copy.copy(first).kW == first.kW
    assert first._version_number == 1


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """As char-rnn and cub write them: options, losses, strings that are no text."""
    table = LuaTable(
        {
            "i": 1000,
            "opt": LuaTable({"rnn_size": 128, "dropout": 0.5, "model": "lstm"}),
            "train_losses": LuaTable.of(3.5, 2.0, 1.0),
            "val_losses": LuaTable({1000: 1.5, 2000: 1.25}),
            "vocab": LuaTable({"a": 1, b"\xff": 2}),
            "img": "001.Black/x.jpg",
            "empty": LuaTable(),
            "yes": True,
            "nothing": LuaFunction(b"\x1bLua", LuaTable.of(1)),
        }
    )
    table["self"] = table
    retorch.write(tmp_path / "checkpoint.t7", table)
    return tmp_path / "checkpoint.t7"


def test_tables(checkpoint: Path) -> None:
    m = torchfile.load(str(checkpoint))
    assert m[b"opt"][b"rnn_size"] == 128
    assert m.opt.dropout == 0.5
    assert m[b"opt"][b"model"] == b"lstm"
    assert m[b"train_losses"] == [3.5, 2, 1]
    assert isinstance(m[b"train_losses"][1], int)
    assert sorted(m[b"val_losses"].items()) == [(1000, 1.5), (2000, 1.25)]
    assert m[b"vocab"][b"\xff"] == 2
    assert m[b"img"].split(b"/")[-1][:-4] == b"x"
    assert m[b"empty"] == []
    assert m[b"yes"] is True
    assert m[b"self"] is m
    assert {m: 1}[m] == 1
    assert m.missing is None
    with pytest.raises(TypeError):
        _ = m < m
    assert (m[b"nothing"].size, m[b"nothing"].dumped, m[b"nothing"].upvalues) == (4, b"\x1bLua", [1])


def test_the_settings_of_the_reader(checkpoint: Path) -> None:
    m = torchfile.load(checkpoint, utf8_decode_strings=True, force_8bytes_long=True)
    assert m["opt"]["model"] == "lstm"
    assert m["vocab"][b"\xff"] == 2
    floats = torchfile.load(checkpoint, use_int_heuristic=False)
    assert isinstance(floats[b"i"], float)
    assert floats[b"train_losses"] == {1.0: 3.5, 2.0: 2.0, 3.0: 1.0} or floats[b"train_losses"][1.0] == 3.5
    tables = torchfile.load(checkpoint, use_list_heuristic=False)
    assert tables[b"train_losses"][1] == 3.5


def test_arrays_can_be_written_and_share_what_they_shared() -> None:
    model = torchfile.load(GOLDEN / "SharedWeights_1.t7")
    first, second = model.modules[0].weight, model.modules[2].weight
    assert type(first) is np.ndarray
    first[:] = 0
    assert not second.any()


def test_one_value_after_the_other(tmp_path: Path) -> None:
    for i in range(2):
        retorch.write(tmp_path / f"{i}.t7", LuaTable.of(i, "x"))
    both = b"".join((tmp_path / f"{i}.t7").read_bytes() for i in range(2))
    reader = torchfile.T7Reader(io.BytesIO(both))
    assert [reader.read_obj(), reader.read_obj()] == [[0, b"x"], [1, b"x"]]
    with pytest.raises(torchfile.T7ReaderException):
        reader.read_obj()


def test_text_form_and_depth(tmp_path: Path) -> None:
    deep: object = 7
    for _ in range(5000):
        deep = LuaTable.of(deep)
    retorch.write(tmp_path / "deep.t7", deep, "ascii")
    value = torchfile.load(tmp_path / "deep.t7")
    for _ in range(5000):
        (value,) = value
    assert value == 7


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        torchfile.load(tmp_path / "nowhere.t7")


def test_tensors_as_numpy_has_them() -> None:
    case = Case(GOLDEN / "Linear_1.t7")
    linear = torchfile.load(case.path)
    x = case.arrays["input_0"]
    np.testing.assert_allclose(x @ linear.weight.T + linear.bias, case.arrays["output_0"], rtol=1e-4, atol=1e-5)
