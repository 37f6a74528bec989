"""Translation as OpenNMT published it: steps of recurrences, embeddings, attention, encoders of whole sentences."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from retorch.layers.base.layer import Array, Layer, Nested, Refusal, layer
from retorch.layers.convolution.spatial import check_rank
from retorch.layers.lookup import LookupTable, picked

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values


@layer(
    "onmt.Network",
    "onmt.WordEmbedding",
    "onmt.FeaturesEmbedding",
    "onmt.LSTM",
    "onmt.GRU",
    "onmt.Bridge",
    kind="wrapper",
)
class Network(Layer):
    """net(x): a step of a recurrence or an embedding, of OpenNMT"""

    container: ClassVar[bool] = True
    net: Layer
    ignored = frozenset(
        {"modules", "vocabSize", "fix", "outputSize", "dropout", "numEffectiveLayers", "regularization", "args", "opt"}
        | {"batchNorm", "eps", "momentum", "affine", "recurrents", "name", "version", "numStates", "preTrained"}
        | {"preTrainedVecSize", "rindexLinear", "inputSize"}
    )

    def children(self) -> Iterable[Layer]:
        return (self.net,)

    def forward(self, x: Nested) -> Nested:
        return self.net(x)

    def lower(self, op: Builder, x: Values) -> Values:
        return op.call(self.net, x)


@layer("onmt.Attention", "onmt.GlobalAttention", "onmt.NoAttention", "onmt.MaskedSoftmax", kind="wrapper")
class Attention(Network):
    """net(x): what a decoder's step looks at, of OpenNMT"""


@layer("onmt.Generator", "onmt.FeaturesGenerator", kind="wrapper")
class Generator(Network):
    """net(x), of a table net(x1): the scores of words, of OpenNMT"""

    def forward(self, x: Nested) -> Nested:
        return self.net(x[0] if isinstance(x, list) else x)

    def lower(self, op: Builder, x: Values) -> Values:
        return op.call(self.net, x[0] if isinstance(x, list) else x)


@layer("onmt.VariationalDropout", kind="dropout")
class VariationalDropout(Layer):
    """x in a tensor of its own: drops, the same at every step, in training only"""

    ignored = frozenset({"p", "noiseInit", "sharedNoise"})

    def forward(self, x: Array) -> Array:
        return x.copy()

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Identity(x)


@layer("onmt.JoinReplicateTable", kind="concat")
class JoinReplicateTable(Layer):
    """x1, x2, … joined along ``dimensionJoin``, each repeated along ``dimensionReplicate`` where it has one entry there

    Both dimensions count without the batch where the first input has one more than ``nInputDims``.
    """

    dimensionReplicate: int
    dimensionJoin: int
    nInputDims: int | None = None
    ignored = frozenset({"size"})

    def axes(self, x: list[Array] | list[Value]) -> tuple[int, int, int]:
        """Which dimensions are repeated and joined, from 0, and how many entries the first one gets."""
        rank = len(x[0].shape)
        batch = self.nInputDims is not None and rank == self.nInputDims + 1
        along, join = (d - 1 + batch if d > 0 else rank + d for d in (self.dimensionReplicate, self.dimensionJoin))
        for tensor in x:
            check_rank(tensor, rank)
        sizes = [tensor.shape[along] for tensor in x]
        most = max(sizes)
        if set(sizes) - {1, most}:
            raise Refusal(f"repeats tensors of {' and '.join(map(str, sizes))} entries to one size")
        repeated = [i for i, size in enumerate(sizes) if size != most]
        if repeated != list(range(len(repeated))):
            raise Refusal("leaves tensors repeated for their other readers, if they are not the first of its table")
        return along, join, most

    def forward(self, x: list[Array]) -> Array:
        along, join, most = self.axes(x)
        return np.concatenate([np.repeat(t, most // t.shape[along], axis=along) for t in x], axis=join)

    def lower(self, op: Builder, x: list[Value]) -> Value:
        along, join, most = self.axes(x)
        rank = x[0].rank
        times = [most if i == along else 1 for i in range(rank)]
        return op.Concat(*[t if t.shape[along] == most else op.Tile(t, times) for t in x], axis=join)


@layer("onmt.PositionEmbedding", kind="lookup")
class PositionEmbedding(Layer):
    """{x, lengths} ↦ the rows of weight for the places of a sentence's words, which stand at its end

    They are the rows 2, 3, … up to ``max_pos`` + 1, and 1 for the padding before them; of x (N, T, C) the sizes count.
    """

    weight: Array
    max_pos: int
    dimension: int = 2
    ignored = LookupTable.ignored | {"nOutput", "input", "maxNorm", "normType"}

    def check(self, x: list[Array] | list[Value]) -> None:
        check_rank(x[0], 3)
        if self.dimension not in (2, -2):
            raise Refusal(f"counts along dimension {self.dimension}")
        if x[1].shape != x[0].shape[:1]:
            raise Refusal(f"takes one length for each of {x[0].shape[0]} sentences, not {x[1].shape}")

    def forward(self, x: list[Array]) -> Array:
        self.check(x)
        first = np.arange(1 - x[0].shape[1], 1, dtype=np.int64)
        place = x[1].astype(np.int64)[:, None] + first
        return picked(self.weight, np.clip(place, 0, self.max_pos))

    def lower(self, op: Builder, x: list[Value]) -> Value:
        self.check(x)
        lengths = x[1] if x[1].is_float else op.Cast(x[1], to=1)
        first = np.arange(1 - x[0].shape[1], 1, dtype=np.float32)
        place = op.Clip(op.Add(op.Unsqueeze(lengths, [1]), first), 0.0, float(self.max_pos))
        return op.Gather(op.weight(self.weight, "w"), op.Cast(place, to=7), axis=0)
