"""The real Caffe2 in its own process: nets in milliseconds, and crashes that stay outside."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from retorch.caffe2 import files
from retorch.caffe2.files import Caffe2Net
from retorch.caffe2.proto.caffe2_pb2 import NetDef
from retorch.engines import caffe2_runtime
from retorch.engines.caffe2_runtime import Runtime
from retorch.errors import EngineError, UsageError

W = np.float32([[1, 2, 3], [-1, 0, 1]])
B = np.float32([10, 20])
X = np.float32([[1, 1, 1], [0, 0, 2]])
Y = np.float32([[16, 20], [16, 22]])  # X @ W.T + B, by hand


def linear(**more: np.ndarray) -> Caffe2Net:
    """A fully connected layer and a rectifier; ``more`` are blobs that nothing reads."""
    params = {"w": W, "b": B, **more}
    net = NetDef(name="net", external_input=["data", *params], external_output=["y"])
    net.op.add(type="FC", input=["data", "w", "b"], output=["fc"])
    net.op.add(type="Relu", input=["fc"], output=["y"])
    return Caffe2Net(net, params, ("data",))


def save(folder: Path, *, text: bool = False) -> Path:
    files.write(folder, linear())
    if text:
        (folder / "predict_net.pb").unlink()
    return folder


@pytest.mark.caffe2
class TestRealCaffe2:
    @pytest.mark.parametrize("predictor", [False, True])
    def test_runs_a_net_by_position_and_by_name(self, caffe2: Runtime, tmp_path: Path, predictor: bool) -> None:
        save(tmp_path)
        for inputs in ([X], {"data": X}):
            (y,) = caffe2.run(tmp_path, inputs, predictor=predictor)
            np.testing.assert_array_equal(y, Y)

    def test_text_form_runs_too(self, caffe2: Runtime, tmp_path: Path) -> None:
        np.testing.assert_array_equal(caffe2.run(save(tmp_path, text=True), [X])[0], Y)

    def test_any_blob_can_be_fetched(self, caffe2: Runtime, tmp_path: Path) -> None:
        y, fc, w = caffe2.run(save(tmp_path), [-X], ["y", "fc", "w"])
        np.testing.assert_array_equal(fc, [[4, 20], [4, 18]])
        np.testing.assert_array_equal(y, fc)
        np.testing.assert_array_equal(w, W)

    @pytest.mark.parametrize("packed", [True, False])
    @pytest.mark.parametrize(
        "array",
        [
            np.float32([[np.nan, -np.inf, -0.0], [1e-45, 3.4e38, 1.0]]),
            np.int32([[-(2**31), 2**31 - 1]]),
            np.int64([-(2**63), 2**63 - 1, 0, 127, 128]),
            np.array([True, False, True]),
            np.arange(256, dtype=np.uint8).reshape(2, 128),
            np.float64([0.5, -(2.0**100)]),
            np.float32(2.5),
            np.zeros((0, 3), np.float32),
        ],
        ids=lambda array: f"{getattr(array, 'dtype', array)}{getattr(array, 'shape', '')}",
    )
    def test_every_fill_makes_the_blob(self, caffe2: Runtime, tmp_path: Path, array: np.ndarray, packed: bool) -> None:
        files.write(tmp_path, linear(other=array), packed=packed)
        (other,) = caffe2.run(tmp_path, [X], ["other"])
        assert (other.dtype, other.shape) == (array.dtype, array.shape)
        assert other.tobytes() == array.tobytes()

    @pytest.mark.parametrize(
        "array",
        [
            np.float32([[np.nan, -np.inf, -0.0], [1e-45, 3.4e38, 1.0]]),
            np.float64([1 / 3]),
            np.int32([-(2**31), 2**31 - 1]),
            np.int64([-(2**63), 2**63 - 1]),
            np.array([True, False, True]),
            np.arange(256, dtype=np.uint8),
            np.arange((8 << 20) + 5, dtype=np.float32).reshape(-1, 1),  # two chunks
        ],
        ids=lambda array: f"{array.dtype}{array.shape}",
    )
    def test_minidb_makes_the_blob(self, caffe2: Runtime, tmp_path: Path, array: np.ndarray) -> None:
        files.write(tmp_path, linear(other=array), init="minidb")
        other, y = caffe2.run(tmp_path, [X], ["other", "y"])
        assert (other.dtype, other.shape) == (array.dtype, array.shape)
        assert other.tobytes() == array.tobytes()
        np.testing.assert_array_equal(y, Y)

    def test_its_exporter_opens_our_predictor_container(self, caffe2: Runtime, tmp_path: Path) -> None:
        files.write_container(tmp_path / "net.minidb", linear(), {"data": (1, 3), "y": (1, 2)})
        y, w = caffe2.run(tmp_path / "net.minidb", [X], ["y", "w"])
        np.testing.assert_array_equal(y, Y)
        np.testing.assert_array_equal(w, W)

    def test_errors_of_a_net_are_told_and_the_worker_goes_on(self, caffe2: Runtime, tmp_path: Path) -> None:
        save(tmp_path)
        process = caffe2.process_id()
        with pytest.raises(EngineError, match=rf"Caffe2 {caffe2.version}: .*Dimension mismatch(.|\n)*FC"):
            caffe2.run(tmp_path, [X[:, :2]])
        with pytest.raises(EngineError, match="Can't find blob: nowhere"):
            caffe2.run(tmp_path, [X], ["nowhere"])
        np.testing.assert_array_equal(caffe2.run(tmp_path, [X])[0], Y)
        assert caffe2.process_id() == process

    def test_nothing_stays_from_the_net_before(self, caffe2: Runtime, tmp_path: Path) -> None:
        files.write(tmp_path / "one", linear(other=B))
        files.write(tmp_path / "two", linear())
        assert caffe2.run(tmp_path / "one", [X], ["other"])[0].tolist() == B.tolist()
        with pytest.raises(EngineError, match="Can't find blob: other"):
            caffe2.run(tmp_path / "two", [X], ["other"])

    def test_large_arrays_travel_both_ways(self, caffe2: Runtime, tmp_path: Path) -> None:
        x = np.arange(900_000, dtype=np.float32).reshape(-1, 3) % 17
        (y,) = caffe2.run(save(tmp_path), [x])
        np.testing.assert_array_equal(y[:2], [[18, 22], [36, 22]])
        assert y.shape == (300_000, 2)

    def test_wrong_number_of_inputs_is_said_before_anything_runs(self, caffe2: Runtime, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"takes 1 inputs \(data\), not 9"):
            caffe2.run(save(tmp_path), [X] * 9)

    def test_a_net_costs_milliseconds(self, caffe2: Runtime, tmp_path: Path) -> None:
        save(tmp_path)
        caffe2.run(tmp_path, [X])
        start = time.perf_counter()
        for _ in range(20):
            caffe2.run(tmp_path, [X])
        assert (time.perf_counter() - start) / 20 < 0.2  # starting Caffe2 takes more than that


# Stand-ins for an old interpreter: each speaks the protocol as far as its name says.
HELLO = """
import json, os, struct, sys, time
def say(answer):
    header = json.dumps(answer).encode()
    sys.stdout.buffer.write(struct.pack("<q", len(header)) + header)
    sys.stdout.buffer.flush()
