"""Rows for sequences: labels read from scores, packed and unpacked rows, stacks of LSTMs."""

from __future__ import annotations

import numpy as np

from caffe2.nets import Array, Row, row
from caffe2.parse_rows_features import i64
from caffe2.parse_rows_ragged import NEW

#: Scores of few values, so that labels repeat and are equally likely.
SCORES = np.random.default_rng(5).integers(0, 4, (7, 3, 4)).astype(np.float32)

OLD = ("1.0.0",)

#: Likelihoods of which many are equal, and some 0.
LIKELY = np.random.default_rng(6).integers(0, 4, (8, 3, 4)).astype(np.float32) / np.float32(8)
UNEQUAL = np.random.default_rng(7).dirichlet([0.5] * 6, (9, 2)).astype(np.float32)


def lstm(sizes: tuple[int, int], layers: int, ways: int, biases: bool) -> dict[str, Array]:
    """The weights of a stack of LSTMs, in order: of each layer and direction two matrices, then two vectors."""
    random, (features, size) = np.random.default_rng(layers), sizes
    made: list[Array] = []
    for layer in range(layers):
        across = features if layer == 0 else ways * size
        for _ in range(ways):
            made += [random.normal(size=(4 * size, inner)) for inner in (across, size)]
            made += [random.normal(size=4 * size) for _ in range(2 * biases)]
    return {f"w{at}": array.astype(np.float32) for at, array in enumerate(made)}


def stack(layers: int, ways: int, more: str, *, biases: bool = True, x: tuple[int, ...] = (5, 2, 3)) -> Row:
    """A stack of LSTMs over five steps of two examples."""
    weights = lstm((3, 4), layers, ways, biases)
    text = f"InferenceLSTM X H C {' '.join(weights)} -> Y A B | num_layers={layers} {more}"
    states = (layers * ways, 2, 4)
    return row(text, "Y", "A", "B", X=x, H=states, C=states, versions=NEW, **weights)


SEQUENCES: list[Row] = [
    row("CTCGreedyDecoder X L -> Y V", "Y", "V", X=SCORES, L=[7, 3, 0]),
    row("CTCGreedyDecoder X -> Y V | merge_repeated=1", "Y", "V", X=SCORES),
    row("CTCGreedyDecoder X L -> Y V | merge_repeated=0", "Y", "V", X=SCORES, L=[2, 7, 5]),
    # Without the third output the newer one ends; the older one has none. The last row asks for more than there are.
    row("CTCBeamSearchDecoder X L -> Y V | num_candidates=2", "Y", "V", X=LIKELY, L=[8, 5, 0], versions=OLD),
    row("CTCBeamSearchDecoder X -> Y V | beam_width=2 prune_threshold=0.3", "Y", "V", X=UNEQUAL, versions=OLD),
    row("CTCBeamSearchDecoder X L -> Y V P", *"YVP", X=LIKELY, L=[8, 5, 0], versions=NEW),
    row("CTCBeamSearchDecoder X -> Y V P | beam_width=1 prune_threshold=0.3", *"YVP", X=LIKELY, versions=NEW),
    row("CTCBeamSearchDecoder X -> Y V P | beam_width=2 prune_threshold=0.0", *"YVP", X=(6, 2, 3), versions=NEW),
    row("CTCBeamSearchDecoder X -> Y V P | num_candidates=3", "Y", "V", X=LIKELY, versions=NEW),
    row("CTCBeamSearchDecoder X -> Y V P | beam_width=3 num_candidates=4", *"YVP", X=UNEQUAL, versions=NEW),
    row(
        "CTCBeamSearchDecoder X L -> Y V P | beam_width=2 num_candidates=9",
        *"YVP",
        X=UNEQUAL[..., :2].copy(),
        L=[9, 2],
        versions=NEW,
    ),
    row("PackRNNSequence X L -> Y", X=(6, 2), L=[2, 0, 4]),
    row("PackRNNSequence X L -> Y", X=i64(*range(18)).reshape(3, 3, 2), L=[1, 2]),
    row("PackRNNSequence X L -> Y", X=(0, 2), L=[0, 0]),
    row("PackSegments L X -> Y", X=(0, 2), L=[0, 0]),
    row("UnpackRNNSequence X L -> Y", X=(4, 3, 2), L=[2, 0, 4]),
    row("UnpackRNNSequence X L -> Y", X=i64(*range(24)).reshape(3, 2, 2, 2), L=[1, 2]),
    *(
        row(
            "TTSparseLengthsSum A B C I L -> Y P Q S | factor_i=2,3,4 factor_j=2,1,3 ranks=1,2,3,1 emb_size=6",
            "Y",
            "P",
            "Q",
            "S",
            A=(2, 1, 2, 2),
            B=(3, 2, 1, 3),
            C=(4, 3, 3, 1),
            I=i64(*numbers),
            L=lengths,
            versions=NEW,
        )
        for numbers, lengths in (((0, 23, 5, 5, 12), [2, 0, 3, 0]), ((7,), [1]))
    ),
    stack(1, 1, ""),
    stack(2, 1, "has_biases=0", biases=False),
    stack(2, 2, "bidirectional=1"),
    stack(1, 2, "bidirectional=1 batch_first=1", x=(2, 5, 3)),
]
