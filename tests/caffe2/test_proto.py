"""Our own text of Caffe2's messages says what the real one says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from retorch.caffe2.proto import caffe2_pb2
from retorch.engines.caffe2_runtime import Runtime

# Prints the fields of all messages, in the real package.
DESCRIBE = """
import json
from caffe2.proto import caffe2_pb2, metanet_pb2
messages = {}
def walk(descriptors):
    for name, descriptor in descriptors.items():
        messages[descriptor.full_name] = {
            field.name: [field.number, field.type, field.label, bool(field.GetOptions().packed),
                         field.message_type.full_name if field.message_type else
                         dict((value.name, value.number) for value in field.enum_type.values) if field.enum_type else
                         field.default_value if field.has_default_value else None]
            for field in descriptor.fields
        }
        walk(descriptor.nested_types_by_name)
walk(caffe2_pb2.DESCRIPTOR.message_types_by_name)
walk(metanet_pb2.DESCRIPTOR.message_types_by_name)
print(json.dumps(messages))
"""
# What came between the two versions, and what went.
LATER = {
    *("TensorProto.data_format", "ZERO_COLLISION_HASH", "REBATCHING_BUFFER", "Argument.qtensors"),
    *("NetDef.partition_info", "QTensorProto.scales", "QTensorProto.biases", "QTensorProto.axis"),
    *("QTensorProto.is_multiparam", "PartitionInfo", "BackendOptions", "MapFieldEntry"),
}
GONE = {"TensorProto.storage_type", "TensorProto.external_data", "ExternalDataProto"}
# What a net holds; all their fields are ours.
OF_NETS = ("NetDef", "OperatorDef", "Argument", "TensorProto", "QTensorProto", "DeviceOption", "BlobProto", "PlanDef")
# protobuf calls the labels of a field by other names in every generation; the numbers are those of the format.
OPTIONAL, REQUIRED, REPEATED = 1, 2, 3


def label(field: FieldDescriptor) -> int:
    if getattr(field, "is_repeated", None) is not None:
        return REPEATED if field.is_repeated else REQUIRED if field.is_required else OPTIONAL
    return field.label


def describe(descriptor: Descriptor) -> dict[str, list[object]]:
    def detail(field: FieldDescriptor) -> object:
        if field.message_type:
            return field.message_type.full_name
        if field.enum_type:
            return {value.name: value.number for value in field.enum_type.values}
        return field.default_value if field.has_default_value else None

    return {
        field.name: [field.number, field.type, label(field), bool(field.GetOptions().packed), detail(field)]
        for field in descriptor.fields
    }


def messages(descriptors: dict[str, Descriptor]) -> list[Descriptor]:
    nested = [inner for descriptor in descriptors.values() for inner in messages(descriptor.nested_types_by_name)]
    return [*descriptors.values(), *nested]


OURS = messages(dict(caffe2_pb2.DESCRIPTOR.message_types_by_name))


@pytest.mark.caffe2
def test_every_field_is_the_real_one(caffe2: Runtime) -> None:
    printed = subprocess.run([caffe2.python, "-c", DESCRIBE], capture_output=True, check=True, text=True).stdout
    real = json.loads(printed)
    later = LATER if caffe2.version == "1.0.0" else GONE
    for descriptor in OURS:
        if descriptor.name in later:
            assert descriptor.full_name not in real or not real[descriptor.full_name]
            continue
        for name, field in describe(descriptor).items():
            if f"{descriptor.name}.{name}" in later:
                assert name not in real[descriptor.full_name]
                continue
            if isinstance(field[-1], dict):
                field[-1] = {value: number for value, number in field[-1].items() if value not in later}
            assert real[descriptor.full_name].get(name) == field, f"{descriptor.name}.{name}"
    ours = {descriptor.name: describe(descriptor).keys() for descriptor in OURS}
    for name in (*OF_NETS, *(() if caffe2.version == "1.0.0" else ("PartitionInfo", "BackendOptions"))):
        assert real[f"caffe2.{name}"].keys() <= ours[name]


def test_numbers_of_the_messages_that_are_written() -> None:
    by_name = {descriptor.name: {field.name: field.number for field in descriptor.fields} for descriptor in OURS}
    assert by_name["Argument"] == {
        "name": 1, "f": 2, "i": 3, "s": 4, "floats": 5, "ints": 6, "strings": 7, "n": 8, "nets": 9, "t": 10,
        "tensors": 11, "qtensors": 12,
    }  # fmt: skip
    assert by_name["NetDef"] == {
        "name": 1, "op": 2, "type": 3, "num_workers": 4, "device_option": 5, "arg": 6, "external_input": 7,
        "external_output": 8, "partition_info": 9,
    }  # fmt: skip
    assert by_name["BlobProto"] == {
        "name": 1, "type": 2, "tensor": 3, "content": 4, "qtensor": 5, "content_num_chunks": 6, "content_chunk_id": 7,
    }  # fmt: skip


def test_generated_module_asks_for_no_certain_runtime() -> None:
    assert "runtime_version" not in Path(caffe2_pb2.__file__).read_text()


@pytest.mark.parametrize("implementation", ["upb", "python"])
def test_either_implementation_of_protobuf_writes_the_same_bytes(implementation: str) -> None:
    script = (
        "from retorch.caffe2.proto.caffe2_pb2 import NetDef\n"
        "net = NetDef(name='n')\n"
        "net.op.add(type='Relu', output=['y']).arg.add(name='v', floats=[1, 2.5])\n"
        "print(net.SerializeToString().hex())"
    )
    environment = {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": implementation, "PYTHONPATH": ":".join(sys.path)}
    printed = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, check=True, text=True, env=environment
    ).stdout
    # fmt: off
    assert bytes.fromhex(printed) == (
        b"\x0a\x01n"
        b"\x12\x18" b"\x12\x01y" b"\x22\x04Relu"
        b"\x2a\x0d" b"\x0a\x01v" b"\x2d\x00\x00\x80\x3f" b"\x2d\x00\x00\x20\x40"
    )
    # fmt: on
