"""MKL-DNN: what goes to its device, what stays, and that both compute the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import retorch
from caffe2.emit_cases import Array, actual, assert_close, expected, net
from retorch.caffe2 import files
from retorch.caffe2.device import IDEEP
from retorch.caffe2.emit import mkldnn
from retorch.caffe2.emit.net import EmitOptions
from retorch.caffe2.proto.caffe2_pb2 import NetDef
from retorch.caffe2.versions import lacks
from retorch.engines.caffe2_runtime import Runtime
from retorch.errors import UsageError

MKLDNN = EmitOptions(mkldnn=True)
Node = onnx.NodeProto


def node(kind: str, inputs: str, output: str, **attrs: Any) -> Node:
    return helper.make_node(kind, inputs.split(), output.split(), **attrs)


def network(
    nodes: Sequence[Node],
    weights: Mapping[str, Sequence[int]],
    outputs: str,
    data: Sequence[int | str] = (2, 16, 12, 10),
) -> onnx.ModelProto:
    """A net of these operators; every weight is noise of the shape given, positive where its name ends in ``v``."""
    rng = np.random.default_rng(len(nodes))
    stored = {
        name: rng.standard_normal(shape, np.float32) / np.sqrt(prod(shape[1:]), dtype=np.float32)
        for name, shape in weights.items()
    }
    stored = {name: np.abs(array) + 0.1 if name.endswith("v") else array for name, array in stored.items()}
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, data)],
        [helper.make_empty_tensor_value_info(name) for name in outputs.split()],
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return onnx.shape_inference.infer_shapes(made, strict_mode=True)


def feeds(*shape: int) -> dict[str, Array]:
    return {"data": np.random.default_rng(5).standard_normal(shape, np.float32)}


@pytest.fixture
def small_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies cost nothing, so that small nets go to the device as well."""
    monkeypatch.setattr(mkldnn, "_START", 0)
    monkeypatch.setattr(mkldnn, "_COPY", 0)


def on_device(made: NetDef) -> list[str]:
    """The operators on the device, without copies."""
    return [op.type for op in made.op if op.device_option.device_type == IDEEP and not op.type.startswith("Copy")]


def flow(made: NetDef) -> list[str]:
    """One line for each operator: a star on the device."""
    return [
        f"{op.type}{'*' if op.device_option.device_type == IDEEP else ''} {' '.join(op.input)} > {op.output[0]}"
        for op in made.op
    ]


def branches() -> onnx.ModelProto:
    """Blobs of either side that the other one reads, a weight of both, an output in the middle."""
    nodes = [
        node("Conv", "data w1", "conv1", pads=[1, 1, 1, 1]),
        node("Relu", "conv1", "relu1"),
        node("Elu", "relu1", "elu1"),
        node("Conv", "elu1 w1", "conv2", pads=[0, 1, 2, 1]),
        node("Conv", "elu1 w1", "conv3", pads=[1, 1, 1, 1]),
        node("Sum", "conv3 conv2 relu1", "add1"),
        node("Abs", "relu1", "abs1"),
    ]
    return network(nodes, {"w1": (16, 16, 3, 3)}, "relu1 add1 abs1")


@pytest.mark.usefixtures("small_pays")
def test_copies_stand_where_a_blob_changes_sides() -> None:
    assert flow(net(branches(), MKLDNN).predict) == [
        "CopyCPUToIDEEP* data > data_ideep",
        "CopyCPUToIDEEP* w1 > w1_ideep",
        "Conv* data_ideep w1_ideep > conv1",
        "Relu* conv1 > relu1_ideep",
        "CopyIDEEPToCPU* relu1_ideep > relu1",
        "Elu relu1 > elu1",
        "Conv elu1 w1 > conv2",
        "CopyCPUToIDEEP* elu1 > elu1_ideep",
        "Conv* elu1_ideep w1_ideep > conv3",
        "CopyCPUToIDEEP* conv2 > conv2_ideep",
        "Sum* conv3 conv2_ideep relu1_ideep > add1_ideep",
        "CopyIDEEPToCPU* add1_ideep > add1",
        "Abs relu1 > abs1",
    ]


