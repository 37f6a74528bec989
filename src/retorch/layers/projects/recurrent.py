"""Recurrent networks as projects published them: torch-rnn's language model, DeepSpeech's and CRNN's layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, cast

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Nested, Refusal, layer
from retorch.layers.recurrent.state import keep, keep_value, zeros_for
from retorch.torch7 import LuaTable, TorchObject

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values


class Folding(Layer):
    """A chain of modules between views that join the first two dimensions, of any sizes, and part them again."""

    container = True

    def prepare(self, chain: object, folds: Iterable[object], parts: Iterable[object], bind: Binder, at: str) -> None:
        """Bind the chain, and note which of its modules are the views."""
        if not isinstance(chain, LuaTable):
            raise Refusal("has no chain of modules")
        self.chain = bind.sequence(chain, at)
        self.folds = {id(bind.layers[id(view)]) for view in folds if id(view) in bind.layers}
        self.parts = {id(bind.layers[id(view)]) for view in parts if id(view) in bind.layers}

    def children(self) -> Iterable[Layer]:
        return self.chain

    def run(self, x: Array) -> Array:
        """(A, B, …) through the chain."""
        first = x.shape[:2]
        y = x
        for module in self.chain:
            if id(module) in self.folds:
                y = y.reshape(first[0] * first[1], -1)
            elif id(module) in self.parts:
                y = y.reshape(*first, -1)
            else:
                y = cast("Array", module(y))
        return y

    def record(self, op: Builder, x: Value, sizes: Callable[[Value], list[int]]) -> Value:
        """The same in ONNX; ``sizes`` says the first two sizes, of which one may be -1."""
        first = sizes(x)
        y = x
        for module in self.chain:
            if id(module) in self.folds:
                y = op.reshape(y, [-1, y.shape[-1]])
            elif id(module) in self.parts:
                y = op.reshape(y, [*first, y.shape[-1]])
            else:
                y = cast("Value", op.call(module, y))
        return y


def _modules(value: object) -> object:
    return value.get("modules") if isinstance(value, TorchObject) else None


def _entries(value: object) -> list[object]:
    return cast("list[object]", value.sequence()) if isinstance(value, LuaTable) else []


#: What a person wants to see of a language model.
_SIZES = ("model_type", "vocab_size", "wordvec_dim", "rnn_size", "num_layers")


@layer("nn.LanguageModel", kind="languagemodel")
class LanguageModel(Folding):
    """torch-rnn's network: indices (N, T) to scores (N, T, V); the linear layer takes all N·T steps as one batch"""

    ignored = frozenset(
        """idx_to_token token_to_idx vocab_size model_type wordvec_dim rnn_size num_layers dropout batchnorm rnns net
        view1 view2 bn_view_in bn_view_out""".split()
    )

    def setup(self, bind: Binder) -> None:
        raw = self.raw
        if "core" in raw and "net" not in raw:
            raise Refusal("is neuraltalk2's, a loop over words: the network of one step is its field `core`")
        folds = [raw.get("view1"), *_entries(raw.get("bn_view_in"))]
        parts = [raw.get("view2"), *_entries(raw.get("bn_view_out"))]
        self.prepare(_modules(raw.get("net")), folds, parts, bind, f"{self.path}.net.modules".removeprefix("."))

    def forward(self, x: Array) -> Array:
        if x.ndim != 2:
            raise Refusal(f"takes indices of two dimensions, not {x.ndim}")
        return self.run(x)

    def lower(self, op: Builder, x: Value) -> Value:
        if x.rank != 2:
            raise Refusal(f"takes indices of two dimensions, not {x.rank}")
        return self.record(op, x, lambda v: [-1, v.shape[1]])

    def settings(self) -> dict[str, object]:
        return {name: value for name in _SIZES if isinstance(value := self.raw.get(name), (int, str))}

    def index_limit(self) -> int | None:
        return self.chain[0].index_limit() if self.chain else None


