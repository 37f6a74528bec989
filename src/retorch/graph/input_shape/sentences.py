"""How terms flow through OpenNMT's encoders and decoders: what their steps say of a word, sentences have of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retorch.graph.input_shape.terms import Size, Term
from retorch.layers.nngraph import GModule
from retorch.layers.projects.opennmt_sequences import (
    BiEncoder,
    ConvolutionalEncoder,
    Decoder,
    Encoder,
    PyramidEncoder,
    Stacked,
)

if TYPE_CHECKING:
    from retorch.graph.input_shape.walk import Walk


def _sentence(walk: Walk, x: Term, word: Term, length: Size) -> None:
    """x is what a word is, at each of a sentence's times: the dimension after the batch's."""
    if word.table is not None:
        for given, own in zip(walk.facts.entries(x, len(word.table.items)).items, word.table.items, strict=False):
            _sentence(walk, given, own, length)
    elif word.sizes:
        batch, *rest = word.sizes
        walk.facts.same(x, Term([batch, length, *rest]))
        if word.limit is not None:
            walk.facts.indices(x, word.limit)


def encoder(walk: Walk, layer: Encoder, x: Term) -> Term:
    """A sentence to {states, context}."""
    batch, length, word = Size(), Size(), Term()
    states = [Term([batch, Size(layer.size)]) for _ in range(layer.states)]
    walk.call(layer.modules[0], Term(items=[*states, word]))
    walk.settle()
    _sentence(walk, x, word if word.sizes or word.table else Term([batch]), length)
    return Term(items=[Term(items=states), Term([batch, length, Size(layer.size)])])


def bi_encoder(walk: Walk, layer: BiEncoder, x: Term) -> Term:
    """The same, both ways."""
    forth, _ = [walk.call(module, x) for module in layer.modules]
    return Term() if layer.side_by_side else forth


def convolutional(walk: Walk, layer: ConvolutionalEncoder, x: Term) -> Term:
    """A sentence, which the net takes with its length: one number for each."""
    walk.call(layer.modules[0], Term(items=[x, Term([Size()])]))
    return Term()


def stacked(walk: Walk, layer: Stacked, x: Term) -> Term:
    """Encoders of which each reads what the one before gives: only the first says something of the sentence."""
    walk.call(layer.modules[0], x)
    if isinstance(layer, PyramidEncoder) and layer.times > 1 and x.sizes:
        walk.facts.fix(x.sizes[1], layer.times ** (len(layer.modules) - 1), layer.typename)
    return Term()


def decoder(walk: Walk, layer: Decoder, x: Term) -> Term:
    """{sentence, states, context}."""
    step = layer.modules[0]
    count = step.inputs - 2 - layer.feeds if isinstance(step, GModule) else 1
    words, given, context = walk.facts.entries(x, 3, exactly=True).items
    batch, length, seen, word = Size(), Size(), Size(), Term()
    states = [Term([batch, Size(layer.size)]) for _ in range(count)]
    walk.facts.same(context, Term([batch, seen, Size(layer.size)]))
    fed = [Term([batch, Size(layer.size)])] if layer.feeds else []
    walk.call(step, Term(items=[*states, word, context, *fed]))
    walk.settle()
    for own, state in zip(walk.facts.entries(given, count, exactly=True).items, states, strict=False):
        walk.facts.same(own, state)
    _sentence(walk, words, word if word.sizes or word.table else Term([batch]), length)
    return Term()