@pytest.mark.usefixtures("small_pays")
def test_in_place_stays_on_its_side() -> None:
    nodes = [
        node("Conv", "data w1", "conv1"),
        node("Relu", "conv1", "relu1"),
        node("Tanh", "relu1", "tanh1"),
        node("Conv", "tanh1 w1", "conv2"),
        node("Relu", "conv2", "relu2"),
    ]
    made = net(network(nodes, {"w1": (16, 16, 1, 1)}, "relu2"), EmitOptions(mkldnn=True, in_place=True))
    assert flow(made.predict) == [
        "CopyCPUToIDEEP* data > data_ideep",
        "Conv* data_ideep w1 > conv1",
        "Relu* conv1 > conv1",
        "CopyIDEEPToCPU* conv1 > relu1_cpu",
        "Tanh relu1_cpu > relu1_cpu",
        "CopyCPUToIDEEP* relu1_cpu > tanh1_ideep",
        "Conv* tanh1_ideep w1 > conv2",
        "Relu* conv2 > conv2",
        "CopyIDEEPToCPU* conv2 > relu2",
    ]


def behind_conv(kind: str, **attrs: Any) -> list[Node]:
    return [node("Conv", "data w1", "conv1"), node(kind, "conv1", "y", **attrs)]


CONV = {"w1": (16, 16, 1, 1)}
POOL = {"kernel_shape": [3, 3], "strides": [2, 2]}
# What stands behind a convolution of so many channels, the release, and whether it goes to the device.
BEHIND = [
    ("MaxPool", 16, POOL, "1.0", True),
    ("MaxPool", 16, POOL | {"pads": [0, 1, 1, 0]}, "1.0", True),
    ("MaxPool", 12, POOL, "1.0", False),
    ("AveragePool", 24, POOL, "1.0", True),
    ("GlobalAveragePool", 16, {}, "1.0", True),
    ("LRN", 5, {"size": 5}, "1.0", True),
    ("Relu", 5, {}, "1.0", True),
    ("LeakyRelu", 16, {}, "1.0", False),
    ("LeakyRelu", 16, {}, "1.10", True),
    ("Sigmoid", 16, {}, "1.0", False),
    ("Sigmoid", 16, {}, "1.10", True),
    ("Tanh", 16, {}, "1.10", False),
]


@pytest.mark.usefixtures("small_pays")
@pytest.mark.parametrize(("kind", "channels", "attrs", "release", "placed"), BEHIND)
def test_what_goes_behind_a_convolution(
    kind: str, channels: int, attrs: dict[str, Any], release: Any, placed: bool
) -> None:
    nodes = [node("Conv", "data w1", "conv1"), node(kind, "conv1", "y", **attrs)]
    made = net(network(nodes, {"w1": (channels, 16, 1, 1)}, "y"), EmitOptions(release, mkldnn=True))
    assert len(on_device(made.predict)) == 1 + placed


@pytest.mark.usefixtures("small_pays")
@pytest.mark.parametrize(("channels", "axis", "placed"), [(16, 1, True), (48, 1, True), (24, 1, False), (16, 2, False)])
def test_whole_blocks_of_planes_are_concatenated_there(channels: int, axis: int, placed: bool) -> None:
    nodes = [node("Conv", "data w1", "conv1"), node("Concat", "conv1 conv1", "y", axis=axis)]
    made = net(network(nodes, {"w1": (channels, 16, 1, 1)}, "y"), MKLDNN).predict
    assert ("Concat" in on_device(made)) is placed


