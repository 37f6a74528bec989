"""Scripts that were written for PyTorch's ``load_lua``: each changes its import, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import retorch
from building import sequential, torch_object
from golden_cases import GOLDEN, Case, cases, check, flatten
from retorch.compat import load_lua
from retorch.engines import environments
from retorch.errors import UsageError
from retorch.torch7 import LuaTable

LENET = Case(GOLDEN / "net_lenet.t7")


def test_load_evaluate_forward() -> None:
    net = load_lua(str(LENET.path))
    net.evaluate()
    check(LENET.flat("output"), flatten(net.forward(LENET.nested("input"))))
    check(LENET.flat("output"), [net.output])


@pytest.mark.parametrize(
    "case", [c for c in cases(".") if "net_" in c.name or "Concat" in c.name], ids=lambda c: c.name
)
def test_every_network_runs_after_the_way_there_and_back(case: Case) -> None:
    check(case.flat("output"), flatten(load_lua(case.path).forward(case.nested("input"))))


def test_converters_walk_modules_by_the_name_of_their_class() -> None:
    """As ``convert_torch``-like scripts print PyTorch source."""
    lines = []

    def walk(module, depth):
        name = type(module).__name__
        if name in ("SpatialConvolution", "SpatialConvolutionMM"):
            lines.append(f"Conv2d({module.nInputPlane},{module.nOutputPlane},({module.kW},{module.kH}))")
        elif name in ("Threshold", "ReLU"):
            lines.append("ReLU()")
        elif name == "Linear":
            out, width = module.weight.shape
            lines.append(f"Linear({width},{out},bias={module.bias is not None})")
        for inside in getattr(module, "modules", []):
            walk(inside, depth + 1)

    walk(load_lua(LENET.path), 0)
    layers = [layer for layer in retorch.load(LENET.path).layers() if "weight" in layer.parameters()]
    assert sum("Conv2d" in line or "Linear" in line for line in lines) == len(layers)


def test_parameters_in_order_fill_another_model() -> None:
    weights, gradients = load_lua(LENET.path).parameters()
    wanted = [a for n, a in retorch.load(LENET.path).state_dict().items() if n.endswith(("weight", "bias"))]
    assert len(weights) == len(gradients) == len(wanted)
    for array, expected in zip(weights, wanted, strict=True):
        np.testing.assert_array_equal(np.asarray(array).reshape(expected.shape), expected)


def test_a_network_is_cut_and_changed() -> None:
    """As style transfer takes the first layers of a VGG, and others put a layer of their own in place."""
    net = load_lua(LENET.path)
    x = LENET.nested("input")
    whole = net.size()
    net.remove(whole - 1)
    assert net.size() == whole - 1
    bound = retorch.load(LENET.path)
    before = dict(zip(range(1, whole + 1), [None] * whole, strict=True))
    bound.forward(x, lambda layer, given, y: before.update({int(layer.path[8:-1]): y}) if layer.path else None)
    check([before[whole - 1]], [net.forward(x)])
    net.get(0).weight *= 0
    net.modules[0].bias = np.zeros_like(net.modules[0].bias)
    changed = net.forward(np.zeros_like(x))
    assert changed.shape == before[whole - 1].shape


def test_checkpoints_are_dicts_with_attributes_and_lists(tmp_path: Path) -> None:
    net = retorch.read(LENET.path)
    table = LuaTable({"model": net, "epoch": 3, "mean": LuaTable.of(0.5, 0.25), "txt": np.ones((2, 3), np.float32)})
    retorch.write(tmp_path / "checkpoint.t7", table)
    loaded = load_lua(tmp_path / "checkpoint.t7", unknown_classes=True, long_size=8)
    assert loaded.epoch == loaded["epoch"] == 3
    assert loaded.mean == [0.5, 0.25]
    assert loaded.txt.shape == (2, 3)
    check(LENET.flat("output"), flatten(loaded["model"].forward(LENET.nested("input"))))


def test_dimensions_count_from_zero_as_they_did(tmp_path: Path) -> None:
    parts = [
        torch_object("nn.Concat", dimension=2, modules=[torch_object("nn.Identity"), torch_object("nn.Identity")]),
        torch_object("nn.Transpose", permutations=[[2, 3]]),
        torch_object("nn.Select", dimension=2, index=1),
        torch_object("nn.Threshold", threshold=0.0, val=-1.0),
        torch_object("nn.Sum", dimension=2),
        torch_object("nn.Sum", dimension=-1),
    ]
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
    net = sequential(*parts)
    retorch.write(tmp_path / "net.t7", net.layer.raw)
    concat, transpose, select, threshold, total, last = load_lua(tmp_path / "net.t7").modules
    assert concat.dimension == 1
    assert transpose.permutations == [[1, 2]]
    assert (select.dimension, select.index) == (1, 0)
    assert threshold.value == -1.0
    assert (total.dimension, last.dimension) == (1, -1)
    check(flatten(net.forward(x)), flatten(load_lua(tmp_path / "net.t7").forward(x)))


def test_what_it_cannot_do_is_said() -> None:
    net = load_lua(LENET.path)
    with pytest.raises(UsageError, match="runs on the CPU"):
        net.cuda()
    with pytest.raises(UsageError, match="forward takes tensors, arrays and lists of such, not str"):
        net.forward("cat.png")
    assert repr(net).splitlines()[0] == "nn.Sequential {"


WITH_TORCH = """
import sys
import torch
from retorch.compat import load_lua

