"""OpenNMT's encoders and decoders: a step of a recurrence, run over whole sentences of one length.

A sentence of words is a tensor (N, T), one of vectors (N, T, C); words with features are a table of such, nested as the
step takes them. An encoder gives {states, context}: what a decoder starts from, and (N, T, C) for it to look at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Nested, Refusal, layer
from retorch.layers.base.memory import memory
from retorch.layers.base.networks import stored_as_table
from retorch.layers.recurrent.reversal import reversed_along
from retorch.layers.recurrent.state import first_tensor, zeros_for
from retorch.torch7 import LuaTable, TorchObject

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values

T = TypeVar("T")

#: Fields that say nothing about what an encoder or decoder computes at evaluation.
_TRACES = frozenset(
    """networkClones rnn inputNet network fwd bwd generator stateProto statesProto contextProto gradOutputProto
    gradOutputsProto gradContextProto gradContextBwdProto gradStatesOutputProto inputFeedProto distribProto inputs
    statesRange decoderAttn decoderAttnClones paddingMask indvLoss name""".split()
)


@stored_as_table
def as_object(table: LuaTable) -> TorchObject | None:
    """The encoder or decoder that a checkpoint holds as a table of its name, modules and arguments; None for others."""
    modules, args, name = table.get("modules"), table.get("args"), table.get("name", "Decoder")
    if not isinstance(modules, LuaTable) or not isinstance(args, LuaTable) or not isinstance(name, str):
        return None
    if f"onmt.{name}" not in _CLASSES or (name == "Decoder" and not _holds_a_decoder(modules)):
        return None
    inside = [as_object(item) if isinstance(item, LuaTable) else item for item in modules.sequence()]
    return TorchObject(f"onmt.{name}", {"modules": LuaTable.of(*inside), "args": args})


def _holds_a_decoder(modules: LuaTable) -> bool:
    """Whether these are a step and what makes scores of its output: a decoder's table does not bear its name."""
    classes = [item.typename for item in modules.sequence() if isinstance(item, TorchObject)]
    return len(classes) > 1 and classes[0] == "nn.gModule" and classes[1].startswith("onmt.")


def at_time(x: Nested, t: int) -> Nested:
    """What the sentences hold at time t, from 0."""
    return [at_time(item, t) for item in x] if isinstance(x, list) else x[:, t]


def value_at_time(op: Builder, x: Values, t: int) -> Values:
    """The same for values."""
    if isinstance(x, list):
        return [value_at_time(op, item, t) for item in x]
    return op.Squeeze(op.Slice(x, [t], [t + 1], [1]), [1])


def length(x: object) -> int:
    """How many words the sentences have."""
    shape = cast("Array", first_tensor(x)).shape
    if len(shape) < 2 or not shape[1]:
        raise Refusal(f"takes sentences (N, T), not {shape}")
    return shape[1]


def in_table(y: T | list[T]) -> list[T]:
    """The states that a step gives: one alone is no table."""
    return cast("list[T]", y) if isinstance(y, list) else [y]


class Translating(Layer):
    """What encoders and decoders share: their modules and the arguments that they were made with."""

    container: ClassVar[bool] = True
    ignored = _TRACES

    modules: list[Layer]
    args: object

    def children(self) -> Iterable[Layer]:
        return self.modules

    def argument(self, *names: str) -> object:
        """The argument of the first of these names: they changed from version to version."""
        args = self.args if isinstance(self.args, LuaTable) else LuaTable()
        return next((value for name in names if (value := args.get(name)) is not None), None)

    def count(self, *names: str) -> int:
        value = self.argument(*names)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 1 or value != int(value):
            raise Refusal(f"does not say its {names[0]}")
        return int(value)


