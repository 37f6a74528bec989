"""The real Caffe2's end of the pipe: runs nets for ``retorch.engines.caffe2_runtime``, one request after the other.

Started as a script by the old interpreter that has Caffe2 (Python 3.6 and 3.9), so it imports nothing of retorch and
uses no younger Python than those. A message is a length (8 bytes, little-endian), so much JSON, and the bytes of the
arrays that the JSON lists, back to back. Whatever Caffe2 prints goes to standard error: the pipe is for messages alone.
"""

import importlib
import json
import os
import re
import struct
import sys
import typing
from pathlib import Path

if typing.TYPE_CHECKING:
    from typing import Any, BinaryIO

    from numpy.typing import NDArray

np = importlib.import_module("numpy")

MAX_MESSAGE = 2000
TEXT_FORMS = (".pbtxt", ".prototxt")
# How a net begins in text form, as in retorch.caffe2.messages.
TEXT = re.compile(rb"(?:\s|#[^\n]*\n)*(?:name|op|type|external_input|external_output|arg|device_option)\s*[:{]")


def read_message(stream: "BinaryIO") -> "tuple[dict[str, Any], dict[str, NDArray[Any]]] | None":
    """The next request and its arrays by name; None where the pipe has been closed."""
    prefix = stream.read(8)
    if len(prefix) < 8:
        return None
    request = json.loads(stream.read(struct.unpack("<q", prefix)[0]).decode())
    arrays: dict[str, NDArray[Any]] = {}
    for entry in request["arrays"]:
        dtype = np.dtype(entry["dtype"])
        count = int(np.prod(entry["shape"], dtype=np.int64))
        data = bytearray(stream.read(count * dtype.itemsize))
        arrays[entry["name"]] = np.frombuffer(data, dtype).reshape(entry["shape"])
    return request, arrays


def write_message(stream: "BinaryIO", answer: "dict[str, Any]", arrays: "list[NDArray[Any]]") -> None:
    """Sends one answer and its arrays."""
    arrays = [np.asarray(array, order="C") for array in arrays]
    answer["arrays"] = [{"name": "", "dtype": array.dtype.str, "shape": array.shape} for array in arrays]
    header = json.dumps(answer).encode()
    stream.write(struct.pack("<q", len(header)) + header)
    for array in arrays:
        stream.write(array.tobytes())
    stream.flush()


