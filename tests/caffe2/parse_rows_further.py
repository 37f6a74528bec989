"""Rows for pyramids of boxes, rows written over, masks of sequences, blocks of pictures and metrics."""

from __future__ import annotations

import numpy as np

from caffe2.nets import Array, Row, row
from caffe2.parse_rows_features import floats, i64
from caffe2.parse_rows_ragged import LENGTHS, NEW, D

RANDOM = np.random.default_rng(12)


def boxes(count: int, most: float) -> Array:
    """Boxes of pictures: number, x1, y1, x2, y2; none of them a power of two times 224 large."""
    low, size = RANDOM.uniform(0, most, (count, 2)), RANDOM.uniform(1, most, (count, 2))
    return np.concatenate([np.zeros((count, 1)), low, low + size], axis=1).astype(np.float32)


def scores(count: int) -> Array:
    """As many different scores."""
    return (RANDOM.permutation(count) / np.float32(count)).astype(np.float32)


BOXES, PROBABLE = boxes(12, 700), scores(12)

PYRAMIDS: list[Row] = [
    row("CollectRpnProposals A B S T -> Y | rpn_min_level=2 rpn_max_level=3 rpn_post_nms_topN=9",
        A=BOXES[:7], B=BOXES[7:], S=PROBABLE[:7], T=PROBABLE[7:], versions=NEW),
    row("DistributeFpnProposals X -> A B C D R", "A", "B", "C", "D", "R", X=BOXES, versions=NEW),
    row("DistributeFpnProposals X -> A B R | roi_min_level=3 roi_max_level=4 roi_canonical_scale=300 "
        "roi_canonical_level=3 legacy_plus_one=0", "A", "B", "R", X=BOXES, versions=NEW),
    row("CollectAndDistributeFpnRpnProposals A S -> Y B C R | rpn_min_level=2 rpn_max_level=2 roi_min_level=3 "
        "roi_max_level=4", "Y", "B", "C", "R", A=BOXES, S=PROBABLE.reshape(-1, 1)),
    *(row("RMACRegions X -> Y", X=shape) for shape in ((2, 1, 7, 7), (1, 1, 9, 14), (2, 1, 16, 5))),
    row("RMACRegions X -> Y | scales=5 overlap=0.6", X=(1, 1, 3, 20)),
    row("HeatmapMaxKeypoint X B -> Y", X=(2, 3, 5, 5), B=BOXES[:2, 1:], versions=NEW),
    row("HeatmapMaxKeypoint X B -> Y | should_output_softmax=1", X=(3, 4, 2, 2), B=BOXES[:3, 1:], versions=NEW),
    row("RoIPool X R -> Y | is_test=1 pooled_h=2 pooled_w=3 spatial_scale=0.5", X=(2, 3, 8, 9),
        R=np.array([[0, 0, 0, 11, 9], [1, 4, 3, 5, 14], [1, 20, 2, 29, 7], [0, 3, 3, 3, 3]], np.float32)),
]  # fmt: skip

WRITTEN: list[Row] = [
    row("Scatter X I U -> X | axis=1", "X", X=(2, 5), I=i64(4, 0, 1, 1).reshape(2, 2), U=(2, 2), versions=NEW),
    row("Scatter X I U -> X | axis=0", "X", X=(3, 2), I=[[2, 0]], U=(1, 2), versions=NEW),
    row("CopyRowsToTensor X I R -> X", "X", X=(4, 3), I=i64(2, 0), R=(3,), versions=NEW),
    row("ScatterWeightedSum X W I Z V -> X", "X", X=(4, 3), W=floats(0.5), I=[2, 0], Z=(2, 3), V=floats(-2)),
    row("ScatterWeightedSum X W I Z V U T -> X", "X", X=(4, 3), W=floats(0.5), I=i64(2, 2), Z=(2, 3), V=floats(-2),
        U=(2, 3), T=floats(3)),
    row("BatchPermutation X I -> Y", X=(4, 2, 3), I=[2, 0, 3, 1], versions=NEW),
    row("UnsafeCoalesce A B -> C D Y", "C", "D", "Y", A=(2, 3), B=(4,), versions=NEW),
    row("ScaleBlobs A B -> C D | scale=-1.5", "C", "D", A=(2, 3), B=(4,), versions=NEW),
    row("EnsureClipped X -> X | min=-0.5 max=0.25", "X", X=(3, 4), versions=NEW),
    row("SumInt A B -> Y", A=[1, 2], B=[3, -5]),
    row("SumRelu A B -> Y", A=(2, 3), B=(2, 3), versions=NEW),
    row("IsNaN X -> Y", X=floats(1, np.nan, 0), versions=NEW),
    row("CopyOnDeviceLike X Z -> Y", X=(2, 3), Z=(1,)),
    row("Where C A B -> Y", C=np.array([True, False, True]), A=np.array([True, True, False]), B=np.array([False] * 3)),
    row("BooleanUnmask A X B Z -> Y", A=np.array([True, False, False]), B=np.array([False, True, True]),
        X=np.array([True]), Z=np.array([False, True])),
    row("Split X S -> A B | axis=0", "A", "B", X=(5, 2), S=[2, 3]),
    row("Float16ConstantFill -> H | shape=2,3 value=0.3; HalfToFloat H -> Y; Relu X -> Z", "Y", "Z", X=(1,),
        versions=NEW),
    row("RangeFill X -> Y", X=(2, 3)),
    row("RangeFill -> Z | shape=2,2; Relu X -> Y", "Y", "Z", X=(1,)),
]  # fmt: skip

