"""Proof is only worth something if it convicts: wrong files are found, and the wrong layer is named."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

import retorch
from golden_cases import GOLDEN, Case, cases, flatten
from retorch.caffe2 import files
from retorch.layers.base.layer import Layer
from retorch.layers.base.memory import tensors
from retorch.verification import verify

NETS = [c for c in cases(".") if c.name.startswith("net_")]


def written(case: Case, folder: Path) -> retorch.Module:
    net = retorch.load(case.path)
    retorch.convert(net, case.nested("input"), fold=False).save(folder, format="caffe2")
    return net


@pytest.mark.parametrize("case", NETS, ids=[c.name for c in NETS])
def test_numbers_per_layer_are_those_of_an_independent_computation(case: Case, tmp_path: Path) -> None:
    net = written(case, tmp_path)
    report = verify(net, tmp_path, inputs=case.flat("input"), layers=True)
    assert report.ok, report.verdict
    assert report.culprits == ()
    rows = {row.blob: row for row in report.witnesses[0].layers}
    assert len(rows) > 3
    got = retorch.Network.load(tmp_path).intermediate(list(rows), *case.flat("input"))
    truth = recorded_by_hand(net, case)
    compared = 0
    for blob, row in rows.items():
        expected = truth.get(row.path)
        if expected is None or row.whole is None:
            continue
        error = float(np.max(np.abs(expected - got[blob].astype(np.float64))))
        assert row.whole.max_abs == pytest.approx(error, rel=1e-9, abs=1e-15)
        assert row.whole.scale == pytest.approx(float(np.max(np.abs(expected))), rel=1e-12)
        compared += 1
    assert compared > 3


def recorded_by_hand(net: retorch.Module, case: Case) -> dict[str, np.ndarray]:
    """Float64 outputs of the layers that run once and give one tensor."""
    seen: dict[str, list[np.ndarray]] = {}

    def listen(module: Layer, _: object, y: object) -> None:
        made = list(tensors(y))  # type: ignore[arg-type]
        seen.setdefault(module.path, []).append(made[0].copy() if len(made) == 1 else np.empty(0))

    def widen(x: object) -> object:
        return [widen(i) for i in x] if isinstance(x, list) else np.asarray(x, np.float64)

    net.forward(widen(case.nested("input")), listen)  # type: ignore[arg-type]
    return {path: outputs[0] for path, outputs in seen.items() if len(outputs) == 1 and outputs[0].size}


def patch_a_weight(net: files.Caffe2Net, rng: random.Random) -> str:
    """The weights of one output of one layer, far off."""
    name = rng.choice([n for n in net.params if n.endswith("_w")])
    array = net.params[name].copy()
    # a single weight may meet an input that is zero everywhere
    flat = array.reshape(len(array), -1)
    flat[rng.randrange(len(flat)), :] += 10 * max(1.0, float(np.abs(flat).max()))
    net.params[name] = array
    return name.removesuffix("_w")


def swap_a_kernel(net: files.Caffe2Net, rng: random.Random) -> str:
    """Height for width in the kernel of one convolution or pooling that is not square."""
    operators = [op for op in net.predict.op if op.type in ("MaxPool", "AveragePool")]
    op = rng.choice(operators)
    for argument in op.arg:
        if argument.name in ("kernels", "strides"):
            argument.ints[0] += 1
    return op.output[0]


def drop_a_bias(net: files.Caffe2Net, rng: random.Random) -> str:
    """The bias of one convolution."""
    op = rng.choice([op for op in net.predict.op if op.type == "Conv" and len(op.input) == 3])
    del op.input[2]
    return op.output[0]


SABOTAGES = [patch_a_weight, drop_a_bias, swap_a_kernel]


@pytest.mark.parametrize("seed", range(21))
def test_the_sabotaged_layer_is_the_first_and_only_culprit(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    names = ["net_lenet", "net_alexnet_lrn", "digits"] if seed % 3 == 2 else ["net_resnet", "net_densenet", "digits"]
    name = rng.choice(names)
    case = Case(GOLDEN / ("digits/digits.t7" if name == "digits" else f"{name}.t7"))
    net = written(case, tmp_path)
    stored = files.read(tmp_path)
    broken = files.Caffe2Net(stored.predict, dict(stored.params), stored.inputs)
    blob = SABOTAGES[seed % 3](broken, rng)
    files.write(tmp_path, broken)
    report = verify(net, tmp_path, inputs=case.flat("input"), layers=True)
    assert not report.ok
    assert [row.blob for row in report.culprits] == [blob]
    if not report.witnesses[0].failed:
        first = report.first_divergence
        assert first is not None
        assert first.blob == blob


def test_a_network_of_another_shape_is_told_by_its_outputs(tmp_path: Path) -> None:
    written(Case(GOLDEN / "Double_1.t7"), tmp_path)
    other = retorch.load(GOLDEN / "Linear_1.t7")
    x = np.zeros((3, 4), np.float32)
    with pytest.raises(retorch.errors.RetorchError):
        verify(other, tmp_path, inputs=[x])


def test_the_same_seed_gives_the_same_numbers(tmp_path: Path) -> None:
    net = written(Case(GOLDEN / "net_lenet.t7"), tmp_path)
    first, second = verify(net, tmp_path, seed=7), verify(net, tmp_path, seed=7)
    assert first.as_dict() == second.as_dict()
    assert flatten([m.max_abs for m in first.witnesses[0].outputs]) != [0.0]


def small(weight: float) -> retorch.Module:
    """Outputs of a millionth."""
    from building import sequential, torch_object

    bias = np.zeros(3, np.float32)
    return sequential(torch_object("nn.Linear", weight=np.full((3, 4), weight, np.float32), bias=bias))


def test_small_outputs_are_measured_against_their_own_scale(tmp_path: Path) -> None:
    retorch.convert(small(1e-6), (1, 4)).save(tmp_path / "m.onnx")
    assert verify(small(1e-6), tmp_path / "m.onnx").ok
    assert not verify(small(2e-6), tmp_path / "m.onnx").ok


def test_nan_against_nan_is_no_agreement(tmp_path: Path) -> None:
    net = small(float("nan"))
    retorch.convert(net, (1, 4)).save(tmp_path / "m.onnx")
    report = verify(net, tmp_path / "m.onnx")
    assert not report.ok
    assert "all values are NaN: nothing was compared" in report.verdict
    assert any("3 of 3 values are NaN: not compared" in note for note in report.notes)