# A convolution of 16x12x10: its weights, its settings, the release, and whether it goes to the device.
SAME = {"pads": [1, 1, 1, 1]}
CONVOLUTIONS = [
    ((16, 16, 3, 3), SAME, "1.0", True),
    ((16, 16, 3, 3), {"pads": [0, 1, 2, 1]}, "1.0", False),
    ((16, 4, 3, 3), SAME | {"group": 4}, "1.0", True),
    ((16, 1, 3, 3), SAME | {"group": 16}, "1.0", True),
    ((16, 16, 3, 3), SAME | {"dilations": [2, 2]}, "1.0", False),
    ((16, 16, 3, 3), SAME | {"dilations": [2, 2]}, "1.10", True),
    ((8, 16, 7, 7), {"pads": [3, 3, 3, 3]}, "1.0", True),
    ((2, 16, 7, 7), {"pads": [3, 3, 3, 3]}, "1.0", False),
    ((3, 16, 9, 9), {"pads": [4, 4, 4, 4]}, "1.0", False),
]


@pytest.mark.usefixtures("small_pays")
@pytest.mark.parametrize(("weights", "attrs", "release", "placed"), CONVOLUTIONS)
def test_convolutions(weights: tuple[int, ...], attrs: dict[str, Any], release: Any, placed: bool) -> None:
    made = net(
        network([node("Conv", "data w1", "y", **attrs)], {"w1": weights}, "y"), EmitOptions(release, mkldnn=True)
    )
    assert bool(on_device(made.predict)) is placed


@pytest.mark.usefixtures("small_pays")
@pytest.mark.parametrize("shape", [(2, 1, 12, 10), (2, 16, 1, 1)])
def test_images_of_one_plane_or_one_pixel_stay(shape: tuple[int, ...]) -> None:
    """Nothing tells apart their orders of elements."""
    proto = network([node("Conv", "data w1", "y")], {"w1": (16, shape[1], 1, 1)}, "y", shape)
    assert on_device(net(proto, MKLDNN).predict) == []


@pytest.mark.usefixtures("small_pays")
def test_weights_that_are_computed_keep_a_convolution_on_the_cpu() -> None:
    nodes = [node("Abs", "data", "w1"), node("Conv", "data w1", "y")]
    made = net(network(nodes, {}, "y", (16, 16, 3, 3)), MKLDNN)
    assert on_device(made.predict) == []


def test_small_islands_stay() -> None:
    nodes = [node("Conv", "data w1", "y", **SAME)]
    assert on_device(net(network(nodes, {"w1": (16, 16, 3, 3)}, "y"), MKLDNN).predict) == []
    large = network(nodes, {"w1": (16, 16, 3, 3)}, "y", ("N", 16, 64, 64))
    assert on_device(net(large, MKLDNN).predict) == ["Conv"]


def test_a_convolution_that_reads_much_and_computes_little_stays() -> None:
    nodes = [node("Conv", "data w1", "y", group=16, pads=[1, 1, 1, 1])]
    assert on_device(net(network(nodes, {"w1": (16, 1, 3, 3)}, "y", (1, 16, 256, 256)), MKLDNN).predict) == []


@pytest.mark.usefixtures("small_pays")
def test_what_nnpack_takes_stays_on_the_cpu() -> None:
    nodes = [node("Conv", "data w1", "conv1", **SAME), node("Conv", "conv1 w1", "y", strides=[5, 5], **SAME)]
    proto = network(nodes, {"w1": (16, 16, 3, 3)}, "y", (1, 16, 64, 64))
    made = net(proto, EmitOptions(mkldnn=True, nnpack=True)).predict
    assert [(op.engine, op.device_option.device_type) for op in made.op] == [("NNPACK", 0), ("NNPACK", 0)]
    little = network(nodes[:1], {"w1": (16, 16, 3, 3)}, "conv1")
    assert on_device(net(little, EmitOptions(mkldnn=True, nnpack=True)).predict) == ["Conv"]


def test_brew_is_refused() -> None:
    with pytest.raises(UsageError, match="--brew or --mkldnn"):
        EmitOptions(brew=True, mkldnn=True)


