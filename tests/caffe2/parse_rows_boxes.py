"""Rows for boxes that overlap: faded, without a background, and equally likely."""

from __future__ import annotations

import numpy as np

from caffe2.nets import Row, row

RANDOM = np.random.default_rng(31)
_SIX = ("S", "B", "C", "N", "K", "L")
_LOW = RANDOM.uniform(0, 40, (9, 4, 2))
#: Nine boxes for each of four classes, and their scores.
BOXES = np.concatenate([_LOW, _LOW + RANDOM.uniform(15, 40, (9, 4, 2))], axis=2).astype(np.float32)
SCORES = RANDOM.uniform(0, 1, (9, 4)).astype(np.float32)
_MANY = RANDOM.uniform(0, 200, (70, 2))
#: Seventy boxes of two classes with few different scores.
MANY = np.concatenate([_MANY, _MANY + 30, _MANY, _MANY + 30], axis=1).astype(np.float32)
TIED = (RANDOM.integers(1, 4, (70, 2)) / np.float32(4)).astype(np.float32)

FADED: list[Row] = [
    row(
        f"BoxWithNMSLimit X Z -> S B C N K L | score_thresh=0.2 nms=0.3 soft_nms_enabled=1 {more}",
        *_SIX, X=SCORES, Z=BOXES.reshape(9, 16),
    )
    for more in (
        "soft_nms_method=linear",
        "soft_nms_method=gaussian soft_nms_sigma=0.25",
        "soft_nms_method=gaussian soft_nms_min_score_thres=0.4 detections_per_im=6",
        "soft_nms_method=linear detections_per_im=0",
    )
]  # fmt: skip

ANCHORS = np.array([[-24, -24, 40, 40], [-60, -30, 75, 45], [-30, -60, 45, 75]], np.float32)
PICTURE = np.array([[80, 80, 1]], np.float32)
DELTAS = RANDOM.normal(0, 0.2, (1, 12, 5, 5)).astype(np.float32)
LIKELY = RANDOM.permutation(75).reshape(1, 3, 5, 5).astype(np.float32) / np.float32(75)

PROPOSALS: list[Row] = [
    row("GenerateProposals S D I a -> R P; RoIAlign X R -> Y | pooled_h=2 pooled_w=2 sampling_ratio=0", "Y", "R", "P",
        S=LIKELY, D=DELTAS, I=PICTURE, a=ANCHORS, X=(1, 2, 5, 5), versions=("1.10.2",)),
    *(
        row(f"GenerateProposals S D I a -> R P | {more}", "R", "P", S=np.floor(LIKELY * 9) / np.float32(9), D=DELTAS,
            I=PICTURE, a=ANCHORS, versions=("1.10.2",))
        for more in ("pre_nms_topN=0", "post_nms_topN=20 nms_thresh=0.5")
    ),
]  # fmt: skip

LEANING_ANCHORS = np.array([[8, 8, 64, 64, 0], [8, 8, 130, 60, 30], [8, 8, 40, 120, -60]], np.float32)
LEANING_DELTAS = RANDOM.normal(0, 0.2, (1, 15, 5, 5)).astype(np.float32)
#: Twelve boxes of centre, size and angle for each of three classes.
LEANING = np.concatenate(
    [RANDOM.uniform(20, 50, (12, 3, 2)), RANDOM.uniform(10, 40, (12, 3, 2)), RANDOM.uniform(-90, 90, (12, 3, 1))],
    axis=2,
).astype(np.float32)

LEANING_SCORES = RANDOM.permutation(36).reshape(12, 3).astype(np.float32) / np.float32(36)

LEANING_ROWS: list[Row] = [
    *(
        row(f"GenerateProposals S D I a -> R P | {more}", "R", "P", S=LIKELY, D=LEANING_DELTAS, I=PICTURE,
            a=LEANING_ANCHORS, versions=("1.10.2",))
        for more in ("nms_thresh=0.5", "legacy_plus_one=0 pre_nms_topN=30 post_nms_topN=6", "clip_angle_thresh=40.0",
                     "angle_bound_lo=0 angle_bound_hi=180", "angle_bound_on=0 min_size=0.0")
    ),
    *(
        row(f"BoxWithNMSLimit X Z -> S B C N K L | rotated=1 {more}", *_SIX, X=LEANING_SCORES,
            Z=LEANING.reshape(12, 15), versions=("1.10.2",))
        for more in ("nms=0.4 score_thresh=0.1", "detections_per_im=5", "soft_nms_enabled=1",
                     "soft_nms_enabled=1 soft_nms_method=gaussian")
    ),
]  # fmt: skip

BOXES_ROWS: list[Row] = [
    *LEANING_ROWS,
    *PROPOSALS,
    *FADED,
    row("BoxWithNMSLimit X Z D -> S B C N | score_thresh=0.2 soft_nms_enabled=1", *_SIX[:4], X=SCORES,
        Z=BOXES.reshape(9, 16), D=np.array([4, 5], np.float32)),
    row("BoxWithNMSLimit X Z -> S B C N K L | score_thresh=0.2 nms=0.3 input_boxes_include_bg_cls=0", *_SIX,
        X=SCORES, Z=BOXES[:, 1:].reshape(9, 12), versions=("1.10.2",)),
    row("BoxWithNMSLimit X Z -> S B C N K L | input_boxes_include_bg_cls=0 output_classes_include_bg_cls=0", *_SIX,
        X=SCORES, Z=BOXES[:, 1:].reshape(9, 12), versions=("1.10.2",)),
    *(
        row(f"BoxWithNMSLimit X Z -> S B C N K L | score_thresh=0.3 nms=0.5 detections_per_im={most}", *_SIX,
            X=TIED, Z=MANY)
        for most in (3, 20, 0)
    ),
    row("BoxWithNMSLimit X Z -> S B C N K L", *_SIX, X=SCORES.reshape(9, 4, 1, 1), Z=BOXES.reshape(9, 16, 1, 1)),
]  # fmt: skip
