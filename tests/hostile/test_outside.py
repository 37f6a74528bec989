"""Nothing outside of a model's folder is read, archives stay small, and every tensor is exported."""

from __future__ import annotations

import gzip
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import retorch
from building import sequential, torch_object
from golden_cases import GOLDEN
from retorch import limits
from retorch.cli import main
from retorch.errors import FormatError, UsageError
from retorch.files import arrays
from retorch.files.unchanged import Unchanged
from retorch.torch7 import LuaTable

DIGITS = GOLDEN / "digits" / "digits.t7"


def external(folder: Path, location: str, length: int = 24) -> Path:
    """A model whose weight is said to be in another file."""
    net = sequential(torch_object("nn.Linear", weight=np.ones((2, 3), np.float32), bias=np.zeros(2, np.float32)))
    retorch.convert(net, (1, 3), fold=False).save(folder / "m.onnx", format="onnx")
    proto = onnx.load(folder / "m.onnx")
    weight = next(tensor for tensor in proto.graph.initializer if list(tensor.dims) in ([2, 3], [3, 2]))
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(length))):
        weight.external_data.add(key=key, value=value)
    (folder / "m.onnx").write_bytes(proto.SerializeToString())
    return folder / "m.onnx"


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "link", "sub/../../secret"])
def test_weights_outside_of_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret").write_bytes(b"x" * 24)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to("../secret")
    with pytest.raises(FormatError, match="outside of the model's folder"):
        retorch.Network.load(external(tmp_path / "in", location))


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are Unix's")
def test_weights_in_a_pipe_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w")
    with pytest.raises(UsageError, match="a pipe or a device"):
        retorch.Network.load(external(tmp_path, "w"))


def test_weights_that_end_too_soon_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"x" * 20)
    with pytest.raises(FormatError, match="which has 20 bytes"):
        retorch.Network.load(external(tmp_path, "w"))


def test_weights_in_the_folder_are_read(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(np.full(6, 2, np.float32).tobytes())
    y = retorch.Network.load(external(tmp_path, "w")).run(np.ones((1, 3), np.float32))
    assert y[0].tolist() == [[6, 6]]


def test_an_archive_larger_than_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_allowed", [1 << 20])
    (tmp_path / "x.t7").write_bytes(gzip.compress(bytes(1 << 22)))
    with pytest.raises(FormatError, match=r"unpacked, this file would need .* are allowed"):
        retorch.read(tmp_path / "x.t7")


def test_names_of_every_kind_are_exported_once() -> None:
    names = ["file", "allow_pickle", "__metadata__", "a/b", "a/b", "n" * 300, "n" * 301, "", "\x1b", "ok"]
    found, renamed = arrays.by_name((name, np.full(1, i)) for i, name in enumerate(names))
    assert sorted(int(array[0]) for array in found.values()) == list(range(len(names)))
    assert len(renamed) == len(names) - 1


@pytest.mark.parametrize("kind", ["npz", "safetensors", "json", "hdf5"])
def test_reserved_names_are_readable(kind: Any, tmp_path: Path) -> None:
    names = ("file", "allow_pickle", "__metadata__", "a/b", "x" * 70 + "1", "x" * 70 + "2")
    table = LuaTable({name: np.full((2,), i, np.float32) for i, name in enumerate(names)})
    retorch.write(tmp_path / "x.t7", table)
    target = tmp_path / f"x{arrays.SUFFIXES[kind]}"
    assert main(["export", str(tmp_path / "x.t7"), "-o", str(target)]) == 0
    assert sorted(read_back(kind, target)) == [0, 1, 2, 3, 4, 5]


def read_back(kind: str, path: Path) -> list[float]:
    if kind == "npz":
        with np.load(path) as stored:
            return [float(stored[name][0]) for name in stored.files]
    if kind == "safetensors":
        numpy = pytest.importorskip("safetensors.numpy")
        return [float(array[0]) for array in numpy.load_file(path).values()]
    if kind == "hdf5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(path) as stored:
            return [float(stored[name][0]) for name in stored]
    import json

    return [entry["data"][0] for entry in json.loads(path.read_text()).values()]


def test_tables_keyed_by_tensors_are_linear() -> None:
    keys = [np.zeros(1) for _ in range(40_000)]
    table = LuaTable((key, i) for i, key in enumerate(keys))
    assert len(table) == 40_000
    assert table[keys[-1]] == 39_999
    assert np.zeros(1) not in table


def test_elements_that_are_shown_many_times_are_written_once(tmp_path: Path) -> None:
    from retorch.torch7 import TensorFacts, TorchStorage, TorchTensor
    from retorch.torch7.objects import StorageFacts

    storage = np.ones(1, np.float32).view(TorchStorage).named(StorageFacts("torch.CudaStorage"))
    facts = TensorFacts("torch.CudaTensor", 1, (1 << 15, 1 << 15), (0, 0), 1, storage)
    tensor = np.broadcast_to(storage, (1 << 15, 1 << 15)).view(TorchTensor).named(facts)
    retorch.write(tmp_path / "x.t7", LuaTable({"w": tensor}))
    assert main(["clean", str(tmp_path / "x.t7"), "-o", str(tmp_path / "y.t7")]) == 0
    assert (tmp_path / "y.t7").stat().st_size < 500
    assert retorch.read(tmp_path / "y.t7")["w"].shape == (1 << 15, 1 << 15)


@pytest.mark.parametrize(("command", "name"), [("convert", "out"), ("clean", "clean.t7"), ("export", "tensors.npz")])
def test_a_file_that_changes_while_it_is_read_is_noticed(
    command: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "digits.t7"
    file.write_bytes(DIGITS.read_bytes())
    since_now = Unchanged.since_now

    def then_somebody_writes(path: Path) -> Unchanged:
        found = since_now(path)
        os.utime(path, ns=(1, 1))
        return found

    monkeypatch.setattr(Unchanged, "since_now", then_somebody_writes)
    assert main([command, str(file), "-o", str(tmp_path / name)]) == 3
    assert f"{file}: was changed while it was read" in capsys.readouterr().err
    assert command != "convert" or not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["a.npz", "a.safetensors", "a.json", "a.h5"])
def test_a_full_disk_is_one_error_and_leaves_no_part(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "large.t7"
    retorch.write(file, {"weight": np.random.default_rng(1).random((300, 400), np.float32)})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # or the limit ends the process
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        code = main(["export", str(file), "-o", str(tmp_path / name)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    said = capsys.readouterr().err
    assert (code, said.count("\n")) == (2, 1), said
    assert said.startswith(f"error: {tmp_path / name}: cannot be written: ")
    assert [path.name for path in tmp_path.iterdir()] == ["large.t7"]
