"""Rows for losses, formulas of their own, pictures of detectors and stylizers, seeded draws and recurrent networks."""

from __future__ import annotations

import numpy as np

from caffe2.nets import Row, row

NEW = ("1.10.2",)
RANDOM = np.random.default_rng(9)
POSITIVE = RANDOM.uniform(0.05, 0.95, (4, 3)).astype(np.float32)
OTHER = RANDOM.uniform(0.05, 0.95, (4, 3)).astype(np.float32)
PROBABILITIES = (POSITIVE / POSITIVE.sum(axis=1, keepdims=True)).astype(np.float32)
SIGNS = np.array([1, -1, 1, -1], np.int32)
BITS = RANDOM.integers(-99, 99, (2, 3)).astype(np.int32)

LOSSES: list[Row] = [
    row("SoftmaxWithLoss X L -> P A", "P", "A", X=(4, 3), L=[2, 0, 1, 1]),
    row("SoftmaxWithLoss X L W -> P A | scale=2.5", "P", "A", X=(4, 3), L=[2, 0, 1, 1], W=POSITIVE[:, 0]),
    row("SoftmaxWithLoss X L -> P A | label_prob=1", "P", "A", X=(4, 3), L=PROBABILITIES),
    row("SoftmaxWithLoss X L -> P A | axis=2", "P", "A", X=(2, 2, 3), L=[[2, 0], [1, 1]]),
    row("SpatialSoftmaxWithLoss X L -> P A", "P", "A", X=(1, 3, 2, 2), L=[[[2, -1], [0, 1]]]),
    row("SpatialSoftmaxWithLoss X L W -> P A", "P", "A", X=(1, 3, 2, 2), L=[[[2, -1], [0, 1]]], W=(1, 2, 2)),
    row("LabelCrossEntropy X L -> Y", X=POSITIVE, L=[2, 0, 1, 1]),
    row("CrossEntropy X L -> Y", X=POSITIVE, L=OTHER),
    row("MakeTwoClass X -> Y", X=POSITIVE[:, 0]),
    row("SigmoidCrossEntropyWithLogits X T -> Y", X=(4, 3), T=POSITIVE),
    row("WeightedSigmoidCrossEntropyWithLogits X T W -> Y", X=(4, 3), T=POSITIVE, W=OTHER),
    row("MarginRankingCriterion A B S -> Y | margin=0.3", A=(4,), B=(4,), S=SIGNS),
    row("CosineEmbeddingCriterion A S -> Y | margin=0.3", A=(4,), S=SIGNS),
    row("BernoulliJSD A B -> Y", A=POSITIVE[:, 0], B=OTHER[:, 0]),
    row("Accuracy X L -> Y", X=(4, 3), L=[2, 0, 1, 1]),
    row("Accuracy X L -> Y | top_k=2", X=(4, 3), L=[2, 0, 1, 1]),
]

