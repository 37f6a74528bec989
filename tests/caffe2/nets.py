"""Small Caffe2 nets written in one line, for tables of cases."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from retorch.caffe2.files import Caffe2Net
from retorch.caffe2.proto.caffe2_pb2 import NetDef, OperatorDef

Array = np.ndarray[Any, np.dtype[Any]]


def add_operator(net: NetDef, text: str) -> OperatorDef:
    """``Conv X w b -> Y | kernel=3 alpha=0.5 order=NHWC axes=0,`` as an operator; a trailing comma makes a list.

    ``random_seed`` is that of its device.
    """
    head, _, arguments = text.partition("|")
    left, _, right = head.partition("->")
    kind, *inputs = left.split()
    operator = net.op.add(type=kind)
    operator.input.extend(inputs)
    operator.output.extend(right.split())
    for item in arguments.split():
        name, _, value = item.partition("=")
        if name == "random_seed":
            operator.device_option.random_seed = int(value)
            continue
        _store(operator.arg.add(name=name), value)
    return operator


def _store(argument: Any, value: str) -> None:
    if "," in value:
        numbers = [part for part in value.split(",") if part]
        if any("." in number or "e" in number for number in numbers):
            argument.floats.extend(map(float, numbers))
        else:
            argument.ints.extend(map(int, numbers))
        return
    try:
        argument.i = int(value)
    except ValueError:
        try:
            argument.f = float(value)
        except ValueError:
            argument.s = value.encode()


@dataclass(frozen=True)
class Row:
    """Operators separated by ``;``, and the shapes or values of blobs: capitals are fed, the rest are weights."""

    text: str
    blobs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    outputs: Sequence[str] = ()
    versions: Sequence[str] = ("1.0.0", "1.10.2")

    def __str__(self) -> str:
        return " ".join(self.text.split())

    def net(self) -> Caffe2Net:
        predict = NetDef(name="row")
        for line in self.text.split(";"):
            add_operator(predict, line)
        arrays = self.arrays()
        inputs = tuple(name for name in arrays if name[0].isupper())
        params = {name: array for name, array in arrays.items() if name not in inputs}
        predict.external_input.extend([*inputs, *params])
        predict.external_output.extend(self.outputs or [predict.op[-1].output[0]])
        return Caffe2Net(predict, params, inputs)

    def arrays(self) -> dict[str, Array]:
        """Noise for a shape, the same in every run; a list or an array is itself."""
        random = np.random.default_rng(zlib.crc32(self.text.encode()))
        made: dict[str, Array] = {}
        for name, content in self.blobs.items():
            if isinstance(content, tuple):
                made[name] = random.normal(size=content).astype(np.float32)
            elif isinstance(content, np.ndarray):
                made[name] = content
            else:
                made[name] = np.asarray(content, np.int32)
        return made

    def feeds(self) -> dict[str, Array]:
        return {name: array for name, array in self.arrays().items() if name[0].isupper()}


def row(text: str, /, *outputs: str, versions: Sequence[str] = ("1.0.0", "1.10.2"), **blobs: Any) -> Row:
    """A row of a table."""
    return Row(text, blobs, outputs, versions)