net = load_lua(sys.argv[1])
net.evaluate()
first = net.modules[0]
assert torch.is_tensor(first.weight), type(first.weight)
copy = torch.nn.Conv2d(first.nInputPlane, first.nOutputPlane, (first.kH, first.kW))
copy.weight.data.copy_(first.weight)
copy.bias.data.copy_(first.bias)
x = torch.randn(2, 1, 32, 32)
y = net.forward(x)
assert torch.is_tensor(y) and y.dtype == torch.float32, y
before = y.clone()
net.modules[0].weight.zero_()
assert not torch.equal(net.forward(x), before)
net.double()
assert net.forward(x.double()).dtype == torch.float64
print("same objects as torch", tuple(y.shape))
"""


AS_MODULE = """
import sys
import numpy as np
import torch
import retorch
from retorch.compat import load_lua

x = np.random.default_rng(0).standard_normal((2, 1, 32, 32)).astype(np.float32)
wanted = retorch.load(sys.argv[1]).forward(x)
old = load_lua(sys.argv[1])
for made in (old.pytorch(), retorch.to_pytorch(retorch.load(sys.argv[1]))):
    assert isinstance(made, torch.nn.Module), type(made)
    with torch.no_grad():
        y = made.eval()(torch.from_numpy(x)).numpy()
    assert np.abs(y - wanted).max() <= 1e-4 * max(1, np.abs(wanted).max())
old.modules[0].weight.zero_()
assert not next(old.pytorch().parameters()).any()
print("modules of torch")
"""


def torch_python() -> Path:
    """The interpreter of ``retorch pytorch install``, which runs today's packages too."""
    found = [p for p in environments.installed_interpreters("pytorch") if p.exists()]
    if not found or sys.version_info[:2] != (3, 11):
        pytest.skip("PyTorch is not installed for this Python (retorch pytorch install)")
    return found[0]


def run_with_torch(script: str) -> subprocess.CompletedProcess[str]:
    """A script with the digits, by the interpreter that has torch and with the packages of this one."""
    digits = GOLDEN / "digits" / "digits.t7"
    path = os.pathsep.join([str(Path(retorch.__file__).parents[1]), *(p for p in sys.path if "site-packages" in p)])
    command = [str(torch_python()), "-c", script, str(digits)]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)


@pytest.mark.pytorch
def test_where_torch_is_installed_tensors_are_torch_s() -> None:
    done = run_with_torch(WITH_TORCH)
    assert done.stdout.strip() == "same objects as torch (2, 10)", done.stderr


@pytest.mark.pytorch
def test_networks_become_modules_of_torch() -> None:
    done = run_with_torch(AS_MODULE)
    assert done.stdout.strip() == "modules of torch", done.stderr
