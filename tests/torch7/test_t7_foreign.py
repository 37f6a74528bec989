"""What is not a ``.t7`` is called by its name."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from retorch.caffe2.proto import caffe2_pb2
from retorch.errors import FormatError
from retorch.torch7 import read


def zipped(name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, b"content")
    return file.getvalue()


def npy(*, packed: bool) -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.ones(3)) if packed else np.save(file, np.ones(3))
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    return file.getvalue()


def onnx_model() -> bytes:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], [value])
    return helper.make_model(graph).SerializeToString()


def bare_onnx_model() -> bytes:
    return onnx.ModelProto(ir_version=3, graph=onnx.GraphProto(name="g")).SerializeToString()


def caffe2_net(name: str) -> bytes:
    net = caffe2_pb2.NetDef(name=name) if name else caffe2_pb2.NetDef()
    net.op.add(type="Relu", input=["x"], output=["y"])
    return net.SerializeToString()


FOREIGN: list[tuple[str, bytes]] = [
    ("the file is empty", b""),
    ("a PyTorch file (1.6 or later", zipped("archive/data.pkl")),
    ("a zip archive", zipped("readme.txt")),
    ("a NumPy archive (.npz)", npy(packed=True)),
    ("a NumPy array (.npy)", npy(packed=False)),
    ("a PyTorch file (before 1.6)", pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)),
    ("a Python pickle", pickle.dumps({"a": 1}, protocol=2)),
    ("a Python pickle", pickle.dumps({"a": 1}, protocol=4)),
    ("a tar archive", tarred()),
    ("an HDF5 file", b"\x89HDF\r\n\x1a\n" + bytes(16)),
    ("a safetensors file", (64).to_bytes(8, "little") + b'{"weight":{"dtype":"F32"}}'),
    ("an ONNX model", onnx_model()),
    ("an ONNX model", bare_onnx_model()),
    ("a Caffe2 network", caffe2_net("predict_net")),
    ("a Caffe2 network", caffe2_net("")),
    ("a web page", b"\n<!DOCTYPE html><html><title>404"),
    ("a web page", b"<html>\n<head>"),
    ("an XML document", b'<?xml version="1.0"?><Error>'),
    ("a Git LFS pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"),
    ("a JSON document", b'{"layers": []}'),
    ("a network description in text", b'name: "LeNet"\nlayer {\n'),
    ("plain text", "Le modèle est ici:\n".encode()),
    ("plain text", b"0.5,0.25\n"),
    ("a bzip2 archive", b"BZh91AY&SY"),
    ("an xz archive", b"\xfd7zXZ\x00\x00"),
    ("Lua bytecode", b"\x1bLua\x51"),
    ("a damaged gzip archive", gzip.compress(b"content")[:-6]),
    ("a zip archive", gzip.compress(zipped("a.txt"))),
    ("it begins with fe ed fa ce", b"\xfe\xed\xfa\xce\x07\x00\x00\x01"),
]


@pytest.mark.parametrize(("what", "raw"), FOREIGN, ids=[what for what, _ in FOREIGN])
def test_named(what: str, raw: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        read(raw)
    assert what in str(caught.value)
    assert caught.value.offset == 0


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such file"):
        read(tmp_path / "model.t7")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="a folder"):
        read(tmp_path)


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "model.t7"
    path.touch()
    with pytest.raises(FormatError, match="empty"):
        read(path)
