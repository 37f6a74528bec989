"""Objects by attribute, and a copy of a file that can be changed: read, changed, run, converted, written."""

from __future__ import annotations

import copy
import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest

import retorch
from golden_cases import GOLDEN

DOUBLE = GOLDEN / "Double_1.t7"


def sources(tmp_path: Path) -> dict[str, object]:
    raw = DOUBLE.read_bytes()
    (tmp_path / "a.t7").write_bytes(raw)
    (tmp_path / "a.t7.gz").write_bytes(gzip.compress(raw))
    root = retorch.read(raw)
    retorch.write(tmp_path / "ascii.t7", root, "ascii")
    return {"path": tmp_path / "a.t7", "bytes": raw, "gzip": tmp_path / "a.t7.gz", "ascii": tmp_path / "ascii.t7"}


@pytest.mark.parametrize("kind", ["path", "bytes", "gzip", "ascii"])
def test_what_is_read_writable_is_a_copy(kind: str, tmp_path: Path) -> None:
    source = sources(tmp_path)[kind]
    obj = retorch.read(source, writable=True)
    obj.modules[1].weight[:] = 7
    assert np.all(obj.modules[1].weight == 7)
    assert not np.any(retorch.read(source).modules[1].weight == 7)
    assert not retorch.read(source).modules[1].weight.flags.writeable


def test_fields_are_attributes(tmp_path: Path) -> None:
    obj = retorch.read(DOUBLE)
    assert obj.modules[1].weight is obj["modules"][1]["weight"]
    assert "modules" in dir(obj)
    obj.note = "mine"
    assert obj["note"] == "mine"
    with pytest.raises(AttributeError, match="has no field 'wieght'"):
        _ = obj.modules[1].wieght
    twin = copy.deepcopy(obj)
    assert twin.modules[1].weight is not obj.modules[1].weight
    assert pickle.loads(pickle.dumps(twin)).typename == "nn.Sequential"


def test_tensors_that_share_a_storage_still_do() -> None:
    obj = retorch.read(GOLDEN / "SharedWeights_1.t7", writable=True)
    first, second = (obj.modules[i].weight for i in (1, 3))
    assert np.shares_memory(first, second)


def test_an_object_changed_in_between_is_run_converted_and_written(tmp_path: Path) -> None:
    obj = retorch.read(DOUBLE, writable=True)
    obj.modules[1].weight[:] = 0
    obj.modules[1].bias = np.float32([1, 2, 3])
    x = np.ones((2, 4), np.float32)
    wanted = np.tanh(np.float32([[1, 2, 3]] * 2))
    net = retorch.load(obj)
    np.testing.assert_allclose(net(x), wanted, rtol=1e-6)
    np.testing.assert_allclose(retorch.convert(net, (2, 4)).run(x)[0], wanted, rtol=1e-6)
    retorch.write(tmp_path / "changed.t7", obj)
    np.testing.assert_allclose(retorch.load(tmp_path / "changed.t7")(x), wanted, rtol=1e-6)
