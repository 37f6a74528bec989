"""Random nets of many operators, blobs reused and written in place, against the real Caffe2 of both versions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe2.nets import Array, add_operator
from retorch.caffe2 import files
from retorch.caffe2.files import Caffe2Net
from retorch.caffe2.parse.net import parse
from retorch.caffe2.proto.caffe2_pb2 import NetDef
from retorch.engines.caffe2_runtime import Runtime
from retorch.network import Network

POINTWISE = (
    "Relu",
    "Tanh",
    "Sigmoid",
    "LeakyRelu | alpha=0.2",
    "Elu | alpha=0.5",
    "Clip | min=-1.0 max=0.5",
    "Scale | scale=-0.7",
    "Negative",
    "Sqr",
)
SPATIAL = (
    "MaxPool | kernel=3 stride=2 legacy_pad=3",
    "MaxPool | kernel=2 stride=1 pad=1",
    "AveragePool | kernel=3 stride=2 pad=1",
    "AveragePool | kernel=3 stride=1 legacy_pad=2",
    "PadImage | pads=1,2,0,1 mode=reflect",
    "PadImage | pads=2,-1,0,1 value=0.5",
    "ResizeNearest | height_scale=1.5 width_scale=2.0",
    "UpsampleBilinear | height_scale=1.5 width_scale=1.2",
)
BINARY = ("Add", "Sub", "Mul", "Sum", "Max")


class Growing:
    """A net that grows by one random operator at a time; shapes are those that the real operators give."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.net = NetDef(name=f"random_{seed}")
        self.params: dict[str, Array] = {}
        self.channels = {"data": 3}
        #: Blobs of one shape have one mark: those can be added.
        self.mark = {"data": 0}
        self.marks = 0

    def pick(self, names: tuple[str, ...]) -> str:
        return names[int(self.random.integers(len(names)))]

    def weight(self, *shape: int) -> str:
        name = f"w{len(self.params)}"
        self.params[name] = self.random.normal(size=shape).astype(np.float32) / np.float32(max(shape[-1] * 3, 4))
        return name

    def add(self, text: str, inputs: str, output: str, channels: int, mark: int | None) -> None:
        kind, _, arguments = text.partition("|")
        add_operator(self.net, f"{kind} {inputs} -> {output} | {arguments}")
        name = output.split()[0]
        self.channels[name] = channels
        if mark is None:
            self.marks += 1
            mark = self.marks
        self.mark[name] = mark

    def target(self, x: str) -> str:
        """A new blob, or now and then the input itself or an old blob that is written again."""
        chance = self.random.random()
        if chance < 0.25 and x != "data":
            return x
        return f"t{int(self.random.integers(12))}" if chance < 0.4 else f"b{len(self.net.op)}"

    def grow(self) -> None:
        x = self.pick(tuple(self.channels))
        channels, mark = self.channels[x], self.mark[x]
        out = self.target(x)
        fresh = out if out != x else f"b{len(self.net.op)}"
        match self.random.integers(7):
            case 0 | 1:
                self.add(self.pick(POINTWISE), x, out, channels, mark)
            case 2:
                self.add(self.pick(SPATIAL), x, fresh, channels, None)
            case 3:
                made = int(self.random.integers(2, 5))
                inputs = f"{x} {self.weight(made, channels, 3, 3)} {self.weight(made)}"
                self.add("Conv | kernel=3 pad=1", inputs, fresh, made, None)
            case 4:
                other = self.pick(tuple(name for name, known in self.mark.items() if known == mark))
                self.add(self.pick(BINARY), f"{x} {other}", fresh, channels, mark)
            case 5:
                self.add("Concat | axis=1", f"{x} {x}", f"{fresh} _{fresh}_dims", 2 * channels, None)
            case _:
                self.add("Mul | broadcast=1 axis=1", f"{x} {self.weight(channels)}", out, channels, mark)

    def grown(self, operators: int) -> Caffe2Net:
        while len(self.net.op) < operators:
            self.grow()
        self.net.external_input.extend(["data", *self.params])
        last = {name: None for operator in self.net.op[-4:] for name in operator.output if not name.startswith("_")}
        self.net.external_output.extend(last)
        return Caffe2Net(self.net, self.params, ("data",))


@pytest.mark.caffe2
@pytest.mark.parametrize("seed", range(60))
def test_random_nets(seed: int, caffe2: Runtime, tmp_path: Path) -> None:
    net = Growing(seed).grown(14)
    files.write(tmp_path, net)
    x = np.random.default_rng(seed).normal(size=(2, 3, 11, 10)).astype(np.float32)
    expected = caffe2.run(tmp_path, [x])
    for network in (Network(parse(net, {"data": x.shape})), Network.load(tmp_path)):
        for mine, theirs in zip(network.run(x), expected, strict=True):
            assert mine.shape == theirs.shape
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=2e-5 * max(1.0, float(np.abs(theirs).max())))
