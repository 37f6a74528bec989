"""What the parser makes of Caffe2 operators, against the real Caffe2 of both versions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from caffe2.nets import Array, Row, row
from caffe2.parse_rows import ROWS
from retorch.caffe2 import files
from retorch.caffe2.parse.net import RULES, NeedsShapeError, parse
from retorch.engines.caffe2_runtime import Runtime
from retorch.errors import UnsupportedError
from retorch.network import Network


def close(got: Sequence[Array], expected: Sequence[Array]) -> None:
    """Same shapes, same types, values within 1e-5 of the largest expected one (or of 1)."""
    for mine, theirs in zip(got, expected, strict=True):
        assert mine.shape == theirs.shape
        assert mine.dtype == theirs.dtype
        scale = max(1.0, float(np.abs(theirs[np.isfinite(theirs)].astype(np.float64)).max(initial=0)))
        np.testing.assert_allclose(mine.astype(np.float64), theirs.astype(np.float64), rtol=0, atol=1e-5 * scale)


def at_sizes(case: Row) -> Network:
    """The network for exactly the sizes and types of the row's inputs."""
    feeds = case.feeds()
    types = {name: ir.DataType.from_numpy(array.dtype) for name, array in feeds.items()}
    return Network(parse(case.net(), {name: array.shape for name, array in feeds.items()}, types))


@pytest.mark.caffe2
@pytest.mark.parametrize("case", ROWS, ids=str)
def test_means_what_caffe2_calculates(case: Row, caffe2: Runtime, tmp_path: Path) -> None:
    if caffe2.version not in case.versions:
        pytest.skip(f"Caffe2 {caffe2.version} does not run this")
    net = case.net()
    files.write(tmp_path, net)
    expected = caffe2.run((tmp_path / "predict_net.pb", tmp_path / "init_net.pb"), case.feeds())
    close(at_sizes(case).run(case.feeds()), expected)
    # As loaded, the sizes become known with the first run.
    close(Network.load(tmp_path).run(case.feeds()), expected)


@pytest.mark.parametrize("case", ROWS, ids=str)
def test_makes_valid_onnx(case: Row) -> None:
    model = at_sizes(case).model
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert [value.name for value in model.graph.inputs] == list(case.feeds())
    assert len(model.graph.outputs) == len(case.net().predict.external_output)


def test_every_rule_has_a_row() -> None:
    used = {operator.type for case in ROWS for operator in case.net().predict.op}
    same = {
        "Conv1D", "Conv2D", "Conv3D", "MaxPool1D", "MaxPool2D", "MaxPool3D", "AveragePool1D",
        "AveragePool2D", "AveragePool3D", "CopyCPUToGPU", "CopyGPUToCPU", "CopyCPUToIDEEP", "CopyIDEEPToCPU",
        "CopyFromCPUInput", "EnsureDense", "Identity", "Snapshot", "AliasWithName", "DepthSplit",
        "GivenTensorDoubleFill", "GivenTensorFp16Fill", "GivenTensorByteStringToUInt8Fill",
        "C10LayerNorm_DontUseThisOpYet", "RecurrentNetwork", "LC2D", "GenerateProposalsCPP",
        "CreateScope", "Do", "If", "While", "ONNXWhile", "IsEmpty",
    }  # fmt: skip
    assert set(RULES) - used == same


def test_all_unknown_operators_are_listed() -> None:
    case = row("Relu X -> A; Fancy A -> B; Relu B -> C; Fancier C -> D", X=(2, 3))
    with pytest.raises(UnsupportedError) as caught:
        parse(case.net())
    assert [problem.typename for problem in caught.value.problems] == ["Fancy", "Fancier"]
    assert [problem.path for problem in caught.value.problems] == ["op[1] B", "op[3] D"]


REFUSED = [
    (row("Dropout X -> Y M", X=(2, 3)), "training mode"),
    (row("SpatialBN X s b m v -> Y", X=(2, 3, 4, 4), s=(3,), b=(3,), m=(3,), v=(3,)), "training mode"),
    (row("LRN X -> Y S | size=4 alpha=0.1 beta=0.5", X=(2, 6, 3, 3)), "odd"),
    (row("Dropout X -> Y M | is_test=1; Relu M -> Z", X=(2, 3)), "no meaning"),
    (row("GaussianFill X -> Y", X=(2, 3)), "random_seed"),
    (row("GaussianFill -> Z | shape=2,3; Relu Z -> Y"), "random_seed"),
    (row("MaxPool X -> Y | kernel=3 dilation=2", X=(2, 3, 9, 9)), "dilation"),
    (row("MaxPool X -> Y | kernel=2 pad=2", X=(2, 3, 9, 9)), "without input"),
    (row("MaxPool X -> Y | kernel=1 stride=2 legacy_pad=3", X=(2, 3, 6, 6)), "without input"),
    (row("AveragePool X -> Y | global_pooling=1 stride=2", X=(2, 3, 6, 6)), "global_pooling"),
    (row("MaxPool X -> Y | kernel=2 pad=1 legacy_pad=1", X=(2, 3, 6, 6)), "legacy_pad"),
    (row("Conv X w -> Y | kernels=3,3 strides=2,", X=(2, 3, 6, 6), w=(4, 3, 3, 3)), "do not fit"),
    (row("ConvTranspose X w -> Y | kernel=3 stride=2 adj=2", X=(2, 3, 6, 6), w=(3, 4, 3, 3)), "adj"),
    (row("ConvTranspose X w -> Y | kernel=3 pads=-1,0,0,0", X=(2, 3, 6, 6), w=(3, 4, 3, 3)), "negative"),
    (row("Add A B -> Y | broadcast=1", A=(3,), B=(2, 3)), "dimensions"),
    (row("Add A B -> Y | broadcast=1 axis=2", A=(2, 3), B=(3,)), "at axis 2"),
    (row("LeakyRelu X -> Y | alpha=1", X=(2, 3)), "field f"),
    (row("Transpose X -> Y | axes=0,-1", X=(2, 3)), "negative"),
    (row("Squeeze X -> Y | dims=-1,", X=(2, 1)), "negative"),
    (row("Concat A B -> Y I | axis=1 order=NCHW", A=(2, 3), B=(2, 3)), "order"),
    (row("Split X -> A B | axis=1", X=(2, 5)), "equal"),
    (row("Split X -> A B | axis=1 split=1,2,2", X=(2, 5)), "3 sizes"),
    (row("PadImage X -> Y | pad=1 mode=wrap", X=(2, 3, 6, 6)), "mode"),
    (row("Conv X w -> Y | kernel=3 order=CHWN", X=(2, 3, 6, 6), w=(4, 3, 3, 3)), "order"),
    (row("Relu Nothing -> Y", X=(2, 3)), "nothing makes"),
    (row("Reshape X -> Y O", X=(2, 3)), "without shape"),
    (row("Relu X -> Y", "Z", X=(2, 3)), "nothing makes this output"),
    (row("Softmax X -> Y | axis=2", X=(2, 3)), "axis 2"),
    (row("Im2Col X -> Y | kernel=2", X=(2, 0, 9, 9)), "without channels"),
]


