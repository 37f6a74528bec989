"""Text from the language models of torch-rnn and char-rnn: one token after the other, as their ``sample.lua`` draw it.

Karpathy, "The Unreasonable Effectiveness of Recurrent Neural Networks" (char-rnn); Johnson, torch-rnn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from retorch.apply.vocabulary import Vocabulary
from retorch.errors import UsageError
from retorch.layers.nngraph import GModule
from retorch.layers.recurrent.stateful import Stateful, zero_states
from retorch.module import Module, Source, pick
from retorch.torch7 import LuaTable, TorchObject, open_file

Array: TypeAlias = NDArray[Any]
#: The scores of the next token (V) and the states after this one, from its index and the states before it.
Step: TypeAlias = Callable[[int, "list[Array]"], "tuple[Array, list[Array]]"]
#: Who computes a step: the formulas in NumPy, or onnxruntime.
Engine: TypeAlias = Literal["reference", "embedded"]


@dataclass(frozen=True)
class LanguageModel:
    """A network that scores the next token, with its vocabulary.

    Attributes:
        vocabulary: the token of each index.
        net: the network of one step; it takes and gives states.
        start: the states at the beginning of a text.
        states_first: whether the network gives the states before the scores, as char-rnn's does.
    """

    vocabulary: Vocabulary
    net: Module
    start: tuple[Array, ...]
    states_first: bool

    def index(self, token: int) -> Array:
        """The index of a token as the network takes it."""
        return np.full((1,) if self.states_first else (1, 1), token, np.int64)

    def parts(self, outputs: Sequence[Array]) -> tuple[Array, list[Array]]:
        """The scores and the states among the network's outputs."""
        scores = outputs[-1] if self.states_first else outputs[0]
        states = outputs[:-1] if self.states_first else outputs[1:]
        return scores.reshape(-1), list(states)

    def step(self, engine: str = "reference") -> Step:
        """One step of the network on an engine: the formulas in NumPy, or onnxruntime."""
        if engine == "reference":
            return lambda token, states: self.parts(cast("list[Array]", self.net.forward([self.index(token), *states])))
        from retorch.conversion import convert

        network = convert(self.net, [self.index(1), *(state.shape for state in self.start)])
        return lambda token, states: self.parts(network.run(self.index(token), *states))


def language_model(source: Source, *, at: str | None = None) -> LanguageModel:
    """The language model in a checkpoint of torch-rnn or char-rnn, found by what is in it.

    Raises:
        UsageError: there is no network with a vocabulary in the file.
    """
    root = open_file(source).root
    vocabulary = Vocabulary.from_checkpoint(root)
    net = pick(root, at=at)
    if net is None or vocabulary is None:
        lacks = "no network" if net is None else "no vocabulary (idx_to_token or vocab)"
        raise UsageError(f"{lacks} in this file", hint="checkpoints of torch-rnn and char-rnn have both")
    if isinstance(net.layer, GModule):
        return LanguageModel(vocabulary, net, _graph_states(net.layer, root), states_first=True)
    stateful = Stateful(net.layer, (1, 1))
    start = tuple(zero_states(stateful, np.dtype(np.float32)))
    return LanguageModel(vocabulary, replace(net, layer=stateful), start, states_first=False)


def _graph_states(graph: GModule, root: object) -> tuple[Array, ...]:
    """The states that char-rnn starts with: zeros of ``rnn_size``, one or two a layer."""
    options = root.get("opt") if isinstance(root, (LuaTable, TorchObject)) else None
    size = options.get("rnn_size") if isinstance(options, (LuaTable, TorchObject)) else None
    if not isinstance(size, int):
        raise UsageError("the checkpoint does not say the size of its states (opt.rnn_size)")
    return tuple(np.zeros((1, size), np.float32) for _ in range(graph.inputs - 1))


def sample(
    source: Source | LanguageModel,
    *,
    start: str = "",
    length: int = 2000,
    temperature: float = 1.0,
    greedy: bool = False,
    seed: int = 0,
    engine: str = "reference",
) -> str:
    """Text that a language model writes, beginning with ``start``.

    Args:
        source: a checkpoint of torch-rnn or char-rnn, or what :func:`language_model` made of it.
        start: what the text begins with; without it the first token is drawn evenly.
        length: how many tokens the text has, those of ``start`` among them.
        temperature: scores are divided by it before one is drawn: below 1 bolder, above 1 wilder.
        greedy: always the likeliest token.
        seed: of the random numbers; equal seeds give equal texts.
        engine: ``reference`` (NumPy) or ``embedded`` (onnxruntime).

    Returns:
        The text; bytes that are not UTF-8 are replaced.

    Raises:
        UsageError: no language model, a character that it does not know, or a temperature of zero or less.
    """
    model = source if isinstance(source, LanguageModel) else language_model(source)
    drawn = tokens(model, start=start, length=length, temperature=temperature, greedy=greedy, seed=seed, engine=engine)
    return b"".join(drawn).decode(errors="replace")


def tokens(
    model: LanguageModel, *, start: str, length: int, temperature: float, greedy: bool, seed: int, engine: str
) -> Iterator[bytes]:
    """The tokens of a text as they are drawn, see :func:`sample`."""
    if not temperature > 0:
        raise UsageError(f"a temperature is greater than zero, not {temperature}", hint="--greedy takes the likeliest")
    if length < 1:
        raise UsageError(f"a text has at least one token, not {length}")
    given = model.vocabulary.encode(start)
    step, states = model.step(engine), list(model.start)
    random = np.random.default_rng(seed)
    indices = np.array(sorted(model.vocabulary.tokens))
    scores = np.zeros(int(indices[-1]))
    for at in range(length):
        if at < len(given):
            token = given[at]
        else:
            token = int(indices[_choose(scores[indices - 1], random, temperature, greedy)])
        yield model.vocabulary.tokens[token]
        scores, states = step(token, states)


def _choose(scores: Array, random: np.random.Generator, temperature: float, greedy: bool) -> int:
    """The place of the next token among the scores, which need not be normalized."""
    if greedy:
        return int(np.argmax(scores))
    weights = np.exp((scores - scores.max()).astype(np.float64) / temperature)
    return int(random.choice(len(scores), p=weights / weights.sum()))
