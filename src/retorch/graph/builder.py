"""What rules build with: the walk from layer to layer, over Torch's memory and the nodes of the graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import onnx_ir as ir

from retorch import limits
from retorch.errors import MAKES_NO_SENSE, Problem, Refusal, RetorchError, UnsupportedError, said
from retorch.graph.memory import Memory
from retorch.graph.value import Nested, Value, flatten
from retorch.layers.base.binding import Unknown
from retorch.layers.base.depth import deeper
from retorch.layers.base.layer import Array, Layer
from retorch.layers.base.memory import OVERLAP
from retorch.layers.base.random_source import DRAWS_AGAIN

__all__ = ["Builder", "Nested", "Value", "flatten"]


class Builder(Memory):
    """What a rule calls ``op``: it records nodes (``op.Relu(x)``), makes views and writes, and lowers inner modules.

    Args:
        strict: stop at the first layer that refuses; ``refused`` holds it and its input.
        watch: called with each layer and its input, before it is lowered.
    """

    def __init__(self, *, strict: bool = False, watch: Callable[[Layer, Nested], None] | None = None) -> None:
        super().__init__()
        self.strict = strict
        self.watch = watch
        self.refused: tuple[Layer, Nested] | None = None
        self.problems: list[Problem] = []
        self.steps = 0
        self.finished: list[tuple[Layer, list[ir.Value]]] = []
        #: the names of the inputs for what layers draw at random, by ``id`` of the layer; and those inputs
        self.noise_names: dict[int, str] = {}
        self.noise: dict[int, Value] = {}

    def call(self, module: Layer, x: Nested) -> Nested:
        """Lower a module inside the one being lowered."""
        self.steps += 1
        limits.check_steps(self.steps, "this network")
        return deeper(self._call, module, x)

    def _call(self, module: Layer, x: Nested) -> Nested:
        x = self.current(x)
        if self.watch is not None:
            self.watch(module, x)
        with self._scope(module):
            first = len(self.nodes)
            y = self._lower(module, x)
            if not module.container:
                self._rename(first, y)
                if isinstance(y, Value):
                    y = self.set_output(module, x, y, first)
        # what each tensor holds now: a later layer may write into it
        self.finished.append((module, [v.read() for v in flatten(self.current(y))]))
        return y

    def _lower(self, module: Layer, x: Nested) -> Nested:
        try:
            if isinstance(module, Unknown):
                raise Refusal(module.reason)
            module.check_nesting(x)
            return self._lower_here(module, x)
        except Refusal as refusal:
            self.problems.append(Problem(module.path, module.typename, str(refusal), refusal.hint))
            self.refused = self.refused or (module, x)
            if self.strict:
                raise UnsupportedError(self.problems) from refusal
            return self._stand_in(module, x)
        except MAKES_NO_SENSE as error:
            # a rule that took its input apart as its layer never gets it: a table of another length, too few dimensions
            given = " and ".join(str(v.shape) for v in flatten(x))
            self.problems.append(Problem(module.path, module.typename, f"does not take {given}: {said(error)}"))
            raise UnsupportedError(self.problems) from error

    def _lower_here(self, module: Layer, x: Nested) -> Nested:
        last = self.overwritten_output(module, x)
        if last is None:
            return cast("Nested", module.lower(self, x))
        y = cast("Nested", module.lower_over(self, x, last))
        if isinstance(y, Value) and math.prod(y.shape) != math.prod(last.shape):
            raise Refusal(OVERLAP)
        return y

    def _stand_in(self, module: Layer, x: Nested) -> Nested:
        """Something of the right shape after a refusal, so that the walk finds the other problems too."""
        try:
            return self._zeros_like(module(_zeros(x)))
        except (Refusal, RetorchError, *MAKES_NO_SENSE) as why:
            raise UnsupportedError(self.problems) from why

    def _zeros_like(self, y: Any) -> Nested:
        if isinstance(y, list):
            return [self._zeros_like(i) for i in cast("list[Any]", y)]
        return self.constant(np.zeros(cast("Array", y).shape, np.float32))

    def noise_for(self, owner: Layer, shape: Sequence[int]) -> Value:
        """What Torch draws at random for a layer: an input of the network."""
        name = self.noise_names.pop(id(owner), None)
        if name is None:
            raise Refusal(DRAWS_AGAIN)
        value = self.input(name, shape, ir.DataType.FLOAT)
        self.noise[id(owner)] = Value(value.read())
        return value


def _zeros(x: Nested) -> Any:
    return np.zeros(x.shape, np.float32) if isinstance(x, Value) else [_zeros(i) for i in x]
