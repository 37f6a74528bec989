"""Layers that give what they take, element by element."""

from __future__ import annotations

from retorch.graph.input_shape.rules.registry import rule
from retorch.graph.input_shape.terms import Facts, Term
from retorch.layers import activation, arithmetic, noise, softmax
from retorch.layers.base.layer import Layer
from retorch.layers.normalization.batch import L2Normalize, Normalize
from retorch.layers.projects.atari import Rectifier
from retorch.layers.projects.imagine_nn import ConstAffine, MeanSubtraction
from retorch.layers.projects.style_transfer import Watcher
from retorch.layers.projects.waifu2x import GradWeight, InplaceClip01
from retorch.layers.projects.xnor_net import BinActiveZ
from retorch.layers.recurrent.recursor import CopyGrad
from retorch.layers.wrapper import Criterion

_OTHER_SIZES = (activation.CReLU, activation.GatedLinearUnit, arithmetic.Constant)
_WITH_WEIGHTS = (arithmetic.Add, arithmetic.CAdd, arithmetic.CMul)


def _classes() -> list[type[Layer]]:
    found = [cls for family in (activation, arithmetic, noise, softmax) for cls in vars(family).values()]
    layers = [cls for cls in found if isinstance(cls, type) and issubclass(cls, Layer) and cls.names]
    return [cls for cls in layers if not issubclass(cls, (*_OTHER_SIZES, *_WITH_WEIGHTS))]


@rule(
    *_classes(),
    Normalize,
    L2Normalize,
    Watcher,
    ConstAffine,
    MeanSubtraction,
    Rectifier,
    BinActiveZ,
    GradWeight,
    InplaceClip01,
    CopyGrad,
    Criterion,
)
def as_it_was(facts: Facts, layer: Layer, x: Term, y: Term) -> bool:
    """The same sizes, or the same table."""
    facts.same(x, y)
    return True