@pytest.mark.parametrize(("case", "reason"), REFUSED, ids=[str(case) for case, _ in REFUSED])
def test_what_caffe2_would_not_run_or_only_trains_is_refused(case: Row, reason: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        parse(case.net(), {name: array.shape for name, array in case.feeds().items()})
    assert len(caught.value.problems) == 1
    assert reason in caught.value.problems[0].reason


def test_an_unsaid_operator_is_told_once() -> None:
    case = row(
        "LRN X -> A S | size=4; Relu A -> B; Scale B -> C; Transpose X -> D | axes=-1,", "C", "D", X=(1, 2, 3, 4)
    )
    with pytest.raises(UnsupportedError) as caught:
        parse(case.net())
    assert [problem.typename for problem in caught.value.problems] == ["LRN", "Transpose"]


def test_unknown_sizes_stay_open() -> None:
    case = row("Conv X w b -> A | kernel=3 pad=1; Relu A -> A; MaxPool A -> B | kernel=2 stride=2; Softmax B -> C",
               X=(1, 3, 8, 8), w=(4, 3, 3, 3), b=(4,))  # fmt: skip
    network = Network(parse(case.net()))
    assert network.inputs[0].shape == ("N", 3, "H", "W")
    for shape in ((1, 3, 8, 8), (2, 3, 5, 12)):
        assert network.run(np.ones(shape, np.float32))[0].shape == (shape[0], 4, shape[2] // 2, shape[3] // 2)


def test_sizes_that_matter_are_asked_for() -> None:
    case = row("MaxPool X -> Y | kernel=1 stride=3 legacy_pad=2", X=(1, 3, 10, 7))
    with pytest.raises(NeedsShapeError):
        parse(case.net())
    assert Network(parse(case.net(), {"X": (1, 3, 10, 7)})).outputs[0].shape == (1, 3, 4, 3)


@pytest.mark.parametrize(
    ("case", "shape", "dtype"),
    [
        (row("Conv X w -> Y | kernel=3 group=2", X=(1, 6, 9, 9), w=(4, 3, 3, 3)), ("N", 6, "H", "W"), "float32"),
        (row("Conv X w -> Y | kernel=3 order=NHWC", X=(1, 9, 9, 6), w=(4, 3, 3, 6)), ("N", "H", "W", 6), "float32"),
        (row("Conv X w -> Y | kernels=3,", X=(1, 6, 9), w=(4, 6, 3)), ("N", 6, "W"), "float32"),
        (row("ConvTranspose X w -> Y | kernel=3", X=(1, 6, 9, 9), w=(6, 3, 3, 3)), ("N", 6, "H", "W"), "float32"),
        (row("Relu X -> A; FC A w b -> Y", X=(1, 6), w=(4, 6), b=(4,)), ("N", 6), "float32"),
        (row("MaxPool X -> Y | kernel=2", X=(1, 6, 9, 9)), ("N", "C", "H", "W"), "float32"),
        (row("Gather w I -> Y", I=[1, 2], w=(4, 6)), None, "int64"),
        (row("Relu X -> Y", X=(2, 3)), None, "float32"),
    ],
    ids=str,
)
def test_inputs_are_known_by_their_readers(case: Row, shape: tuple[int | str, ...] | None, dtype: str) -> None:
    port = Network(parse(case.net())).inputs[0]
    assert port.shape == shape
    assert port.dtype == np.dtype(dtype)


def test_in_place_writes_are_values_of_their_own() -> None:
    case = row("Relu X -> X; Add X X -> Y; Negative Y -> Y", "X", "Y", X=(3,))
    x = np.array([-1, 2, 3], np.float32)
    first, second = Network(parse(case.net())).run(x)
    np.testing.assert_array_equal(first, [0, 2, 3])
    np.testing.assert_array_equal(second, [0, -4, -6])


def test_undeclared_outputs_are_what_nobody_reads() -> None:
    net = row("Relu X -> A; Relu X -> B; Negative A -> A", X=(3,)).net()
    del net.predict.external_output[:]
    assert [port.name for port in Network(parse(net)).outputs] == ["A", "B"]


def test_weights_nobody_reads_are_left_out() -> None:
    model = parse(row("Relu X -> Y", X=(3,), unread=(4,)).net())
    assert not model.graph.initializers