class Caffe2:
    """The modules of Caffe2, imported once."""

    def __init__(self) -> None:
        self.workspace = importlib.import_module("caffe2.python.workspace")
        self.proto = importlib.import_module("caffe2.proto.caffe2_pb2")
        self.text_format = importlib.import_module("google.protobuf.text_format")
        # Level 3 is what comes before an abort: all other failures are exceptions, and the rest is about the machine.
        self.workspace.GlobalInit(["caffe2", "--caffe2_log_level=3"])

    def version(self) -> str:
        """The version of the torch wheel, from its text: importing torch takes longer than Caffe2 itself."""
        packages = Path(str(importlib.import_module("caffe2").__file__)).parent.parent
        found = re.search(r"__version__ = '([0-9.]+)", (packages / "torch" / "version.py").read_text())
        return found.group(1) if found else "unknown"

    def net(self, path: str) -> "Any":
        """A NetDef from a file of either form."""
        net = self.proto.NetDef()
        data = Path(path).read_bytes()
        if path.endswith(TEXT_FORMS) or TEXT.match(data[:4096]):
            # what the releases of 2017 call device_id
            self.text_format.Parse(re.sub(r"\bcuda_gpu_id\b", "device_id", data.decode()), net)
        else:
            net.ParseFromString(data)
        return net

    def init_bytes(self, path: str) -> bytes:
        """The serialised init net; a binary one is passed on unread, as parsing it takes many times its size."""
        data = Path(path).read_bytes()
        if path.endswith(TEXT_FORMS) or TEXT.match(data[:4096]):
            return self.net(path).SerializeToString()
        return data

    def run(self, request: "dict[str, Any]", inputs: "dict[str, NDArray[Any]]") -> "list[NDArray[Any]]":
        """One pass through a net in a workspace of its own; the blobs that were asked for, in order."""
        self.workspace.ResetWorkspace()
        if request["predict"] == request["init"]:
            return self.run_container(request, inputs)
        predict = self.net(request["predict"])
        outputs = request["outputs"] or list(predict.external_output)
        if not predict.name:
            predict.name = "net"
        if request["predictor"]:
            return self.predict(request["init"], predict, inputs, outputs)
        if not self.workspace.RunNetOnce(self.init_bytes(request["init"])):
            raise RuntimeError("the init net failed")
        for name, array in inputs.items():
            self.workspace.FeedBlob(name, array)
        if not self.workspace.CreateNet(predict.SerializeToString()):
            raise RuntimeError("the predict net cannot be created")
        if not self.workspace.RunNet(predict.name):
            raise RuntimeError("the predict net failed")
        return self.fetched(outputs, predict)

    def run_container(self, request: "dict[str, Any]", inputs: "dict[str, NDArray[Any]]") -> "list[NDArray[Any]]":
        """The same for a predictor container, through Caffe2's own exporter."""
        exporter = importlib.import_module("caffe2.python.predictor.predictor_exporter")
        net = exporter.prepare_prediction_net(request["predict"], "minidb")
        for name, array in inputs.items():
            self.workspace.FeedBlob(name, array)
        if not self.workspace.RunNet(net):
            raise RuntimeError("the predict net failed")
        return self.fetched(request["outputs"] or list(net.Proto().external_output), net.Proto())

    def predict(
        self, init: str, predict: "Any", inputs: "dict[str, NDArray[Any]]", outputs: "list[str]"
    ) -> "list[NDArray[Any]]":
        """The same through ``workspace.Predictor``, which hands out the declared outputs only."""
        declared = list(predict.external_output)
        predictor = self.workspace.Predictor(self.init_bytes(init), predict.SerializeToString())
        results = predictor.run(inputs)
        return [results[declared.index(name)] for name in outputs]

    def fetched(self, names: "list[str]", net: "Any") -> "list[NDArray[Any]]":
        """Blobs that the net has made. FetchBlob turns the sizes of some that are tensors of MKL-DNN (1x1xHxW)."""
        ideep = self.proto.DeviceOption(device_type=self.proto.IDEEP)
        there = {
            name for op in net.op if op.device_option == ideep and op.type != "CopyIDEEPToCPU" for name in op.output[:1]
        }
        for name in there.intersection(names):
            copy = self.proto.OperatorDef(type="CopyIDEEPToCPU", input=[name], output=[name + "/cpu"])
            copy.device_option.CopyFrom(ideep)
            self.workspace.RunOperatorOnce(copy)
        return [self.fetch(name + "/cpu" if name in there else name) for name in names]

    def fetch(self, name: str) -> "NDArray[Any]":
        """A blob of numbers."""
        array = self.workspace.FetchBlob(name)
        if not isinstance(array, np.ndarray) or array.dtype == object:
            raise RuntimeError("blob " + name + " holds no numbers")
        return array


def explain(error: Exception) -> str:
    """The message of an exception without the addresses of the C++ stack, and the kind of the operator that failed."""
    text = str(error) or type(error).__name__
    short = re.split(r"\(most recent call first\)|frame #0:", text)[0].strip()
    operator = re.search(r'Error from operator:[^\0]*?type: "(\w+)"', text)
    if operator and operator.group(1) not in short[:MAX_MESSAGE]:
        short = operator.group(1) + ": " + short
    return short[:MAX_MESSAGE]


def main() -> None:
    """Answers requests until the pipe is closed."""
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    caffe2 = Caffe2()
    write_message(pipe, {"version": caffe2.version()}, [])
    while True:
        message = read_message(sys.stdin.buffer)
        if message is None:
            return
        try:
            arrays = caffe2.run(*message)
        except Exception as error:  # any failure of a net is an answer; the worker goes on
            write_message(pipe, {"error": explain(error)}, [])
        else:
            write_message(pipe, {}, arrays)


if __name__ == "__main__":
    main()
