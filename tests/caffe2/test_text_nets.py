"""Nets in text form: every field that some Caffe2 knows is read, and what none knows is refused with its place."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format

from retorch.caffe2 import files
from retorch.caffe2.proto.caffe2_pb2 import NetDef
from retorch.engines.caffe2_runtime import Runtime
from retorch.errors import FormatError
from retorch.network import Network

#: Fields that both ages know.
OLD = """
name: "net"
op {
  input: "X" output: "Y" name: "r" type: "Scale" arg { name: "scale" f: 3.0 }
  arg { name: "t" t { dims: 1 float_data: 5 raw_data: "ab" segment { begin: 0 end: 1 } } }
  arg { name: "d" t { dims: 0 device_detail { device_type: 1 } } }
  arg { name: "n" n { op { type: "Relu" } } } arg { name: "ts" tensors { dims: 2 } }
  device_option { device_type: 0 device_id: 0 numa_node_id: 1 node_name: "here" extra_info: "a" }
  engine: "" control_input: "c" is_gradient_op: false debug_info: "made by hand" domain: "d" op_version: 2
}
type: "dag" num_workers: 4 external_input: "X" external_output: "Y" arg { name: "note" s: "x" }
"""
#: Fields that only 1.10 knows.
NEW = """
partition_info { name: "p" device_id: 0 device_id: 1 extra_info: "e"
                 backend_options { backend_name: "Glow" option { key: "k" val: "v" } } }
arg { name: "q" qtensors { dims: 1 precision: 8 scale: 0.5 bias: 0 is_signed: false data: 7 scales: 1 axis: 0
                           biases: 2 is_multiparam: true name: "q" data_type: INT32 } }
"""
#: Fields that only 1.0 knows.
GONE = """
arg { name: "t" t { dims: 1 storage_type: EXTERNAL
                    external_data { source_type: SIMPLE_FILE record_id: "r" offset: 8 strides: 1 record_size: 4 } } }
"""
SERIALISED = (
    "import sys; from google.protobuf import text_format; from caffe2.proto import caffe2_pb2 as c\n"
    "print(text_format.Parse(sys.stdin.read(), c.NetDef()).SerializeToString().hex())"
)


def stored(folder: Path, text: str, name: str = "predict_net.pbtxt") -> Path:
    (folder / name).write_text(text)
    (folder / "init_net.pb").write_bytes(b"\x0a\x04init")
    return folder


@pytest.mark.parametrize("text", [OLD, OLD + NEW, OLD + GONE], ids=["both", "1.10", "1.0"])
@pytest.mark.parametrize("name", ["predict_net.pbtxt", "predict_net.prototxt", "predict_net.pb"])
def test_nets_with_fields_of_every_age_are_read(text: str, name: str, tmp_path: Path) -> None:
    network = Network.load(stored(tmp_path, text, name))
    np.testing.assert_array_equal(network.run(np.float32([1, -2]))[0], np.float32([3, -6]))


@pytest.mark.caffe2
def test_the_real_caffe2_reads_the_same_text(caffe2: Runtime) -> None:
    text = OLD + (GONE if caffe2.version == "1.0.0" else NEW)
    done = subprocess.run(
        [caffe2.python, "-c", SERIALISED], input=text, capture_output=True, check=True, text=True
    ).stdout
    assert bytes.fromhex(done) == text_format.Parse(text, NetDef()).SerializeToString()


def test_the_device_has_the_name_that_2017_gave_it(tmp_path: Path) -> None:
    text = OLD.replace("device_id", "cuda_gpu_id").replace('debug_info: "made', 'debug_info: "cuda_gpu_id: 1 made')
    operator = files.read(stored(tmp_path, f"# it's from 2017\n{text}")).predict.op[0]
    assert operator.device_option.HasField("device_id")
    assert operator.debug_info == "cuda_gpu_id: 1 made by hand"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('op { type: "Relu"\n  colour: 3 }', 'line 2, column 3: Message type "caffe2.OperatorDef" has no field named'),
        ('name: "a"\nop { partition_info { } }', "line 2, column 6: "),
        ('op { arg { name: "a" i: "x" } }', "line 1, column 25: Couldn't parse integer"),
        ('op { type: "Relu" ', "line 1, column 12: Expected"),
        ("op { device_option { cuda_gpu_id: 0 colour: 3 } }", "line 1, column 37: "),
    ],
)
def test_what_no_age_knows_is_refused_with_its_place(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError) as caught:
        files.read(stored(tmp_path, text))
    assert f"{tmp_path / 'predict_net.pbtxt'}: not a Caffe2 net: {says}" in str(caught.value)
    assert "\n" not in str(caught.value)


FILLS = "op { output: 'w' type: 'GivenTensorFill' arg { name: 'shape' ints: 1 } arg { name: 'values' floats: 7 } }"


def test_an_init_net_in_text_is_known_by_what_is_in_it(tmp_path: Path) -> None:
    net = "external_input: 'X' external_input: 'w' op { type: 'Add' input: 'X' input: 'w' output: 'Y' }"
    (stored(tmp_path, net) / "init_net.pb").write_text(f"# weights\n\n{FILLS}")
    np.testing.assert_array_equal(Network.load(tmp_path).run(np.float32([1]))[0], np.float32([8]))


def test_an_init_net_without_bytes_fills_nothing(tmp_path: Path) -> None:
    (stored(tmp_path, OLD) / "init_net.pb").write_bytes(b"")
    network = Network.load(tmp_path)
    np.testing.assert_array_equal(network.run(np.float32([2]))[0], np.float32([6]))
    assert network.notes == ("init_net.pb has 0 bytes: a net that fills nothing, so that every blob is fed",)


@pytest.mark.caffe2
@pytest.mark.parametrize("name", ["predict_net.pbtxt", "predict_net.pb"])
def test_the_real_caffe2_runs_text_and_an_init_net_without_bytes(caffe2: Runtime, name: str, tmp_path: Path) -> None:
    text = OLD.replace(' numa_node_id: 1 node_name: "here"', "").replace("device_id", "cuda_gpu_id")
    (stored(tmp_path, text, name) / "init_net.pb").write_bytes(b"")
    np.testing.assert_array_equal(caffe2.run(tmp_path, [np.float32([2])])[0], np.float32([6]))
