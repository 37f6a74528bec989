"""Models that others published: each converts and agrees with the real Torch, or says what it lacks."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import retorch
from building import reference, through_caffe2, through_onnx
from golden_cases import check, flatten
from retorch.engines.caffe2_runtime import Runtime
from retorch.errors import FormatError, UnsupportedError, UsageError
from retorch.torch7 import LuaTable, read

pytestmark = pytest.mark.real

#: Files that come with an input and what the real Torch made of it.
MEASURED = """
    clementfarabet+torch-ios/ios_examples__XOR_Example_LoadPretrained__XOR_Example__xor_lua__xor_model.net
    jonathantompson+jtorch/tests_jtorch__testmodel.torch@74a84eb.bin
    jonathantompson+jtorch/tests_jtorch__testmodel.torch@816f9bc.bin
    socurites+QlearningExample.torch/TorchQLearningModel.t7
    socurites+QlearningExample.torch/TorchQLearningModel@dd257f5.t7
    socurites+tic-tac-toe-rl.torch/tictactoc-10-O.t7
    socurites+tic-tac-toe-rl.torch/tictactoc-12000-O.t7
    twitter+torch-autograd/test__data__model.th.51
    twitter+torch-autograd/test__data__model.th.52
    twitter+torch-autograd/test__data__model.th.53
    twitter+torch-autograd/test__data__model.th.JIT
""".split()

#: Files without that: where the network stands, and an input for it.
CONVERTIBLE: dict[str, tuple[str, Any]] = {
    "bshillingford+python-torchfile/gmodule_with_linear_identity.t7": ("", [(3, 1), (3, 2)]),
    "danhon+british-placenames/cv__checkpoint_1000.t7": ("model", "words"),
    "dilawar+hippo/cv__checkpoint_10000@8d6bdbe.t7": ("model", "words"),
    "flynn-chen+Torch-RNN-Trained/Adam__Adam_checkpoint_18000.t7": ("model", "words"),
    "jkeefe+torch-rnn/cv__checkpoint_1000@d3216db.t7": ("model", "words"),
    "soumith+cudnn.torch/test__modelTemp@5c89a67.t7": ("", (1, 11, 7, 8, 9)),
    "studian+torch-mc-cnn/net__net_kitti_fast_-a_train_all.t7": ("[1]", (2, 1, 9, 11)),
    "soumith+torch-android/demos__facedetector_e-lab__assets__face.net.arm": ("", (1, 42, 45)),
}

#: Of texture_nets: the channels that go in, and the innermost of the scales that the network joins.
TEXTURES = {
    **{
        f"DmitryUlyanov+texture_nets/supplementary__stylization_models__{name}_style@097df07.t7": (6, 7)
        for name in ("mosaic", "pleades", "starry")
    },
    **{
        f"DmitryUlyanov+texture_nets/supplementary__texture_models__{name}_model@097df07.t7": (3, 9)
        for name in ("bricks.png", "pebble.png", "pixelcity_windows2.jpg")
    },
}

#: Files that lack something: the classes, how often, and why.
LACKING: dict[str, dict[tuple[str, str], int]] = {
    # the statistics of 8 channels for 16: a GPU reads what lies behind them, which is not in the file
    **{file: {("nn.SpatialBatchNormalization", "8 channels, not sizes (2, 16, "): 1} for file in TEXTURES},
    **{
        f"twitter+torch-autograd/test__data__autoModel.th.{age}": {
            ("autograd.nn.module.AutoLinearReLU", "Lua function"): 1,
            ("autograd.nn.module.AutoLinear", "Lua function"): 1,
        }
        for age in ("51", "52", "53", "JIT")
    },
}

#: Files in which there is no network: tensors, tables, functions, criterions.
WITHOUT = """
    Element-Research+rnn/test__mnistsample.t7
    Nihal-M+resnet-viewpoint-regressor/latest.t7
    aasoni+gtsrb-nyu/data__test.t7
    bshillingford+python-torchfile/custom_class.t7
    bshillingford+python-torchfile/doubletensor.t7
    bshillingford+python-torchfile/floattensor.t7
    bshillingford+python-torchfile/function.t7
    bshillingford+python-torchfile/function_upvals.t7
    bshillingford+python-torchfile/hello=123.t7
    bshillingford+python-torchfile/list_table.t7
    bshillingford+python-torchfile/map_table1.t7
    bshillingford+python-torchfile/map_table2.t7
    bshillingford+python-torchfile/nngraph_node.t7
    bshillingford+python-torchfile/recursive_class.t7
    bshillingford+python-torchfile/recursive_kv_table.t7
    bshillingford+python-torchfile/tds_hash.t7
    bshillingford+python-torchfile/tds_vec.t7
    twitter+torch-autograd/test__data__autoCriterion.th.51
    twitter+torch-autograd/test__data__autoCriterion.th.52
    twitter+torch-autograd/test__data__autoCriterion.th.53
    twitter+torch-autograd/test__data__autoCriterion.th.JIT
    twitter+torch-autograd/test__data__criterion.th.51
    twitter+torch-autograd/test__data__criterion.th.52
    twitter+torch-autograd/test__data__criterion.th.53
    twitter+torch-autograd/test__data__criterion.th.JIT
""".split()

CUT_OFF = "jbr97+deepmask/model.t7"


def measured(real: Path, file: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The input of the real Torch, and its output; one tensor each."""
    with np.load(real / f"{file}.npz") as npz:
        assert json.loads(str(npz["input_nesting"])) == json.loads(str(npz["output_nesting"])) == 0
        return [npz["input_0"]], [npz["output_0"]]


