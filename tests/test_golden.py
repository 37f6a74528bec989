"""Every golden case, by every route, against what Torch itself computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import retorch
from golden_cases import Case, cases, check, flatten
from retorch.caffe2.device import TO_IDEEP
from retorch.caffe2.emit import mkldnn
from retorch.caffe2.emit.net import EmitOptions
from retorch.engines.caffe2_runtime import Runtime

CASES = cases()
every_case = pytest.mark.parametrize("case", CASES, ids=[c.name for c in CASES])


@every_case
def test_reference_agrees_with_torch(case: Case) -> None:
    net = retorch.load(case.path)
    check(case.flat("output"), flatten(net.forward(case.nested("input"))))


@every_case
def test_float64_reference_agrees_with_torch(case: Case) -> None:
    net = retorch.load(case.path)
    wide = [x.astype(np.float64) if x.dtype.kind == "f" else x for x in case.flat("input")]
    check(case.flat("output"), flatten(net.forward(nest(case, wide))))


@every_case
def test_onnx_agrees_with_torch(case: Case, tmp_path: Path) -> None:
    network = retorch.convert(retorch.load(case.path), case.nested("input"), fold=False)
    network.save(tmp_path / "model.onnx", format="onnx")
    check(case.flat("output"), retorch.Network.load(tmp_path / "model.onnx").run(*case.flat("input")))


@every_case
def test_caffe2_files_agree_with_torch(case: Case, tmp_path: Path) -> None:
    network = retorch.convert(retorch.load(case.path), case.nested("input"), fold=False)
    network.save(tmp_path / "out", format="caffe2")
    check(case.flat("output"), retorch.Network.load(tmp_path / "out").run(*case.flat("input")))


@pytest.mark.caffe2
@every_case
def test_real_caffe2_agrees_with_torch(case: Case, tmp_path: Path, caffe2: Runtime) -> None:
    network = retorch.convert(retorch.load(case.path), case.nested("input"), fold=False)
    network.save(tmp_path, format="caffe2")
    inputs = [x.astype(np.float32) for x in case.flat("input")]
    check(case.flat("output"), caffe2.run(tmp_path, inputs))


@pytest.mark.caffe2
@every_case
def test_real_mkldnn_agrees_with_torch(
    case: Case, tmp_path: Path, caffe2: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """These networks are small: all that may go to the device does."""
    monkeypatch.setattr(mkldnn, "_START", 0)
    monkeypatch.setattr(mkldnn, "_COPY", 0)
    network = retorch.convert(retorch.load(case.path), case.nested("input"), fold=False)
    options = EmitOptions("1.10" if caffe2.version.startswith("1.10") else "1.0", mkldnn=True)
    network.save(tmp_path, options=options)
    if any(op.type == TO_IDEEP for op in network.caffe2(options).predict.op):  # else it is a net like any other
        check(case.flat("output"), caffe2.run(tmp_path, [x.astype(np.float32) for x in case.flat("input")]))


@every_case
def test_folded_network_agrees_with_torch(case: Case, tmp_path: Path) -> None:
    network = retorch.convert(retorch.load(case.path), case.nested("input"), fold=True)
    network.save(tmp_path, format="caffe2")
    check(case.flat("output"), retorch.Network.load(tmp_path).run(*case.flat("input")))


@every_case
def test_another_batch_size_agrees_with_the_reference(case: Case) -> None:
    net = retorch.load(case.path)
    network = retorch.convert(net, case.nested("input"), fold=False)
    if any(isinstance(size, str) for port in network.inputs for size in port.shape or ()):
        axis = (network.inputs[0].shape or ()).index("N")
        larger = [np.concatenate([x, np.take(x, [0], axis)], axis) for x in case.flat("input")]
        expected = flatten(net.forward(nest(case, larger)))
        check(expected, network.run(*larger))
    else:
        assert all(isinstance(size, int) for port in network.inputs for size in port.shape or ())


def nest(case: Case, arrays: list[np.ndarray]) -> object:
    """Flat arrays in the nesting of a case's input."""
    left = iter(arrays)

    def visit(item: object) -> object:
        return [visit(i) for i in item] if isinstance(item, list) else next(left)

    return visit(case.nested("input"))
