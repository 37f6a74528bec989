"""Predictor containers: ours say what Caffe2's exporter says, and theirs are read."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format

from retorch.caffe2 import files
from retorch.caffe2.files import Caffe2Net
from retorch.caffe2.proto.caffe2_pb2 import BlobProto, MetaNetDef, NetDef
from retorch.engines.caffe2_runtime import Runtime
from retorch.errors import FormatError, UsageError

W = np.float32([[1, 2], [3, 4], [5, 6]])
B = np.float32([-1, 0, 1])


def network() -> Caffe2Net:
    net = NetDef(name="net", external_input=["data", "w", "b"], external_output=["y"])
    net.op.add(type="FC", input=["data", "w", "b"], output=["y"])
    return Caffe2Net(net, {"w": W, "b": B}, ("data",))


# Caffe2's own exporter, given the same network: in the old interpreter, from our files.
EXPORT = """
import sys
import numpy as np
from caffe2.proto import caffe2_pb2
from caffe2.python import workspace
from caffe2.python.predictor import predictor_exporter
folder, path = sys.argv[1:]
net = caffe2_pb2.NetDef.FromString(open(folder + "/predict_net.pb", "rb").read())
workspace.RunNetOnce(open(folder + "/init_net.pb", "rb").read())
workspace.FeedBlob("data", np.ones((1, 2), np.float32))
workspace.RunNetOnce(net)
meta = predictor_exporter.PredictorExportMeta(
    predict_net=net, parameters=["w", "b"], inputs=["data"], outputs=["y"], shapes={"data": (1, 2), "y": (1, 3)}
)
predictor_exporter.save_to_db("minidb", path, meta)
"""

META = """
blobs { key: "PARAMETERS_BLOB_TYPE" value: "w" value: "b" }
blobs { key: "INPUTS_BLOB_TYPE" value: "data" }
blobs { key: "OUTPUTS_BLOB_TYPE" value: "y" }
nets {
  key: "PREDICT_INIT_NET_TYPE"
  value {
    name: "predict-init"
    op {
      output: "data" type: "ConstantFill"
      arg { name: "shape" ints: 1 ints: 2 } arg { name: "value" f: 0 }
    }
    op {
      output: "y" type: "ConstantFill"
      arg { name: "shape" ints: 1 ints: 3 } arg { name: "value" f: 0 }
    }
    external_input: "data" external_input: "y"
  }
}
nets {
  key: "GLOBAL_INIT_NET_TYPE"
  value {
    name: "global-init"
    op { input: "!!PREDICTOR_DBREADER" output: "w" output: "b" type: "Load" }
    external_input: "!!PREDICTOR_DBREADER" external_output: "w" external_output: "b"
  }
}
nets {
  key: "PREDICT_NET_TYPE"
  value {
    name: "net"
    op { input: "data" input: "w" input: "b" output: "y" type: "FC" }
    external_input: "data" external_input: "w" external_input: "b" external_output: "y"
  }
}
"""


def table_of_contents(path: Path) -> MetaNetDef:
    data = path.read_bytes()
    key, value = struct.unpack_from("<ii", data)
    assert data[8 : 8 + key] == b"!!META_NET_DEF"
    blob = BlobProto.FromString(data[8 + key : 8 + key + value])
    assert (blob.name, blob.type) == ("!!META_NET_DEF", "std::string")
    return MetaNetDef.FromString(blob.content)


def test_table_of_contents_is_what_the_exporter_writes(tmp_path: Path) -> None:
    files.write_container(tmp_path / "net.minidb", network(), {"data": (1, 2), "y": (1, 3)})
    assert table_of_contents(tmp_path / "net.minidb") == text_format.Parse(META, MetaNetDef())


@pytest.mark.caffe2
def test_container_of_the_real_exporter(caffe2: Runtime, tmp_path: Path) -> None:
    path = tmp_path / "theirs.minidb"
    files.write(tmp_path / "net", network())
    subprocess.run([caffe2.python, "-c", EXPORT, tmp_path / "net", path], check=True, capture_output=True)
    theirs = table_of_contents(path)
    for entry in theirs.nets:
        for op in entry.value.op:
            op.ClearField("name")  # it writes empty ones
        inputs = list(dict.fromkeys(entry.value.external_input))  # and lists its reader twice
        del entry.value.external_input[:]
        entry.value.external_input.extend(inputs)
        entry.value.name = "net" if entry.key == "PREDICT_NET_TYPE" else entry.value.name  # made unique
    assert theirs == text_format.Parse(META, MetaNetDef())

    net = files.read(path)
    assert net.inputs == ("data",)
    assert {name: array.tolist() for name, array in net.params.items()} == {"w": W.tolist(), "b": B.tolist()}
    x = np.float32([[1, 1], [2, 0]])
    assert caffe2.run(path, [x])[0].tolist() == [[2, 7, 12], [1, 6, 11]]


def test_container_is_read_by_name_and_by_folder(tmp_path: Path) -> None:
    written = files.write_container(tmp_path / "net.minidb", network())
    assert written.files == (tmp_path / "net.minidb",)
    assert [entry.name for entry in tmp_path.iterdir()] == ["net.minidb"]
    for path in (tmp_path, tmp_path / "net.minidb"):
        net = files.read(path)
        assert net.predict == network().predict
        assert net.inputs == ("data",)
        np.testing.assert_array_equal(net.params["w"], W)


def test_same_network_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        files.write_container(tmp_path / name, network())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def store(path: Path, meta: bytes) -> None:
    value = BlobProto(name="!!META_NET_DEF", type="std::string", content=meta).SerializeToString()
    path.write_bytes(struct.pack("<ii", 14, len(value)) + b"!!META_NET_DEF" + value)


BROKEN = [
    ("no message", b"\xff\xff", "not a predictor container"),
    ("no nets", MetaNetDef().SerializeToString(), "without a predict net (it has none)"),
    ("no tensors", text_format.Parse(META, MetaNetDef()).SerializeToString(), "has no tensors for w, b"),
]


@pytest.mark.parametrize(("what", "meta", "says"), BROKEN, ids=[row[0] for row in BROKEN])
def test_broken_containers_are_refused(tmp_path: Path, what: str, meta: bytes, says: str) -> None:
    store(tmp_path / "net.minidb", meta)
    with pytest.raises(FormatError) as caught:
        files.read(tmp_path)
    assert says in str(caught.value), what
    assert str(caught.value).startswith(f"{tmp_path / 'net.minidb'}: ")


def test_container_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    whole = tmp_path / "net.minidb"
    files.write_container(whole, network())
    whole.write_bytes(whole.read_bytes()[:-1])
    with pytest.raises(FormatError, match=r"not a minidb: expected a record of"):
        files.read(whole)


def test_path_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path, tmp_path / "file" / "net.minidb"):
        with pytest.raises(UsageError, match=f"{path}: cannot be written: "):
            files.write_container(path, network())
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