def example(real: Path, file: str) -> Any:
    """An input for a file that comes without: numbers of some sizes, or letters of the vocabulary."""
    sizes, rng = CONVERTIBLE[file][1], np.random.default_rng(7)
    if sizes == "words":
        whole = read(real / file)
        assert isinstance(whole, LuaTable)
        model = whole["model"]
        letters = len(model["idx_to_token"])  # type: ignore[index]
        return rng.integers(1, letters + 1, (2, 6))
    return (
        [rng.standard_normal(s).astype(np.float32) for s in sizes]
        if isinstance(sizes, list)
        else rng.standard_normal(sizes).astype(np.float32)
    )


def test_every_file_is_expected_to_do_something(real: Path) -> None:
    found = {str(p.relative_to(real)) for p in real.glob("*/*") if p.suffix not in (".npz", ".tsv")}
    assert found == {*MEASURED, *CONVERTIBLE, *LACKING, *WITHOUT, CUT_OFF}
    assert {f"{name}.npz" for name in MEASURED} == {str(p.relative_to(real)) for p in real.glob("*/*.npz")}


@pytest.mark.parametrize("file", MEASURED)
def test_agrees_with_the_real_torch(file: str, real: Path) -> None:
    net = retorch.load(real / file)
    (x,), expected = measured(real, file)
    check(expected, flatten(net.forward(x)))
    check(expected, reference(net, x))
    check(expected, through_onnx(net, x))
    check(expected, through_caffe2(net, x))


@pytest.mark.caffe2
@pytest.mark.parametrize("file", MEASURED)
def test_agrees_in_the_real_caffe2(file: str, real: Path, caffe2: Runtime, tmp_path: Path) -> None:
    net = retorch.load(real / file)
    inputs, expected = measured(real, file)
    retorch.convert(net, inputs[0], fold=False).save(tmp_path, format="caffe2")
    check(expected, caffe2.run(tmp_path, inputs))


@pytest.mark.parametrize("file", CONVERTIBLE)
def test_converts(file: str, real: Path) -> None:
    net = retorch.load(real / file)
    assert net.at == CONVERTIBLE[file][0]
    x = example(real, file)
    expected = reference(net, x)
    check(expected, through_onnx(net, x))
    check(expected, through_caffe2(net, x))


@pytest.mark.caffe2
@pytest.mark.parametrize("file", CONVERTIBLE)
def test_runs_in_the_real_caffe2(file: str, real: Path, caffe2: Runtime, tmp_path: Path) -> None:
    net = retorch.load(real / file)
    x = example(real, file)
    retorch.convert(net, x, fold=False).save(tmp_path, format="caffe2")
    check(reference(net, x), caffe2.run(tmp_path, [t.astype(np.float32) for t in flatten(x)]))


def test_says_what_it_leaves_out(real: Path) -> None:
    net = retorch.load(real / "studian+torch-mc-cnn/net__net_kitti_fast_-a_train_all.t7")
    assert [note for note in net.notes if "nn.StereoJoin: left out" in note]


@pytest.mark.parametrize("file", LACKING)
def test_says_all_that_it_lacks(file: str, real: Path) -> None:
    net = retorch.load(real / file)
    with pytest.raises(UnsupportedError) as caught:
        retorch.convert(net, (2, TEXTURES.get(file, (6, 0))[0], 64, 64), fold=False)
    expected = LACKING[file]
    found = Counter(
        next((key for key in expected if key[0] == p.typename and key[1] in p.reason), (p.typename, p.reason))
        for p in caught.value.problems
    )
    assert found == expected
    paths = [p.path for p in caught.value.problems]
    assert len(set(paths)) == len(paths)


def textures(real: Path, file: str) -> tuple[retorch.Module, list[np.ndarray]]:
    """The two smallest scales of a texture net, and an input for them with its noise."""
    channels, depth = TEXTURES[file]
    net = retorch.load(real / file, at=".".join(["modules[1]"] * depth))
    rng = np.random.default_rng(7)
    x = rng.random((2, channels, 64, 64), np.float32)
    return net, [x, *(rng.random(shape, np.float32) for shape in net.noise_shapes(x))]


@pytest.mark.parametrize("file", TEXTURES)
def test_noise_becomes_inputs(file: str, real: Path) -> None:
    net, x = textures(real, file)
    assert [t.shape[1] for t in x[1:]] == [3, 3]
    expected = reference(net, x)
    check(expected, through_onnx(net, x))
    check(expected, through_caffe2(net, x))


@pytest.mark.caffe2
@pytest.mark.parametrize("file", TEXTURES)
def test_noise_becomes_inputs_in_the_real_caffe2(file: str, real: Path, caffe2: Runtime, tmp_path: Path) -> None:
    net, x = textures(real, file)
    retorch.convert(net, x[0].shape, fold=False).save(tmp_path, format="caffe2")
    check(reference(net, x), caffe2.run(tmp_path, x))


@pytest.mark.parametrize("file", WITHOUT)
def test_says_that_there_is_no_network(file: str, real: Path) -> None:
    with pytest.raises(UsageError, match="no network"):
        retorch.load(real / file)


def test_says_where_a_file_is_cut_off(real: Path) -> None:
    with pytest.raises(FormatError) as caught:
        retorch.load(real / CUT_OFF)
    assert caught.value.offset == 1308
    assert str(caught.value.path).startswith("model.scoreBranch.modules[2].gradBias")
