"""Every golden case as a twin: the outputs and the training steps of the real Torch7, in two versions of PyTorch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.pytorch.conftest import Judge

import retorch
from golden_cases import GOLDEN, Case, cases

#: Where one step of Torch7 is not what its formulas say, or has no counterpart; each with the reason.
#: ``test_exceptions.py`` shows of each that this is what Torch7 did.
OTHERWISE = {
    "Residual_1": "the sum in place overwrites the output that the rectifier before it reads on the way back",
    "SharedWeights_1": "the clones share weights, and not the tensors that gradients are added up in",
    "WeightNorm_1": "the truth names the weight, which is made of v and g; what it holds is the gradient of v",
    "rand_7_11": "a module that stands twice in a chain keeps its last output only, which PReLU reads on the way back",
    "rand_7_16": "a pooling that stands twice in a chain keeps its last indices only",
    "rand_7_34": "a convolution that stands twice in a chain keeps its last unfolded input only",
    "rand_7_40": "a module that stands twice in a chain keeps its last output only, which ReLU reads on the way back",
}
ALL = cases(".", "random")


def stored_weights(case: Case, folder: Path) -> Path:
    """The weights in the file whose gradients are known, by Torch's paths."""
    root, found = retorch.read(case.path), {}
    with np.load(GOLDEN / "train" / f"{case.name}.npz") as truth:
        paths = [name.removeprefix("grad:") for name in truth.files if name.startswith("grad:")]
    for path in paths:
        at: Any = root
        for name, place in re.findall(r"([A-Za-z]\w*)|(\d+)", path):
            at = at.get(name or int(place)) if at is not None else None
        if at is not None:
            found[path] = at
    np.savez(folder / "before.npz", **found)
    return folder / "before.npz"


@pytest.mark.pytorch
@pytest.mark.slow
@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_the_twin_computes_and_trains_as_torch_did(case: Case, judge: Judge, tmp_path: Path) -> None:
    net = retorch.load(case.path)
    retorch.convert(net, case.nested("input"), to="pytorch").save(tmp_path)
    train = GOLDEN / "train" / f"{case.name}.npz"
    trained = train if train.exists() and case.name not in OTHERWISE else None
    before = None if trained is None else stored_weights(case, tmp_path)
    assert judge(tmp_path / "model.py", case.path.with_suffix(".npz"), trained, before) == []


@pytest.mark.pytorch
@pytest.mark.parametrize("name", ["net_resnet", "net_unet", "Sequencer_LSTM", "SeqGRU_1", "nngraph_lstm"])
def test_networks_compute_and_train_as_torch_did(name: str, judge: Judge, tmp_path: Path) -> None:
    case = next(case for case in ALL if case.name == name)
    retorch.convert(retorch.load(case.path), case.nested("input"), to="pytorch").save(tmp_path)
    train = GOLDEN / "train" / f"{name}.npz"
    trained, before = (train, stored_weights(case, tmp_path)) if train.exists() else (None, None)
    assert judge(tmp_path / "model.py", case.path.with_suffix(".npz"), trained, before) == []