def hear():
    size = struct.unpack("<q", sys.stdin.buffer.read(8))[0]
    request = json.loads(sys.stdin.buffer.read(size))
    sys.stdin.buffer.read(sum(4 * shape[0] * shape[1] for shape in (entry["shape"] for entry in request["arrays"])))
say({"version": "1.10.2", "arrays": []})
"""
ABORTS = HELLO + "hear(); print('*** glog: check failed', file=sys.stderr, flush=True); os.abort()"
HANGS = HELLO + "hear(); print('still thinking', file=sys.stderr, flush=True); time.sleep(60)"
DEAF = HELLO + "time.sleep(60)"
ANSWERS = HELLO + "hear(); say({'arrays': [{'name': '', 'dtype': '<f4', 'shape': [0, 2]}]}); hear()"
NO_CAFFE2 = "raise ImportError('No module named caffe2')"


def stand_in(folder: Path, *scripts: str) -> Path:
    """An executable that runs the first script at its first start, the second at its second, and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, script in enumerate(scripts):
        (folder / f"{number}.py").write_text(script)
    python = folder / "python"
    python.write_text(
        "#!/bin/sh\n"
        "for start in 0 1 2; do\n"
        f'  if mkdir "{folder}/taken$start" 2>/dev/null; then exec {sys.executable} "{folder}/$start.py"; fi\n'
        "done\n"
    )
    python.chmod(0o755)
    return python


