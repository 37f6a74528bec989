"""Nets as text: protobuf's own printer says what each byte is."""

from __future__ import annotations

from google.protobuf import text_format

from retorch.caffe2 import text_form
from retorch.caffe2.proto.caffe2_pb2 import NetDef


def test_every_kind_of_field_is_written_as_protobuf_writes_it() -> None:
    net = NetDef(name="a'\"\\\n\té\x7f", external_input=["plain", "", "é"])
    operator = net.op.add(type="Conv", input=["x", "y's"])
    operator.device_option.device_type = 5
    argument = operator.arg.add(name="mixed", f=0.1, i=-3, s=b"\xff\x00?a")
    argument.floats.extend([1e20, float("nan"), float("-inf"), -0.0, 3.0, 1 / 3])
    argument.ints.extend([-5, 0, 2**62])
    argument.strings.extend([b"plain", b"\xc3\xa9", b"'"])
    argument.n.op.add(type="Relu").output.append("inside")
    net.op.add()
    assert text_form.text(net) == text_format.MessageToString(net)
    assert text_form.text(NetDef()) == ""
