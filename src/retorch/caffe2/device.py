"""Caffe2's device for MKL-DNN, which it calls IDEEP: which operators run there, and which blobs are its tensors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from retorch.caffe2.proto.caffe2_pb2 import NetDef, OperatorDef
from retorch.files.protobuf import Array

IDEEP = 5  # caffe2.DeviceTypeProto
TO_IDEEP, TO_CPU = "CopyCPUToIDEEP", "CopyIDEEPToCPU"  # they run on the device as well


def runs_on_ideep(op: OperatorDef, net: NetDef) -> bool:
    """Whether the operator is for that device."""
    return placed(op, net).device_option.device_type == IDEEP


def placed(op: OperatorDef, net: NetDef) -> OperatorDef:
    """The operator with the device and seed that it runs with: its net's, but for what it names itself.

    So it is in torch 1.10. In torch 1.0 an operator that names anything takes nothing from its net.
    """
    if not net.HasField("device_option"):
        return op
    made = OperatorDef()
    made.CopyFrom(op)
    made.device_option.CopyFrom(net.device_option)
    made.device_option.MergeFrom(op.device_option)
    return made


def needs_avx2(net: NetDef) -> tuple[str, ...]:
    """What to tell of convolutions there: the code for AVX-512 in torch 1.10.2 turns their results around."""
    if not any("Conv" in op.type and runs_on_ideep(op, net) for op in net.op):
        return ()
    return ("on processors with AVX-512 the MKL-DNN of torch 1.10 needs DNNL_MAX_CPU_ISA=AVX2 in the environment",)


def ideep_params(net: NetDef, params: Mapping[str, Array]) -> frozenset[str]:
    """The parameters that have to be tensors of the device, which are floats: its operators read them."""
    readers = (op for op in net.op if runs_on_ideep(op, net) and op.type != TO_IDEEP)
    return frozenset(name for op in readers for name in op.input if name in params and params[name].dtype == np.float32)


def loads(params: Mapping[str, Array], ideep: frozenset[str]) -> list[OperatorDef]:
    """``Load`` for the parameters of each side, as yet without a database."""
    sides = [[name for name in params if name not in ideep], [name for name in params if name in ideep]]
    made = [OperatorDef(type="Load", output=names) for names in sides]
    made[1].device_option.device_type = IDEEP
    return [load for load in made if load.output]