def test_a_crash_is_an_error_with_its_last_words_and_the_next_call_starts_anew(tmp_path: Path) -> None:
    net = save(tmp_path / "net")
    with Runtime(stand_in(tmp_path / "bin", ABORTS, ANSWERS)) as crashing:
        with pytest.raises(EngineError, match=r"died \(signal 6\): \*\*\* glog: check failed"):
            crashing.run(net, [X])
        assert crashing.run(net, [X])[0].shape == (0, 2)


@pytest.mark.parametrize(("script", "rows", "says"), [(HANGS, 2, "stopped: still thinking"), (DEAF, 10**6, "stopped")])
def test_a_net_that_hangs_is_stopped(tmp_path: Path, script: str, rows: int, says: str) -> None:
    net = save(tmp_path / "net")
    with Runtime(stand_in(tmp_path / "bin", script), timeout=1.0) as hanging:
        start = time.monotonic()
        with pytest.raises(EngineError, match=f"took too long and was {says}"):
            hanging.run(net, [np.zeros((rows, 3), np.float32)])
        assert time.monotonic() - start < 10


def test_an_interpreter_without_caffe2_says_so(tmp_path: Path) -> None:
    net = save(tmp_path / "net")
    with pytest.raises(EngineError, match="No module named caffe2"):
        Runtime(stand_in(tmp_path / "bin", NO_CAFFE2)).run(net, [X])


def test_an_interpreter_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="cannot be started") as caught:
        Runtime(tmp_path / "python").run(save(tmp_path / "net"), [X])
    assert "RETORCH_CAFFE2_PYTHON" in (caught.value.hint or "")


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine on which nothing is installed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RETORCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RETORCH_CAFFE2_PYTHON", raising=False)
    return monkeypatch


def install(folder: Path, *scripts: str) -> None:
    (folder / "bin").mkdir(parents=True)
    stand_in(folder / "bin", *scripts)


def test_none_is_found_where_none_is(nowhere: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert Runtime.find() is None
    with pytest.raises(UsageError, match=r"the real Caffe2 1\.10 is not installed"):
        Runtime.require("1.10")


OLD = HELLO.replace("1.10.2", "1.0.0") + "time.sleep(60)"


@pytest.mark.parametrize(("wanted", "version"), [(None, "1.10.2"), ("1.10", "1.10.2"), ("1.0", "1.0.0"), ("1.1", None)])
def test_versions_are_told_apart(
    nowhere: pytest.MonkeyPatch, tmp_path: Path, wanted: str | None, version: str | None
) -> None:
    install(tmp_path / "home" / "caffe2-1.10.2", DEAF)
    install(tmp_path / "home" / "caffe2-1.0.0", OLD)
    found = Runtime.find(wanted)
    assert (found and found.version) == version
    if found is not None:
        found.close()


def test_an_installation_that_was_cut_off_is_passed_over(nowhere: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(tmp_path / "home" / "caffe2-1.10.2", NO_CAFFE2)
    install(tmp_path / ".caffe2" / "caffe2-1.0.0", OLD)
    with Runtime.require() as found:
        assert found.version == "1.0.0"


def test_the_named_interpreter_comes_first_and_must_work(nowhere: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(tmp_path / "home" / "caffe2-1.10.2", DEAF)
    nowhere.setenv("RETORCH_CAFFE2_PYTHON", str(stand_in(tmp_path / "named", OLD, OLD)))
    with Runtime.require() as found:
        assert found.version == "1.0.0"
    nowhere.setenv("RETORCH_CAFFE2_PYTHON", str(tmp_path / "missing"))
    with pytest.raises(EngineError, match="cannot be started"):
        Runtime.find()


def test_the_worker_uses_no_python_younger_than_the_old_interpreters() -> None:
    source = caffe2_runtime.WORKER.read_text()
    imports: Sequence[str] = [line.split()[1] for line in source.splitlines() if line.startswith(("import ", "from "))]
    assert "retorch" not in imports
    assert "__future__" not in imports  # annotations came with Python 3.7
    compile(source, "worker.py", "exec", flags=0, dont_inherit=True)