NUMERIC: list[Row] = [
    *(row(f"Bitwise{name} A B -> Y", A=BITS, B=BITS[:, ::-1].copy()) for name in ("And", "Or", "Xor")),
    row("BitwiseAnd A B -> Y", A=BITS, B=BITS[0], versions=NEW),
    row("BitwiseXor A B -> Y", A=BITS > 0, B=BITS > 20),
    row(
        "BatchBoxCox X A B -> Y",
        X=POSITIVE,
        A=np.array([0.5, 0, -2], np.float32),
        B=np.array([1, 0.5, -0.3], np.float32),
    ),
    row("SinusoidPositionEncoding P -> Y | embedding_size=5 alpha=50.0 amplitude=2.0", P=[[7, 7], [1, 1], [3, 3]]),
    row("IntegralImage X -> Y", X=(2, 3, 4, 5)),
    row("HasElements X -> Y", X=(2, 3)),
    row("SquareRootDivide X S -> Y", X=(3, 2), S=np.array([4, 0, 2], np.float32)),
    row("Conditional C A B -> Y", C=np.array([True, False, True]), A=(3, 2), B=(3, 2)),
    row(
        "WeightScale X I -> Y | stepsize=4 upper_bound_iter=20 scale=0.5",
        X=(3,),
        I=np.array([7], np.int64),
        versions=NEW,
    ),
    row(
        "WeightScale X I -> Y | stepsize=4 upper_bound_iter=20 scale=0.5",
        X=(3,),
        I=np.array([8], np.int64),
        versions=NEW,
    ),
    row("NanCheck X -> Y", X=(3, 2)),
    row("EnforceFinite X -> ; Relu X -> Y", X=(3, 2)),
    row("DiagonalFill -> Y | shape=3,4 value=2.5", X=(1,)),
    row("DiagonalFill X -> Y | value=2.5", X=(3, 3)),
    row("ChannelStats X -> A B", "A", "B", X=(2, 3, 4, 5)),
    row("BatchMoments X -> A B", "A", "B", X=(2, 3, 4, 5), versions=NEW),
    row("BatchMoments X -> A B | order=NHWC", "A", "B", X=(2, 4, 5, 3), versions=NEW),
    row("RMSNorm X g b -> Y R | eps=0.1", "Y", "R", X=(3, 4), g=(4,), b=(4,), versions=NEW),
    row("SumReduceLike A B -> Y | broadcast=1", A=(2, 3, 4), B=(3, 4)),
    row("SumReduceLike A B -> Y | broadcast=1 axis=1", A=(2, 3, 4), B=(3,)),
    row("Add A B -> Y | axis=1", A=(2, 3), B=(2, 3)),
    row("SumElementsInt X -> Y", X=[5, -2, 9]),
    row("ReduceBackSum X L -> Y", X=(2, 3, 4), L=[1, 2, 3, 4, 2, 1]),
    row("ReduceBackMean X L -> Y", X=(2, 3, 4), L=[1, 2, 3, 4, 2, 1]),
    row("ReduceBackMax X L -> Y", X=(2, 3, 4), L=[1, 2, 3, 4, 2, 1]),
    row("ReduceFrontSum X L -> Y", X=(4, 3, 2), L=[1, 2, 3, 4, 2, 1]),
    row("ReduceFrontMean X L -> Y", X=(4, 3, 2), L=[1, 2, 3, 4, 2, 1]),
    row("Slice X S E -> Y", X=(4, 5, 3), S=[0, -3, 0], E=[-1, -2, -1]),
    row("Tile X T A -> Y", X=(2, 3), T=[3], A=[1], versions=NEW),
    row("LRN X -> Y S | size=3 alpha=0.1 beta=0.5", "Y", "S", X=(2, 6, 3, 3)),
    row("InstanceNorm X s b -> Y M V", "Y", "M", "V", X=(2, 3, 4, 4), s=(3,), b=(3,)),
    row("AsyncNetBarrier A B -> A B; Relu A -> Y", "Y", "B", A=(3,), B=(2,), versions=NEW),
    row("ZeroGradient X -> ; Relu X -> Y", X=(3,)),
    row("Dropout X -> Y M | ratio=0.0 is_test=0", "Y", X=(3,)),
    row("GivenTensorFill -> Y | dtype=2 shape=3, values=4,5,6", X=(1,), versions=NEW),
    row("GivenTensorInt16Fill -> Y | shape=3, values=4,5,6", X=(1,), versions=NEW),
]

