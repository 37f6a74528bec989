"""A layer takes the PyTorch rule of the class that it inherits from, which knows nothing of another formula."""

from __future__ import annotations

from retorch.layers import registered
from retorch.layers.base.layer import Layer
from retorch.pytorch.rule import rules

#: Layers with a formula of their own for which the rule of their base class is right, or leaves it alone; each was seen
RIGHT = frozenset(
    """
    CAddTable CAddTableMulConstant CSubTable CMulTable CDivTable CMaxTable CMinTable ShakeShakeTable
    GaussianNoise TensorProd SequentialSplitBatch BilinearRoiPooling
    FastLSTM RecGRU RnnSequence TorchRnnSequence StepLSTM StepGRU
    """.split()
)


def with_a_formula_after(cls: type[Layer]) -> set[str]:
    """The classes between a layer and the one that its rule is for which have a formula of their own."""
    order = cls.__mro__
    owner = next((order.index(base) for base in order if base in rules()), 0)
    return {base.__name__ for base in order[:owner] if {"forward", "lower"} & vars(base).keys()}


def test_a_formula_of_its_own_is_not_turned_into_that_of_the_base_class() -> None:
    found = {name: with_a_formula_after(cls) - RIGHT for name, cls in registered().items()}
    assert {name: own for name, own in found.items() if own} == {}, (
        "inherit from Layer, or write a rule in pytorch/rules"
    )
