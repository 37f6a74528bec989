"""A record belongs to the files that it was written for, and to no others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import retorch
from building import sequential, torch_object
from retorch.cli import main
from retorch.errors import UsageError
from retorch.files import record
from retorch.files.record import Record


def model(path: Path, kind: str) -> Path:
    retorch.write(path, sequential(torch_object(kind)).layer.raw)
    return path


def convert(source: Path, target: Path) -> None:
    assert main(["convert", str(source), "-o", str(target), "--input", "2x3"]) == 0


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A folder with two ONNX files of different networks."""
    convert(model(tmp_path / "tanh.t7", "nn.Tanh"), tmp_path / "L1.onnx")
    convert(model(tmp_path / "relu.t7", "nn.ReLU"), tmp_path / "L2.onnx")
    return tmp_path


def test_each_file_has_a_record_of_its_own(two: Path) -> None:
    assert (two / "L1.onnx.json").exists()
    assert (two / "L2.onnx.json").exists()
    assert not (two / "retorch.json").exists()
    assert record.source_of(two / "L1.onnx")[0] == two / "tanh.t7"
    assert record.source_of(two / "L2.onnx")[0] == two / "relu.t7"


def test_a_folder_of_caffe2_files_has_one_with_the_digests_of_all(tmp_path: Path) -> None:
    convert(model(tmp_path / "m.t7", "nn.Tanh"), tmp_path / "out")
    stored = json.loads((tmp_path / "out" / "retorch.json").read_text())
    assert sorted(stored["files"]) == ["init_net.pb", "predict_net.pb", "predict_net.pbtxt"]
    assert Record.read(tmp_path / "out" / "predict_net.pb") == Record.read(tmp_path / "out")


def test_another_networks_record_is_passed_over_and_said_so(two: Path) -> None:
    (two / "L1.onnx").write_bytes((two / "L2.onnx").read_bytes())
    assert Record.read(two / "L1.onnx") is None
    with pytest.raises(UsageError, match=r"L1\.onnx\.json was passed over: L1\.onnx is not the file"):
        record.source_of(two / "L1.onnx")
    report = retorch.verify(retorch.load(two / "relu.t7"), two / "L1.onnx")
    assert report.ok
    assert any("L1.onnx.json was passed over" in note for note in report.notes)


def test_converting_again_leaves_no_record_of_the_network_before(two: Path) -> None:
    convert(two / "L2.onnx", two / "L1.onnx")
    assert not (two / "L1.onnx.json").exists()


def broken(**changes: Any) -> str:
    whole: dict[str, Any] = {
        "source": "m.t7",
        "source_sha256": "",
        "at": "",
        "files": {},
        "inputs": [{"name": "data", "dtype": "float32", "shape": [1]}],
        "layers": [],
        "tolerance": None,
        "max_error": None,
        "engines": [],
        "notes": [],
        "version": "1",
        "description": {},
    }
    return json.dumps(whole | changes)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        "[" * 100_000,
        "\ud800",
        broken(source=1),
        broken(files=[]),
        broken(files={"m.onnx": 1}),
        broken(files={"../m.onnx": ""}),
        broken(files={"m\0.onnx": ""}),
        broken(inputs=[1]),
        broken(inputs=[{"name": "x", "dtype": "float32", "shape": [[]]}]),
        broken(layers=[{}]),
        broken(layers=[{"path": 1, "typename": "", "operators": [], "blobs": []}]),
        broken(notes="no list"),
        broken(tolerance="1"),
    ],
)
def test_what_is_no_record_is_passed_over(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.onnx.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    (tmp_path / "m.onnx").write_bytes(b"")
    assert Record.read(tmp_path / "m.onnx") is None
    assert any("passed over" in note for note in record.passed_over(tmp_path / "m.onnx"))


def test_a_whole_one_is_read(tmp_path: Path) -> None:
    (tmp_path / "m.onnx.json").write_text(broken())
    found = Record.read(tmp_path / "m.onnx")
    assert found is not None
    assert found.source == "m.t7"


def test_a_source_that_is_no_file_is_not_opened(two: Path) -> None:
    stored = json.loads((two / "L1.onnx.json").read_text()) | {"source": "/dev/zero"}
    (two / "L1.onnx.json").write_text(json.dumps(stored))
    with pytest.raises(UsageError, match="is not the file that was converted"):
        record.source_of(two / "L1.onnx")


def test_nothing_is_replaced_where_verification_fails_to_end(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in two.iterdir()}

    def fails(*_: object, **__: object) -> None:
        raise UsageError("no")

    monkeypatch.setattr("retorch.verification.verify", fails)
    assert main(["convert", str(two / "relu.t7"), "-o", str(two / "L1.onnx"), "--input", "2x3"]) == 2
    assert {path.name: path.read_bytes() for path in two.iterdir()} == before


def test_weights_past_the_limit_stand_in_a_file_named_after_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    from retorch.graph import onnx_file

    monkeypatch.setattr(onnx_file, "LIMIT", 1000)
    one, other = (
        sequential(torch_object("nn.Linear", weight=np.full((30, 40), n, np.float32), bias=np.zeros(30, np.float32)))
        for n in (1, 2)
    )
    target = tmp_path / "m.onnx"
    first = retorch.convert(one, (1, 40)).save(target, format="onnx")
    assert [path.name.rsplit(".", 1)[1] for path in first] == ["onnx", "data"]
    kept = (tmp_path / "old.onnx", first[1])
    kept[0].write_bytes(target.read_bytes())
    data = first[1].read_bytes()
    second = retorch.convert(other, (1, 40)).save(target, format="onnx")
    assert sorted(path.name for path in tmp_path.glob("*.data")) == [second[1].name]  # the old one's is gone
    kept[1].write_bytes(data)
    x = np.ones((1, 40), np.float32)
    assert retorch.Network.load(target).run(x)[0][0, 0] == 80
    assert retorch.Network.load(tmp_path / "old.onnx").run(x)[0][0, 0] == 40