PICTURES: list[Row] = [
    row("ConvRelu X w b -> Y | kernel=2 pad=1", X=(1, 2, 4, 4), w=(3, 2, 2, 2), b=(3,), versions=NEW),
    row("LC X w b -> Y | kernels=2, ", X=(2, 3, 5), w=(4, 4, 3, 2), b=(4, 4)),
    row("LC1D X w -> Y | kernels=2, strides=2,", X=(2, 3, 6), w=(3, 4, 3, 2)),
    row("LC X w b -> Y | kernel=2 order=NHWC", X=(2, 3, 4, 3), w=(2, 3, 4, 2, 2, 3), b=(2, 3, 4)),
    row("LC3D X w -> Y | kernels=2,1,2", X=(2, 3, 3, 2, 3), w=(2, 2, 2, 4, 3, 2, 1, 2), versions=NEW),
    row("Im2Col X -> Y | kernel=2 stride=1", X=(2, 3, 4, 5)),
    row("Im2Col X -> Y | kernel_h=2 kernel_w=3 stride=2 pad=1 dilation=2", X=(2, 3, 6, 7)),
    row("Im2Col X -> Y | kernel=2 order=NHWC", X=(2, 4, 5, 3)),
    row("UpsampleBilinear X S -> Y", X=(1, 2, 4, 5), S=np.array([1.5, 2], np.float32), versions=NEW),
    row("UpsampleBilinear X -> Y | order=NHWC width_scale=2.0", X=(1, 2, 4, 5)),
    row("ResizeNearest X S -> Y", X=(1, 2, 4, 5), S=np.array([1.5, 2], np.float32), versions=NEW),
]

_ROIS = np.array([[0, 1, 2, 9, 7], [1, 0, 0, 3, 4], [1, 5, 1, 6, 8]], np.float32)
_ROTATED = np.array([[0, 5, 4, 6, 3, 30], [1, 3, 3, 2, 5, -75], [1, 1, 6, 0.5, 9, 120]], np.float32)
_INFO = np.array([[12, 14, 1], [10, 8, 2]], np.float32)
DETECTION: list[Row] = [
    row("BBoxTransform R X I -> Y B | correct_transform_coords=1 apply_scale=0", "Y", "B", R=_ROIS, X=(3, 8), I=_INFO),
    row(
        "BBoxTransform R X I -> Y | correct_transform_coords=1 weights=10.0,10.0,5.0,5.0",
        R=_ROIS[:, 1:].copy(),
        X=(3, 4),
        I=_INFO[:1],
    ),
    row("BBoxTransform R X I -> Y | legacy_plus_one=0", R=_ROIS, X=(3, 4), I=_INFO, versions=NEW),
    row("BBoxTransform R X I -> Y | rotated=1", R=_ROTATED, X=(3, 10), I=_INFO, versions=NEW),
    row(
        "BBoxTransform R X I -> Y | rotated=1 clip_angle_thresh=180.0 angle_bound_on=0",
        R=_ROTATED,
        X=(3, 5),
        I=_INFO,
        versions=NEW,
    ),
    row("RoIAlign X R -> Y | pooled_h=2 pooled_w=3 spatial_scale=0.5 sampling_ratio=2", X=(2, 3, 8, 9), R=_ROIS),
    row("RoIAlign X R -> Y | pooled_h=2 pooled_w=3 sampling_ratio=0", X=(1, 3, 8, 9), R=_ROIS[:, 1:].copy()),
    row("RoIAlign X R -> Y | pooled_h=2 pooled_w=2 sampling_ratio=0 aligned=1", X=(2, 3, 8, 9), R=_ROIS, versions=NEW),
    row(
        "RoIAlignRotated X R -> Y | pooled_h=2 pooled_w=3 sampling_ratio=2 spatial_scale=0.5",
        X=(2, 3, 8, 9),
        R=_ROTATED,
    ),
    row("RoIAlignRotated X R -> Y | pooled_h=3 pooled_w=2 sampling_ratio=0", X=(2, 3, 8, 9), R=_ROTATED),
    row(
        "RoIAlignRotated X R -> Y | pooled_h=2 pooled_w=2 sampling_ratio=1 aligned=1",
        X=(2, 3, 8, 9),
        R=_ROTATED,
        versions=NEW,
    ),
]