@layer("onmt.Encoder", kind="encoder")
class Encoder(Translating):
    """{states, context}: a step {states, x[t]} ↦ states from zeros on; context holds its last state at each time"""

    def setup(self, bind: Binder) -> None:
        self.size = self.count("rnnSize", "rnn_size")
        self.states = self.count("numStates", "numEffectiveLayers")

    def forward(self, x: Nested) -> Nested:
        memory().setdefault(id(self), {})
        first = cast("Array", first_tensor(x))
        dtype = first.dtype if first.dtype.kind == "f" else np.dtype(np.float64)
        states: list[Nested] = [np.zeros((len(first), self.size), dtype) for _ in range(self.states)]
        context: list[Array] = []
        for t in range(length(x)):
            states = in_table(self.modules[0]([*states, at_time(x, t)]))
            context.append(np.array(states[-1]))
        return [states, np.stack(context, axis=1)]

    def lower(self, op: Builder, x: Values) -> Values:
        op.memory.setdefault(id(self), {})
        first = cast("Value", first_tensor(x))
        states: list[Values] = [zeros_for(op, first, [self.size]) for _ in range(self.states)]
        context: list[Value] = []
        for t in range(length(x)):
            states = in_table(op.call(self.modules[0], [*states, value_at_time(op, x, t)]))
            context.append(op.Unsqueeze(cast("Value", states[-1]), [1]))
        return [states, op.Concat(*context, axis=1)]


@layer("onmt.BiEncoder", kind="encoder")
class BiEncoder(Translating):
    """{states, context} of an encoder over the words and another over the words reversed, added or side by side"""

    def setup(self, bind: Binder) -> None:
        merge = self.argument("brnn_merge", "merge")
        if merge not in ("concat", "sum"):
            raise Refusal(f"merges its directions by {merge!r}")
        self.side_by_side = merge == "concat"
        if len(self.modules) != 2:
            raise Refusal(f"has {len(self.modules)} encoders, not two")

    def forward(self, x: Nested) -> Nested:
        forth, back = [cast("list[Any]", self.modules[0](x)), cast("list[Any]", self.modules[1](_turned(x)))]
        merge: Callable[[Array, Array], Array] = _beside if self.side_by_side else np.add
        states = [merge(f, b) for f, b in zip(forth[0], back[0], strict=True)]
        return [cast("Nested", states), merge(forth[1], back[1][:, ::-1])]

    def lower(self, op: Builder, x: Values) -> Values:
        forth = cast("list[Any]", op.call(self.modules[0], x))
        back = cast("list[Any]", op.call(self.modules[1], _turned_value(op, x)))

        def merge(f: Value, b: Value) -> Values:
            return op.Concat(f, b, axis=f.rank - 1) if self.side_by_side else op.Add(f, b)

        states = [merge(f, b) for f, b in zip(forth[0], back[0], strict=True)]
        return [states, merge(forth[1], cast("Value", _turned_value(op, back[1])))]


def _beside(f: Array, b: Array) -> Array:
    return np.concatenate([f, b], axis=-1)


def _turned(x: Nested) -> Nested:
    return [_turned(item) for item in x] if isinstance(x, list) else x[:, ::-1]


def _turned_value(op: Builder, x: Values) -> Values:
    """The words from last to first."""
    return [_turned_value(op, item) for item in x] if isinstance(x, list) else reversed_along(op, x, 1)


class Stacked(Translating):
    """What encoders of encoders share: each reads the context of the one before; the states of all are one table."""

    def between(self, sizes: Sequence[int]) -> tuple[Sequence[int], int | None]:
        """What becomes of a context on its way to the next encoder: other sizes, and a dimension that is summed."""
        return sizes, None

    def forward(self, x: Nested) -> Nested:
        states: list[Nested] = []
        for at, encode in enumerate(self.modules):
            if at:
                sizes, summed = self.between(cast("Array", x).shape)
                x = cast("Array", x).reshape(tuple(sizes))
                x = x if summed is None else x.sum(axis=summed)
            made, x = cast("list[Nested]", encode(x))
            states.extend(made)
        return [states, x]

    def lower(self, op: Builder, x: Values) -> Values:
        states: list[Values] = []
        for at, encode in enumerate(self.modules):
            if at:
                given = cast("Value", x)
                sizes, summed = self.between(given.shape)
                y = given if tuple(sizes) == given.shape else op.Reshape(given, [-1, *sizes[1:]])
                x = y if summed is None else op.ReduceSum(y, [summed], keepdims=0)
            made, x = cast("list[Values]", op.call(encode, x))
            states.extend(cast("list[Values]", made))
        return [states, x]