@layer("nn.TemporalAdapter", kind="temporaladapter")
class TemporalAdapter(Folding):
    """module(x as (N·T, A)) as (N, T, B); x is (N, T, A)"""

    ignored = frozenset({"net", "view_in", "view_out"})

    def setup(self, bind: Binder) -> None:
        raw = self.raw
        at = f"{self.path}.net.modules".removeprefix(".")
        self.prepare(_modules(raw.get("net")), [raw.get("view_in")], [raw.get("view_out")], bind, at)

    def forward(self, x: Array) -> Array:
        return self.run(x)

    def lower(self, op: Builder, x: Value) -> Value:
        return self.record(op, x, lambda v: [-1, v.shape[1]])


@layer("cudnn.BatchBRNN", "cudnn.BatchBRNNReLU", kind="batchbrnn")
class BatchBRNN(Folding):
    """DeepSpeech's layer: linear and batch norm over all T·N steps, then both directions, summed; x is (T, N, D)"""

    ignored = frozenset({"modules", "view_in", "view_out", "rnn"})

    def setup(self, bind: Binder) -> None:
        raw = self.raw
        at = f"{self.path}.modules".removeprefix(".")
        self.prepare(raw.get("modules"), [raw.get("view_in")], [raw.get("view_out")], bind, at)

    def forward(self, x: Array) -> Array:
        return self.run(x)

    def lower(self, op: Builder, x: Value) -> Value:
        return self.record(op, x, lambda v: [v.shape[0], -1])


@layer("nn.LstmLayer", kind="lstm")
class LstmLayer(Layer):
    """CRNN's: {c, h, y[t]} = unit{x[t], c, h}, gives y; c and h start at zero; ``reverse``: from the last step"""

    container = True
    ignored = frozenset({"dropout", "maxT", "clones", "initState", "rnnState", "drnnState"})

    lstmUnit: Layer
    nHidden: int
    reverse: bool = False

    def children(self) -> Iterable[Layer]:
        return [self.lstmUnit]

    def _order(self, steps: int) -> list[int]:
        return list(range(steps))[::-1] if self.reverse else list(range(steps))

    def forward(self, x: list[Array]) -> list[Array]:
        state: list[Array] = [np.zeros((len(x[0]), self.nHidden), x[0].dtype)] * 2
        outputs: dict[int, Array] = {}
        for t in self._order(len(x)):
            got = cast("list[Array]", self.lstmUnit([x[t], *state]))
            c, h, y = (cast("Array", keep({}, 0, part)) for part in got)
            state, outputs[t] = [c, h], y
        return [outputs[t] for t in range(len(x))]

    def lower(self, op: Builder, x: list[Value]) -> list[Value]:
        state = [zeros_for(op, x[0], [self.nHidden])] * 2
        outputs: dict[int, Value] = {}
        for t in self._order(len(x)):
            got = cast("list[Value]", op.call(self.lstmUnit, [x[t], *state]))
            c, h, y = (cast("Value", keep_value({}, 0, part)) for part in got)
            state, outputs[t] = [c, h], y
        return [outputs[t] for t in range(len(x))]


@layer("nn.BiRnnJoin", kind="birnnjoin")
class BiRnnJoin(Layer):
    """CRNN's: y[t] = unit{forward[t], backward[t]}"""

    container = True
    ignored = frozenset({"maxT", "clones"})

    joinUnit: Layer

    def children(self) -> Iterable[Layer]:
        return [self.joinUnit]

    def forward(self, x: list[list[Nested]]) -> list[Nested]:
        return [keep({}, 0, self.joinUnit([ahead, back])) for ahead, back in zip(*x, strict=True)]

    def lower(self, op: Builder, x: list[list[Values]]) -> list[Values]:
        return [keep_value({}, 0, op.call(self.joinUnit, [ahead, back])) for ahead, back in zip(*x, strict=True)]


@layer("nn.SharedParallelTable", kind="parallel")
class SharedParallelTable(Layer):
    """CRNN's: y[t] = unit(x[t])"""

    container = True
    ignored = frozenset({"maxT", "clones"})

    unit: Layer

    def children(self) -> Iterable[Layer]:
        return [self.unit]

    def forward(self, x: list[Nested]) -> list[Nested]:
        return [keep({}, 0, self.unit(step)) for step in x]

    def lower(self, op: Builder, x: list[Values]) -> list[Values]:
        return [keep_value({}, 0, op.call(self.unit, step)) for step in x]