_SCORES = RANDOM.uniform(0, 1, (7, 4)).astype(np.float32)
_CORNERS = RANDOM.uniform(0, 20, (7, 4, 2)).astype(np.float32)
_BOXES = np.concatenate([_CORNERS, _CORNERS + RANDOM.uniform(2, 15, (7, 4, 2)).astype(np.float32)], axis=2)
_ANCHORS = np.array([[-4, -4, 6, 8], [-9, -3, 9, 5]], np.float32)
_SIX = ("S", "B", "C", "N", "K", "L")
PROPOSALS: list[Row] = [
    row(
        "GenerateProposals S X I a -> R P | spatial_scale=0.25 min_size=3.0 pre_nms_topN=30 post_nms_topN=9",
        "R",
        "P",
        S=RANDOM.uniform(0, 1, (2, 2, 5, 6)).astype(np.float32),
        X=(2, 8, 5, 6),
        a=_ANCHORS,
        versions=NEW,
        I=np.array([[20, 24, 1], [18, 20, 1.5]], np.float32),
    ),
    row(
        "GenerateProposals S X I a -> R P | spatial_scale=0.25 min_size=0.0 nms_thresh=0.4 correct_transform_coords=1",
        "R",
        "P",
        S=RANDOM.uniform(0, 1, (1, 2, 5, 6)).astype(np.float32),
        X=(1, 8, 5, 6),
        a=_ANCHORS,
        I=np.array([[20, 24, 1]], np.float32),
    ),
    row("BoxWithNMSLimit X Z -> S B C N K L | score_thresh=0.2 nms=0.3", *_SIX, X=_SCORES, Z=_BOXES.reshape(7, 16)),
    row(
        "BoxWithNMSLimit X Z -> S B C N K L | score_thresh=0.1 nms=0.5 detections_per_im=5",
        *_SIX,
        X=_SCORES,
        Z=_BOXES.reshape(7, 16),
    ),
    row(
        "BoxWithNMSLimit X Z D -> S B C N K L | score_thresh=0.1 nms=0.5 detections_per_im=4",
        *_SIX,
        X=_SCORES,
        Z=_BOXES.reshape(7, 16),
        D=np.array([4, 3], np.float32),
    ),
    row(
        "BoxWithNMSLimit X Z -> S B C | score_thresh=0.1 nms=0.5 cls_agnostic_bbox_reg=1 legacy_plus_one=0",
        *_SIX[:3],
        X=_SCORES,
        Z=_BOXES[:, 0].copy(),
        versions=NEW,
    ),
]

STYLIZER: list[Row] = [
    row(
        "BRGNCHWCToPackedInt8BGRAStylizerDeprocess X m -> Y",
        X=(RANDOM.normal(size=(1, 3, 2, 2)) * 200).astype(np.float32),
        m=np.array([100, 110, 120], np.float32),
    ),
    row(
        "PackedInt8BGRANHWCToNCHWCStylizerPreprocess X m -> Y | noise_std=0.0",
        X=RANDOM.integers(0, 256, (1, 20, 9, 4)).astype(np.uint8),
        m=np.array([100, 110, 120], np.float32),
    ),
    row(
        "PackedInt8BGRANHWCToNCHWCStylizerPreprocess X m -> Y | noise_std=5.0 noise_size=47 random_seed=3",
        X=RANDOM.integers(0, 256, (2, 20, 9, 4)).astype(np.uint8),
        m=np.array([100, 110, 120], np.float32),
        versions=NEW,
    ),
]

DRAWN: list[Row] = [
    row("GaussianFill -> Y | shape=3,5 mean=1.0 std=2.0 random_seed=7", X=(1,), versions=NEW),
    row("GaussianFill X -> Y | random_seed=0", X=(3, 2), versions=NEW),
    row(
        "UniformFill s -> Y | input_as_shape=1 min=-3.0 max=10.0 random_seed=7",
        X=(1,),
        s=np.array([2, 3], np.int64),
        versions=NEW,
    ),
    row("UniformIntFill -> Y | shape=9, min=2 max=9 random_seed=5", X=(1,), versions=NEW),
    row("Float16UniformFill -> Y | shape=3,5 min=-2.0 max=3.0 random_seed=5", X=(1,), versions=NEW),
    row("XavierFill -> Y | shape=4,3,2 random_seed=5", X=(1,), versions=NEW),
    row("MSRAFill -> Y | shape=4,3,2 random_seed=5", X=(1,), versions=NEW),
]

MORE: list[Row] = [*LOSSES, *NUMERIC, *PICTURES, *DETECTION, *PROPOSALS, *STYLIZER, *DRAWN]
