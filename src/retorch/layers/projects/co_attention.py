"""Questions and pictures attending to each other, word by word, phrase by phrase and as a whole (HieCoAttenVQA)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from retorch.layers.base.layer import Array, Layer, Nested, Refusal, layer
from retorch.layers.base.memory import memory
from retorch.layers.recurrent.state import zeros_for

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values

#: How they were made, and what they keep of their last pass.
_SETTINGS = frozenset(
    """vocab_size hidden_size seq_length atten_type feature_type mask img_feat embed_output conv_out core_output
    num_state init_state fore_state fore_inputs tmax tmin cores num_layers""".split()
)


@layer("nn.word_level", kind="words")
class WordLevel(Layer):
    """{words, picture} ↦ {e, p, a[1], a[2], mask, a[3], …}: e = LE(words), p = cnn(picture), a = atten{e, p, mask}

    The mask is 1 where a word is 0.
    """

    container: ClassVar[bool] = True
    LE: Layer
    cnn: Layer
    atten: Layer
    ignored = _SETTINGS

    def children(self) -> Iterable[Layer]:
        return (self.LE, self.atten, self.cnn)

    def forward(self, x: list[Array]) -> Nested:
        words, picture = x
        mask = (words == 0).astype(picture.dtype)
        picture, embedded = self.cnn(picture), self.LE(words)
        first, second, *rest = cast("list[Nested]", self.atten([embedded, picture, mask]))
        return [embedded, picture, first, second, mask, *rest]

    def lower(self, op: Builder, x: list[Value]) -> Values:
        words = x[0] if x[0].is_float else op.Cast(x[0], to=1)
        mask = op.Cast(op.Equal(words, 0.0), to=1)
        picture, embedded = op.call(self.cnn, x[1]), op.call(self.LE, x[0])
        first, second, *rest = cast("list[Values]", op.call(self.atten, [embedded, picture, mask]))
        return [embedded, picture, first, second, mask, *rest]


@layer("nn.phrase_level", kind="phrases")
class PhraseLevel(Layer):
    """{words, lengths, picture, mask} ↦ {c = conv(words), a[1], …}, a = atten{c, picture, mask}"""

    container: ClassVar[bool] = True
    conv: Layer
    atten: Layer
    ignored = _SETTINGS

    def children(self) -> Iterable[Layer]:
        return (self.conv, self.atten)

    def forward(self, x: list[Array]) -> Nested:
        words, _, picture, mask = x
        made = self.conv(words)
        return [made, *cast("list[Nested]", self.atten([made, picture, mask]))]

    def lower(self, op: Builder, x: list[Value]) -> Values:
        words, _, picture, mask = x
        made = op.call(self.conv, words)
        return [made, *cast("list[Values]", op.call(self.atten, [made, picture, mask]))]


@layer("nn.ques_level", kind="question")
class QuestionLevel(Layer):
    """{words, lengths, picture, mask} ↦ atten{h, picture, mask}, h[t] the last of {state…, h} = core{words[t], state…}

    From the shortest question's end on, states and h are zero where the mask is 1; from the longest one's, h is zero.
    """

    container: ClassVar[bool] = True
    core: Layer
    atten: Layer
    rnn_size: int
    num_layers: int = 1
    seq_length: int = 0
    ignored = _SETTINGS

    def children(self) -> Iterable[Layer]:
        return (self.core, self.atten)

    def check(self, words: Array | Value) -> int:
        """How many steps there are."""
        if len(words.shape) != 3 or words.shape[1] != self.seq_length:
            raise Refusal(f"takes questions of {self.seq_length} words, not {words.shape}")
        return self.seq_length

    def forward(self, x: list[Array]) -> Nested:
        words, lengths, picture, mask = x
        memory().setdefault(id(self), {})
        states: list[Array] = [np.zeros((len(words), self.rnn_size), words.dtype)] * (2 * self.num_layers)
        hidden: list[Array] = []
        for t in range(self.check(words)):
            made = cast("list[Array]", self.core([words[:, t], *states]))
            gone = (mask[:, t] != 0)[:, None] & (t + 1 > lengths.min())
            *states, h = [np.where(gone, 0, y) for y in made]
            hidden.append(h * (t + 1 <= lengths.max()))
        return self.atten([np.stack(hidden, axis=1), picture, mask])

    def lower(self, op: Builder, x: list[Value]) -> Values:
        words, lengths, picture, mask = x
        op.memory.setdefault(id(self), {})
        lengths = op.Reshape(lengths if lengths.is_float else op.Cast(lengths, to=1), [-1])
        shortest, longest = op.ReduceMin(lengths, [0], keepdims=1), op.ReduceMax(lengths, [0], keepdims=1)
        masked = mask if mask.is_float else op.Cast(mask, to=1)
        states: list[Value] = [zeros_for(op, words, [self.rnn_size])] * (2 * self.num_layers)
        hidden: list[Value] = []
        for t in range(self.check(words)):
            word = op.Squeeze(op.Slice(words, [t], [t + 1], [1]), [1])
            made = cast("list[Value]", op.call(self.core, [word, *states]))
            ended = op.Cast(op.Less(shortest, float(t + 1)), to=1)
            stays = op.Sub(1.0, op.Mul(op.Slice(masked, [t], [t + 1], [1]), ended))
            *states, h = [op.Mul(y, stays) for y in made]
            begun = op.Cast(op.Less(float(t), longest), to=1)
            hidden.append(op.Unsqueeze(op.Mul(h, begun), [1]))
        return op.call(self.atten, [op.Concat(*hidden, axis=1), picture, mask])


@layer("nn.recursive_atten", kind="wrapper")
class RecursiveAttention(Layer):
    """atten_encode(x)"""

    container: ClassVar[bool] = True
    atten_encode: Layer

    def children(self) -> Iterable[Layer]:
        return (self.atten_encode,)

    def forward(self, x: Nested) -> Nested:
        return self.atten_encode(x)

    def lower(self, op: Builder, x: Values) -> Values:
        return op.call(self.atten_encode, x)


@layer("nn.cnnModel", kind="wrapper")
class Picture(Layer):
    """cnn_part(x)"""

    container: ClassVar[bool] = True
    cnn_part: Layer
    ignored = frozenset({"cnn_model"})

    def children(self) -> Iterable[Layer]:
        return (self.cnn_part,)

    def forward(self, x: Nested) -> Nested:
        return self.cnn_part(x)

    def lower(self, op: Builder, x: Values) -> Values:
        return op.call(self.cnn_part, x)
