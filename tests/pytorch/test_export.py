"""Twins go on: through ``torch.export`` and ``torch.onnx.export``, whose ONNX computes what retorch's own does."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import onnxruntime
import pytest
from tests.pytorch.conftest import interpreter

import retorch
from golden_cases import GOLDEN, Case, check
from retorch.engines import real_pytorch

NETWORKS = [
    "net_densenet",
    "net_hourglass",
    "net_lenet",
    "net_openface_like",
    "net_resnet",
    "net_siamese",
    "net_spynet_level",
    "net_style_transfer",
    "net_unet",
    "net_volumetric_c3d",
    "nngraph_multi",
    "nngraph_residual",
]


@pytest.mark.pytorch
@pytest.mark.parametrize("name", NETWORKS)
def test_what_torch_exports_is_what_retorch_writes(name: str, tmp_path: Path) -> None:
    python = interpreter("2")
    if python is None:
        pytest.skip("PyTorch is not installed (make pytorch)")
    case = Case(GOLDEN / f"{name}.t7")
    net = retorch.load(case.path)
    retorch.convert(net, case.nested("input"), to="pytorch").save(tmp_path)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    files = [tmp_path / "model.py", case.path.with_suffix(".npz"), tmp_path / "exported.onnx"]
    command = [python, "-W", "ignore", Path(__file__).with_name("export.py"), real_pytorch.WORKER, *files]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, env=clean)
    if "Module onnx is not installed" in done.stderr:
        pytest.skip("onnx is not installed beside PyTorch (make pytorch)")
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == []
    session = onnxruntime.InferenceSession(tmp_path / "exported.onnx", providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    exported = session.run(None, dict(zip(names, case.flat("input"), strict=True)))
    check(retorch.convert(net, case.nested("input")).run(case.nested("input")), exported)