def mixed() -> onnx.ModelProto:
    """Every operator that the device has, and some that it has not, for any batch."""
    nodes = [
        node("Conv", "data w1 b1", "conv1", pads=[3, 3, 3, 3]),
        node("BatchNormalization", "conv1 s b m v", "bn1"),
        node("Relu", "bn1", "relu1"),
        node("MaxPool", "relu1", "pool1", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("LRN", "pool1", "norm1", size=5, alpha=0.1),
        node("Conv", "norm1 w2", "conv2", group=2, **SAME),
        node("Sum", "conv2 pool1", "add1"),
        node("Elu", "add1", "elu1"),
        node("Concat", "add1 elu1 pool1", "concat1", axis=1),
        node("AveragePool", "concat1", "pool2", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
        node("Conv", "pool2 w3", "y", **SAME),
        node("Conv", "relu1 w4", "channel"),
    ]
    shapes: dict[str, Sequence[int]] = {"w1": (16, 3, 7, 7), "b1": (16,), "w2": (16, 8, 3, 3), "w3": (5, 48, 3, 3)}
    statistics: dict[str, Sequence[int]] = dict.fromkeys("sbmv", (16,))
    return network(nodes, {**shapes, **statistics, "w4": (1, 16, 1, 1)}, "y elu1 channel", ("N", 3, 21, 18))


@pytest.mark.usefixtures("small_pays")
def test_the_files_are_read_back_as_the_same_network(tmp_path: Path) -> None:
    proto, given = mixed(), feeds(2, 3, 21, 18)
    files.write(tmp_path, net(proto, MKLDNN))
    assert "device_type: 5" in (tmp_path / "predict_net.pbtxt").read_text()
    for name in ("predict_net.pb", "predict_net.pbtxt"):
        assert_close(retorch.Network.load(tmp_path / name).run(given["data"]), expected(proto, given))


@pytest.mark.usefixtures("small_pays")
def test_weights_are_filled_where_they_are_read(tmp_path: Path) -> None:
    files.write(tmp_path, net(branches(), MKLDNN))
    init = NetDef.FromString((tmp_path / "init_net.pb").read_bytes())
    assert {op.output[0]: op.device_option.device_type for op in init.op} == {"w1": 0, "data": 0}
    files.write(tmp_path, net(mixed(), MKLDNN))
    init = NetDef.FromString((tmp_path / "init_net.pb").read_bytes())
    assert {op.device_option.device_type for op in init.op if op.output[0] != "data"} == {IDEEP}


@pytest.mark.usefixtures("small_pays")
def test_check_says_that_phones_have_no_such_device() -> None:
    (found,) = lacks(net(network(behind_conv("Relu"), CONV, "y"), MKLDNN), {}, {}, 0)
    assert "2 operators for MKL-DNN" in found.what


WAYS = ["pb", "minidb", "predictor", "container"]


@pytest.mark.caffe2
@pytest.mark.usefixtures("small_pays")
@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_load_it(way: str, caffe2: Runtime, tmp_path: Path) -> None:
    for batch in (1, 3):
        proto, given = mixed(), feeds(batch, 3, 21, 18)
        made = net(proto, MKLDNN)
        if way == "container":
            files.write_container(tmp_path / "net.minidb", made)
            got = caffe2.run(tmp_path / "net.minidb", given)
        else:
            files.write(tmp_path, made, init="minidb" if way == "minidb" else "pb")
            got = caffe2.run(tmp_path, given, predictor=way == "predictor")
        assert_close(got, expected(proto, given))


@pytest.mark.caffe2
@pytest.mark.usefixtures("small_pays")
def test_blobs_of_the_device_can_be_looked_at(caffe2: Runtime, tmp_path: Path) -> None:
    """Also a picture of one channel, whose sizes FetchBlob turns around."""
    proto, given = mixed(), feeds(1, 3, 21, 18)
    made = net(proto, MKLDNN)
    files.write(tmp_path, made)
    names = ["conv1", "channel_ideep", "elu1", "concat1", "pool1"]
    wanted = retorch.Network.load(tmp_path).intermediate(names, given["data"])
    assert set(names) <= {op.output[0] for op in made.predict.op}
    assert_close(caffe2.run(tmp_path, given, names), [wanted[name] for name in names])


def wild(seed: int) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """Convolutions with random settings, and something of everything behind them."""
    rng = np.random.default_rng(seed)

    def one_of(*choices: Any) -> Any:
        return choices[int(rng.integers(len(choices)))]

    channels = one_of(2, 3, 5, 8, 16)
    nodes: list[Node] = []
    weights: dict[str, Sequence[int]] = {}
    blob, count = "data", channels
    for step in range(3):
        group = one_of(1, 1, 1, count if count <= 16 else 1)
        made = group * one_of(1, 2, 8, 16)
        kernel, stride, dilation = one_of(1, 2, 3, 5, 7, 9, 11), one_of(1, 1, 1, 2), one_of(1, 1, 1, 2)
        pads = [int(each) for each in rng.integers(0, kernel, 2)]
        weights[f"w{step}"] = (made, count // group, kernel, kernel)
        steps = {
            "strides": [stride] * 2,
            "dilations": [dilation] * 2,
            "pads": [p + kernel * dilation // 2 for p in pads * 2],
        }
        nodes.append(node("Conv", f"{blob} w{step}", f"conv{step}", group=group, **steps))
        blob, count = f"conv{step}", made
        kind = one_of("Relu", "LeakyRelu", "LRN", "MaxPool", "AveragePool", "Concat", "Sum", "Sigmoid", "Tanh")
        window = one_of(1, 2, 3)
        attrs: dict[str, Any] = {
            "LRN": {"size": 3},
            "MaxPool": {"kernel_shape": [window] * 2, "strides": [one_of(1, 2)] * 2},
            "AveragePool": {"kernel_shape": [window] * 2, "strides": [one_of(1, 2)] * 2},
            "Concat": {"axis": 1},
        }.get(kind, {})
        nodes.append(node(kind, f"{blob} {blob}" if kind in ("Concat", "Sum") else blob, f"y{step}", **attrs))
        blob, count = f"y{step}", count * (2 if kind == "Concat" else 1)
    proto = network(nodes, weights, " ".join(f"y{step} conv{step}" for step in range(3)), ("N", channels, 24, 20))
    return proto, feeds(one_of(1, 2, 3), channels, 24, 20)


@pytest.mark.caffe2
@pytest.mark.usefixtures("small_pays")
@pytest.mark.parametrize("seed", range(40))
def test_random_convolutions(seed: int, caffe2: Runtime, tmp_path: Path) -> None:
    proto, given = wild(seed)
    for release in ("1.0", "1.10") if caffe2.version.startswith("1.10") else ("1.0",):
        got = actual(caffe2, tmp_path / release, proto, given, EmitOptions(release, mkldnn=True))
        assert_close(got, expected(proto, given))


@pytest.mark.usefixtures("small_pays")
def test_random_convolutions_go_to_the_device() -> None:
    counts = [len(on_device(net(wild(seed)[0], MKLDNN).predict)) for seed in range(40)]
    assert sum(count > 0 for count in counts) > 30


@pytest.mark.usefixtures("small_pays")
def test_a_note_says_what_processors_with_avx_512_need(tmp_path: Path) -> None:
    onnx.save(network([node("Conv", "data w1", "y", **SAME)], {"w1": (16, 16, 3, 3)}, "y"), tmp_path / "net.onnx")
    made = retorch.Network.load(tmp_path / "net.onnx")
    made.save(tmp_path / "plain")
    assert "AVX" not in " ".join(made.notes)
    made.save(tmp_path / "mkldnn", options=MKLDNN)
    assert "needs DNNL_MAX_CPU_ISA=AVX2 in the environment" in " ".join(made.notes)
