"""Where a step of Torch7 differs from its twin's: that the reason given is what Torch7 did."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from tests.pytorch.conftest import interpreter

import retorch
from golden_cases import GOLDEN, Case
from retorch.engines import real_pytorch

pytestmark = pytest.mark.pytorch
HERE = Path(__file__).parent

#: Chains of a twin in which Torch7 reads on the way back what was overwritten: the chain's name; the places of its
#: modules, of which equal ones are one module in Torch7; and by place, what was written over its output afterwards.
CHAINS = {
    "random/rand_7_11": [["0.2", [0, 1, 0], {}], ["2.0.0.0.2", [0, 1, 0], {"0": "2.0.1"}]],
    "random/rand_7_16": [["2.1.0.1.1", [0, 1, 0], {}]],
    "random/rand_7_34": [["0.1", [0, 1, 0], {}]],
    "random/rand_7_40": [["1.1", [0, 1, 0], {}]],
    "Residual_1": [["0.0", [0, 1, 2], {"1": "2"}]],
}


def asked(script: str, case: Case, folder: Path, *more: str) -> list[str]:
    python = interpreter("2")
    if python is None:
        pytest.skip("PyTorch is not installed (make pytorch)")
    retorch.convert(retorch.load(case.path), case.nested("input"), to="pytorch").save(folder)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    files = [folder / "model.py", case.path.with_suffix(".npz"), GOLDEN / "train" / f"{case.name}.npz"]
    command = [python, "-W", "ignore", HERE / script, real_pytorch.WORKER, *files, *more]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True, env=clean)
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", CHAINS)
def test_torchs_gradient_is_that_of_what_its_buffers_hold(name: str, tmp_path: Path) -> None:
    case = Case(GOLDEN / f"{name}.t7")
    assert asked("overwritten.py", case, tmp_path, json.dumps(CHAINS[name])) == []


def test_gradients_of_clones_that_share_weights_add_up_to_the_twins(tmp_path: Path) -> None:
    assert asked("made_weights.py", Case(GOLDEN / "SharedWeights_1.t7"), tmp_path, "clones") == []


def test_torch_writes_the_gradient_of_v_over_that_of_the_weight_made_of_it(tmp_path: Path) -> None:
    assert asked("made_weights.py", Case(GOLDEN / "WeightNorm_1.t7"), tmp_path, "v") == []
