"""Every golden case, by every route, against what Torch itself computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import retorch
from golden_cases import Case, cases, check, flatten

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
    inputs = iter(wide)

    def nest(item: object) -> object:
        return [nest(i) for i in item] if isinstance(item, list) else next(inputs)

    check(case.flat("output"), flatten(net.forward(nest(case.nested("input")))))


@every_case
def test_onnx_agrees_with_torch(case: Case, tmp_path: Path) -> None:
    network = retorch.convert(retorch.load(case.path), case.nested("input"))
    network.save(tmp_path / "model.onnx", format="onnx")
    check(case.flat("output"), retorch.Network.load(tmp_path / "model.onnx").run(*case.flat("input")))


@every_case
def test_caffe2_files_agree_with_torch(case: Case, tmp_path: Path) -> None:
    network = retorch.convert(retorch.load(case.path), case.nested("input"))
    network.save(tmp_path / "out", format="caffe2")
    check(case.flat("output"), retorch.Network.load(tmp_path / "out").run(*case.flat("input")))