MASKS: list[Row] = [
    row("PadEmptySamples L X Z -> M Y W", "M", "Y", "W", L=LENGTHS, X=D, Z=i64(1, 2, 3, 4, 5, 6)),
    row("BooleanMaskLengths L M -> Y", L=LENGTHS, M=np.array([True, False, False, True, True, True])),
    row("VariableLengthSequencePadding X L -> X", "X", X=(4, 3, 2), L=[2, 0, 4], versions=NEW),
    row("SequenceMask X L -> Y | mode=sequence fill_val=-9.0 axis=2 batch=0", X=(2, 3, 5), L=[4, 0, 2], versions=NEW),
    row("SequenceMask X L -> Y | mode=window radius=1 fill_val=-9.0 axis=2 batch=0", X=(2, 3, 5), L=[4, 0, 2],
        versions=NEW),
    row("SequenceMask X -> Y | mode=lower fill_val=-9.0 axis=3 batch=1", X=(2, 3, 4, 5), versions=NEW),
    row("SequenceMask X L -> Y | mode=sequence fill_val=-9.0 axis=1 repeat_from_axis=2", X=(3, 4, 2), L=[4, 0, 2],
        versions=NEW),
    *(
        row(f"SigmoidCrossEntropyWithLogits X T -> Y | {name}=1", X=(3, 4), T=np.eye(3, 4, dtype=np.float32))
        for name in ("log_D_trick", "unjoined_lr_loss")
    ),
    row("SumReduceLike X Z -> Y | broadcast=1", X=(2, 3, 4, 5), Z=(1, 3, 4, 1)),
    row("SumReduceLike X Z -> Y | broadcast=1", X=(2, 3, 4, 5), Z=(1,)),
]  # fmt: skip

BLOCKS: list[Row] = [
    row("SpaceToBatch X -> Y", X=(2, 3, 4, 6)),
    row("SpaceToBatch X -> Y | block_size=3 pad=1", X=(2, 3, 4, 7)),
    row("SpaceToBatch X -> Y | block_size=2 pad_t=1", X=(2, 3, 3, 6)),
    row("BatchToSpace X -> Y", X=(8, 3, 2, 3)),
    row("BatchToSpace X -> Y | block_size=3 pad=1", X=(9, 3, 2, 3)),
    row("Col2Im X Z -> Y | kernel=3 stride=2 pad=1", X=(2, 18, 3, 4), Z=(2, 2, 5, 7)),
    row("Col2Im X Z -> Y | kernel_h=2 kernel_w=3 dilation_h=2 dilation_w=1 stride_h=1 stride_w=1",
        X=(1, 12, 4, 5), Z=(1, 2, 6, 7)),
    row("Col2Im X Z -> Y | kernel=2 order=NHWC", X=(2, 3, 4, 12), Z=(2, 4, 5, 3)),
    row("NormalizePlanarYUV X M S -> Y", X=(2, 3, 4, 5), M=(1, 3), S=RANDOM.uniform(1, 2, (1, 3)).astype(np.float32)),
    row("DotProductWithPadding A B -> Y | pad_value=0.5", A=(3, 4), B=(3, 6)),
    row("DotProductWithPadding A B -> Y | replicate=1", A=(3, 6), B=(3, 2)),
    row("DotProductWithPadding A B -> Y", A=(3, 5), B=(3, 5)),
    row("ConcatBatchMatMulBatchGatherOp I A B C -> Y", I=[1, 2, 5], A=(2, 4), B=(2, 4), C=(2, 4), versions=NEW),
    row("TT X b c -> Y | inp_sizes=2,3 out_sizes=4,2 tt_ranks=1,2,1", X=(3, 6), b=(8,), c=(28,)),
    row("ReduceFrontWeightedSum X W -> Y", X=D, W=(6,)),
    row("QuantDecode B C D -> X Y", "X", "Y", B=(9,), C=np.array([[8, 0], [3, 3]], np.uint8), D=[4, 5]),
    row("ByteWeightDequant X -> Y | shape=2,3 min=-1.5 max=4.0", X=np.arange(0, 240, 40, dtype=np.uint8)),
    row("MultiClassAccuracy X L -> A N", "A", "N", X=(5, 4), L=[0, 2, 2, 1, 0]),
    row("Perplexity X -> Y", X=RANDOM.uniform(0.1, 0.9, 6).astype(np.float32)),
    row("Summarize X -> Y", X=(3, 4)),
    row("Summarize X -> Y", X=(1,)),
]  # fmt: skip

PATHS: list[Row] = [
    row("Dropout X -> Y M | ratio=0.0 is_test=0", "Y", "M", X=(2, 3)),
    row("ViterbiPath X T -> Y", X=(7, 4), T=(4, 4)),
    row("ViterbiPath X T -> Y", X=(1, 4), T=(4, 4)),
    row("SwapBestPath X L -> Y", X=(4, 3), L=[2, 0, 1, 1]),
]

FURTHER: list[Row] = [*PATHS, *PYRAMIDS, *WRITTEN, *MASKS, *BLOCKS]
