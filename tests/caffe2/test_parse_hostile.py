"""Nets that no exporter writes: the parser answers each with a model or with an error of its own, nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from caffe2.nets import Row
from caffe2.parse_rows import ROWS
from retorch.caffe2.files import Caffe2Net
from retorch.caffe2.parse.net import parse
from retorch.caffe2.proto.caffe2_pb2 import NetDef
from retorch.errors import RetorchError

NUMBERS = (-(2**40), -7, -2, -1, 0, 1, 2, 3, 5, 99, 2**31, 2**62)


def spoiled(net: NetDef, random: np.random.Generator) -> NetDef:
    """A copy with one thing wrong."""
    copy = NetDef()
    copy.CopyFrom(net)
    operator = copy.op[int(random.integers(len(copy.op)))]
    number = int(random.choice(np.array(NUMBERS, dtype=np.int64)))
    argument = operator.arg[int(random.integers(len(operator.arg)))] if operator.arg else operator.arg.add(name="axis")
    match int(random.integers(9)):
        case 0:
            argument.Clear()
        case 1 | 2:
            argument.i = number
        case 3 | 4:
            argument.ints[:] = [number] * int(random.integers(1, 4))
        case 5:
            argument.f = float(random.choice(np.array([np.nan, np.inf, -1.0, 0.0])))
        case 6:
            del operator.input[int(random.integers(max(len(operator.input), 1))) :]
        case 7:
            del operator.output[int(random.integers(max(len(operator.output), 1))) :]
        case _:
            operator.input.append(operator.input[0] if operator.input else "nothing")
    return copy


@pytest.mark.parametrize("case", ROWS, ids=str)
def test_spoiled_nets(case: Row) -> None:
    net = case.net()
    random = np.random.default_rng(len(str(case)))
    shapes = {name: array.shape for name, array in case.feeds().items()}
    for attempt in range(8):
        spoiled_net = Caffe2Net(spoiled(net.predict, random), net.params, net.inputs)
        try:
            model = parse(spoiled_net, shapes if attempt % 2 else None)
        except RetorchError as error:
            assert str(error)
        else:
            assert model.graph.outputs