@layer("onmt.GoogleEncoder", kind="encoder")
class GoogleEncoder(Stacked):
    """{states, context} of an encoder in both directions, then one over its context"""


@layer("onmt.PDBiEncoder", "onmt.DBiEncoder", kind="encoder")
class PyramidEncoder(Stacked):
    """{states, context} of encoders in both directions, each over ``pdbrnn_reduction`` times fewer words than the last

    With ``sum`` the t-th word of the next is the sum of t, t + T/r, t + 2T/r, …, as its Lua views them.
    """

    def setup(self, bind: Binder) -> None:
        reduced = self.argument("pdbrnn_reduction", "reduction")
        self.times = 1 if "PD" not in self.typename and reduced is None else self.count("pdbrnn_reduction", "reduction")
        self.merge = self.argument("pdbrnn_merge", "merge")
        if self.times > 1 and self.merge not in ("concat", "sum"):
            raise Refusal(f"merges words by {self.merge!r}")

    def between(self, sizes: Sequence[int]) -> tuple[Sequence[int], int | None]:
        batch, steps, width = sizes
        if steps % self.times:
            raise Refusal(f"takes {self.times} times fewer words at each layer; {steps} cannot be divided so")
        if self.times == 1:
            return sizes, None
        if self.merge == "concat":
            return (batch, steps // self.times, width * self.times), None
        return (batch, self.times, steps // self.times, width), 1


@layer("onmt.CNNEncoder", kind="encoder")
class ConvolutionalEncoder(Translating):
    """{{Σ over the words of context}, context}, context = net{x, lengths}"""

    def forward(self, x: Nested) -> Nested:
        words = np.full(len(cast("Array", first_tensor(x))), length(x), np.int64)
        context = cast("Array", self.modules[0]([x, words]))
        return [[context.sum(axis=1)], context]

    def lower(self, op: Builder, x: Values) -> Values:
        zeros = op.Squeeze(zeros_for(op, cast("Value", first_tensor(x)), [1]), [1])
        context = cast("Value", op.call(self.modules[0], [x, op.Add(zeros, float(length(x)))]))
        return [[op.ReduceSum(context, [1], keepdims=0)], context]


@layer("onmt.Decoder", kind="decoder")
class Decoder(Translating):
    """{y, states, context} ↦ {out[1], …, out[T]}: a step {states, y[t], context} ↦ {states, out}

    Where the input is fed, the step takes out[t-1] as well, zeros at first. The second module makes scores of an out.
    """

    def setup(self, bind: Binder) -> None:
        self.size = self.count("rnnSize", "rnn_size")
        feed = self.argument("inputFeed", "input_feed")
        self.feeds = feed is not None and feed is not False

    def forward(self, x: list[Nested]) -> Nested:
        memory().setdefault(id(self), {})
        words, given, context = x
        first = cast("Array", context)
        states, out = in_table(given), cast("Nested", np.zeros((len(first), self.size), first.dtype))
        outs: list[Nested] = []
        for t in range(length(words)):
            fed = [out] if self.feeds else []
            *states, out = in_table(self.modules[0]([*states, at_time(words, t), context, *fed]))
            outs.append(np.array(cast("Array", out)))
        return outs

    def lower(self, op: Builder, x: list[Values]) -> Values:
        op.memory.setdefault(id(self), {})
        words, given, context = x
        states, out = in_table(given), cast("Values", zeros_for(op, cast("Value", context), [self.size]))
        outs: list[Values] = []
        for t in range(length(words)):
            fed = [out] if self.feeds else []
            *states, out = in_table(op.call(self.modules[0], [*states, value_at_time(op, words, t), context, *fed]))
            outs.append(op.Identity(cast("Value", out)))
        return outs


_CLASSES = frozenset(
    name
    for made in (Encoder, BiEncoder, GoogleEncoder, PyramidEncoder, ConvolutionalEncoder, Decoder)
    for name in made.names
)
