"""Where the Caffe2 of torch 1.0 does otherwise than that of torch 1.10: it is said, and so it is in both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from caffe2.nets import Array, Row, row
from caffe2.test_refused import registered
from retorch.caffe2 import files
from retorch.caffe2.parse.net import RULES
from retorch.caffe2.release_differences import release_differences
from retorch.cli import main
from retorch.engines.caffe2_runtime import Runtime
from retorch.errors import EngineError

IMAGE = (1, 4, 5, 5)
MATRIX = (2, 3)
BOX = np.float32([[0, 1, 1, 4, 4]])
ROI, PICTURE = np.float32([[1, 2, 9, 8]]), np.float32([[40, 40, 1]])
SCORES = np.random.default_rng(0).random((6, 4)).astype(np.float32)
CORNERS = np.random.default_rng(1).random((6, 16)).astype(np.float32) * 20
BOXES = np.concatenate([CORNERS.reshape(6, 4, 2, 2)[..., 0, :], CORNERS.reshape(6, 4, 2, 2).sum(2)], 2).reshape(6, 16)
EIGHT_BITS = "Int8Quantize X -> x | Y_scale=0.02 Y_zero_point=120; {} ; Int8Dequantize y -> Y"
LABELS, WEIGHTS = np.int32([0, 1, 2, 0]), np.float32([1, 2, 3, 4])

DIFFERENCES = [
    (row("ResizeNearest X -> Y | order=NHWC width_scale=2.0", X=(1, 2, 3, 4)), "order=NHWC"),
    (row("ChannelStats X -> S Q | order=NHWC", "S", "Q", X=(1, 2, 3, 4)), "order=NHWC"),
    (row("AveragePool X -> Y | kernel=3 pad=1 count_include_pad=1", X=IMAGE), "passes over count_include_pad=1"),
    (row("BBoxTransform R X I -> Y | apply_scale=0", R=ROI, X=(1, 4), I=PICTURE), "a pixel larger"),
    (row("RoIAlign X R -> Y | pooled_h=2 aligned=1", X=IMAGE, R=BOX), "passes over aligned"),
    (row("CTCBeamSearchDecoder X -> Y V P", "Y", "V", "P", X=(4, 1, 3)), "two outputs"),
    (row("LRN X -> Y S | size=4 alpha=0.1 beta=0.5 bias=1.0", "Y", X=IMAGE), "the size is even"),
    (row("ConvTranspose X w -> Y | kernel=3 group=2", X=IMAGE, w=(4, 2, 3, 3)), "passes over group=2"),
    (row("Gather X I -> Y | axis=1 match_outer=1", X=(2, 5, 3), I=[[0, 1], [4, 0]]), "passes over match_outer=1"),
    (row("BatchGather X I -> Y | match_outer=1", X=(2, 5, 3), I=[[0, 1], [4, 0]]), "passes over match_outer=1"),
    (row("Tile X -> Y | tiles=2 axis=-1", X=MATRIX), "the axis is below 0"),
    (row("Slice X -> Y | starts=1, ends=3,", X=(6, 2)), "fewer starts than dimensions"),
    (
        row("SpatialBN X s b m v -> Y | is_test=1", X=MATRIX, s=(3,), b=(3,), m=(3,), v=WEIGHTS[:3]),
        "batches of vectors",
    ),
    (row("LayerNorm X g b -> Y M S | elementwise_affine=1", "Y", X=MATRIX, g=(3,), b=(3,)), "takes 1 input"),
    (row("TopK X K -> V I", "V", X=MATRIX, K=np.int64([2])), "takes 1 input, and there are 2"),
    (row("Range S -> Y", S=[4]), "numbers without dimensions only"),
    (row("PackSegments L X -> Y | max_length=2", L=[3, 1], X=(4, 2)), "longer than max_length"),
    (row("SplitByLengths X L -> A B | axis=0 use_scaling_lengths=1", X=(6, 2), L=[1, 2]), "use_scaling_lengths=1"),
    (row("BatchDenseToSparse L I X -> Y", L=[1, 1], I=[0, 2], X=MATRIX), "int64 only"),
    (row("FloatToFused8BitRowwiseQuantized X -> Y", X=(2, 3, 4)), "a matrix only"),
    (row("BoxWithNMSLimit X Z -> S B C | cls_agnostic_bbox_reg=1", "S", X=SCORES, Z=BOXES[:, :4]), "cls_agnostic"),
    (
        row("BoxWithNMSLimit X Z -> S B C | score_thresh=0.1 output_classes_include_bg_cls=0", "C", X=SCORES, Z=BOXES),
        "passes over output_classes_include_bg_cls=0",
    ),
    (
        row("SoftmaxWithLoss X L W -> P Y | average_by_batch_size=1", "Y", X=(4, 3), L=LABELS, W=WEIGHTS),
        "passes over average_by_batch_size=1",
    ),
    (
        row(
            EIGHT_BITS.format("Int8RoIAlign x R -> y | sampling_ratio=0 aligned=1 Y_scale=0.02 Y_zero_point=120"),
            X=(1, 5, 5, 2),
            R=BOX,
        ),
        "passes over aligned",
    ),
    (row(EIGHT_BITS.format("Int8Sigmoid x -> y | Y_scale=0.00390625 Y_zero_point=0"), X=(2, 3)), "other numbers"),
    (
        row(EIGHT_BITS.format("Int8LeakyRelu x -> y | alpha=0.1 Y_scale=0.05 Y_zero_point=110"), X=(2, 3)),
        "one zero point",
    ),
    *(
        (row(f"{kind} -> Y | shape=3,4 random_seed=5 {more}"), "other numbers from the same random_seed")
        for kind, more in (
            *(("GaussianFill", ""), ("UniformFill", ""), ("UniformIntFill", "min=0 max=1000")),
            *(("XavierFill", ""), ("MSRAFill", "")),
        )
    ),
    *((row(f"{kind} X -> Y", X=MATRIX), "no such operator") for kind in ("Gelu", "Log1p", "Mish", "Erf")),
]
AGREEING = [
    row("ResizeNearest X -> Y | width_scale=2.0", X=(1, 2, 3, 4)),
    row("LRN X -> Y S | size=3 alpha=0.1 beta=0.5 bias=1.0", "Y", X=IMAGE),
    row("ConvTranspose X w -> Y | kernel=3 group=1", X=IMAGE, w=(4, 2, 3, 3)),
    row("Slice X -> Y | starts=1,0 ends=100,-1", X=(6, 2)),
    row("LayerNorm X -> Y M S | axis=1", "Y", X=MATRIX),
    row("TopK X -> V I | k=2", "V", X=MATRIX),
    row("SpatialBN X s b m v -> Y | is_test=1", X=IMAGE, s=(4,), b=(4,), m=(4,), v=np.float32([1, 2, 3, 4])),
    row("PackSegments L X -> Y", L=[3, 1], X=(4, 2)),
]


def notes_of(case: Row) -> list[str]:
    net = case.net()
    return release_differences(net, {name: array.shape for name, array in case.arrays().items()})


@pytest.mark.parametrize(("case", "said"), DIFFERENCES, ids=str)
def test_where_the_releases_differ_is_said(case: Row, said: str) -> None:
    notes = notes_of(case)
    assert len(notes) == 1
    assert said in notes[0]


@pytest.mark.parametrize("case", AGREEING, ids=str)
def test_nothing_is_said_where_they_agree(case: Row) -> None:
    assert notes_of(case) == []


@pytest.fixture(scope="module")
def releases() -> Iterator[tuple[Runtime, Runtime]]:
    """The newer and the older one."""
    newer, older = Runtime.find("1.10.2"), Runtime.find("1.0.0")
    if newer is None or older is None:
        pytest.skip("one of the two releases is not installed (make caffe2)")
    with newer, older:
        yield newer, older


def given(runtime: Runtime, folder: Path, case: Row) -> list[Array] | None:
    """What the real one gives; None where it does not run."""
    try:
        return runtime.run(folder, case.feeds())
    except EngineError:
        return None


def equal(a: list[Array] | None, b: list[Array] | None) -> bool:
    if a is None or b is None:
        return False
    return all(x.shape == y.shape and np.allclose(x, y, rtol=1e-4, atol=1e-5) for x, y in zip(a, b, strict=True))


@pytest.mark.caffe2
@pytest.mark.parametrize("case", [case for case, _ in DIFFERENCES], ids=str)
def test_they_do_differ_there(case: Row, releases: tuple[Runtime, Runtime], tmp_path: Path) -> None:
    files.write(tmp_path, case.net())
    newer, older = (given(runtime, tmp_path, case) for runtime in releases)
    assert newer is not None
    assert not equal(newer, older)


@pytest.mark.caffe2
@pytest.mark.parametrize("case", AGREEING, ids=str)
def test_they_do_agree_there(case: Row, releases: tuple[Runtime, Runtime], tmp_path: Path) -> None:
    files.write(tmp_path, case.net())
    newer, older = (given(runtime, tmp_path, case) for runtime in releases)
    assert newer is not None
    assert equal(newer, older)


def test_every_operator_that_came_later_is_known_as_such() -> None:
    later = {name for name in RULES if name in registered("1.10.2") - registered("1.0.0")}
    silent = [name for name in sorted(later) if "no such operator" not in "".join(notes_of(row(f"{name} X -> Y")))]
    assert silent == []


def test_many_blobs_of_one_operator_are_one_note() -> None:
    case = row(";".join(f"Gelu X -> Y{at}" for at in range(5)), X=MATRIX)
    assert notes_of(case) == ["Y0, Y1, Y2 and 2 more: Gelu: the Caffe2 of torch 1.0 has no such operator"]


@pytest.mark.parametrize("command", [["inspect"], ["check"], ["inspect", "--json"], ["check", "--json"]])
def test_both_commands_say_it(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files.write(tmp_path, row("SpatialBN X s b m v -> Y | is_test=1; FC Y w c -> Z", X=MATRIX, s=(3,), b=(3,), m=(3,),
                              v=np.float32([1, 2, 3]), w=(2, 3), c=(2,)).net())  # fmt: skip
    main([command[0], str(tmp_path), *command[1:]])
    assert "batches of vectors" not in capsys.readouterr().out  # nothing says yet that they are vectors
    files.write(tmp_path, row("LRN X -> Y S | size=2 alpha=0.1 beta=0.5 bias=1.0", "Y", X=IMAGE).net())
    main([command[0], str(tmp_path), *command[1:]])
    assert "ends its process: the size is even" in " ".join(capsys.readouterr().out.split())
