"""The models that a network runs as: one as it was read, and of a Caffe2 net one for each kind of input that it meets.

Operators of Caffe2 take their sizes from what they are given; those of ONNX say some of them in attributes. So a net
that was read from Caffe2 files is read again for the ranks of its inputs, or for their sizes where ranks do not do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from retorch.caffe2.description import notes_of, parse_described
from retorch.caffe2.files import Caffe2Net
from retorch.errors import ConversionError, UnsupportedError, UsageError
from retorch.files.mapped import let_go
from retorch.graph.ports import Array, inputs_of
from retorch.graph.session import Session

#: Tensors that make a new array whenever they are asked for it.
_MADE_WHEN_READ = (ir.LazyTensor, ir.serde.TensorProtoTensor)


class SizedModel:
    """A model for certain ranks or sizes, and its session once it has run."""

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self._session: Session | None = None

    def session(self) -> Session:
        """The session, made at the first run."""
        if self._session is None:
            self._session = Session(self.model)
        return self._session

    def let_go(self) -> None:
        """Forget the session, and take no memory for weights that are part of a file."""
        self._session = None
        for value in self.model.graph.initializers.values():
            if value.const_value is not None and not isinstance(value.const_value, _MADE_WHEN_READ):
                let_go(value.const_value.numpy())


class SizedModels:
    """All that one network has become so far."""

    def __init__(self, model: ir.Model | None, source: Caffe2Net | None) -> None:
        self._source = source
        self._first = None if model is None else SizedModel(model)
        self._made: dict[object, SizedModel] = {}
        #: What there was to say of the models.
        self.notes: tuple[str, ...] = () if model is None else notes_of(model)

    def choose(self, arrays: Mapping[str, NDArray[Any]]) -> tuple[SizedModel, dict[str, Array]]:
        """The model for these inputs, and the inputs as it takes them.

        Raises:
            UsageError: the inputs do not fit.
            ConversionError: the Caffe2 net cannot be said for them.
        """
        exact = tuple((array.dtype.str, array.shape) for array in arrays.values())
        ranks = tuple((kind, len(shape)) for kind, shape in exact)
        chosen = next((found for key in (ranks, exact) if (found := self._made.get(key))), None)
        if self._first is not None and (self._source is None or _takes(self._first.model, arrays)):
            chosen = self._first
        elif chosen is None:
            chosen = self._read_again(arrays, ranks, exact)
        ports = [port for port in inputs_of(chosen.model) if port.name in arrays]
        return chosen, {port.name: port.converted(arrays[port.name]) for port in ports}

    def let_go(self) -> None:
        """Forget the sessions; they are made anew where they are asked for."""
        for sized in (*([] if self._first is None else [self._first]), *self._made.values()):
            sized.let_go()

    def _read_again(self, arrays: Mapping[str, Array], ranks: object, exact: object) -> SizedModel:
        """The Caffe2 net read for inputs of these ranks, else of exactly these sizes. Integers stay what they are."""
        if self._source is None:
            raise UsageError("a network without a model runs nothing")
        types = {name: ir.DataType.from_numpy(a.dtype) for name, a in arrays.items() if a.dtype.kind in "biuf"}
        single = {name: kind for name, kind in types.items() if not kind.is_floating_point()}
        varying = {name: [f"{name}_{axis}" for axis in range(array.ndim)] for name, array in arrays.items()}
        shapes = {name: array.shape for name, array in arrays.items()}
        # What cannot be said for any sizes may be for these, and what takes no doubles may take their like in float32;
        # the error message of the last one is the one that matters.
        for key, sizes, kinds in ((ranks, varying, types), (exact, shapes, types), (ranks, varying, single)):
            with contextlib.suppress(ConversionError):
                return self._keep(key, parse_described(self._source, sizes, kinds))
        try:
            return self._keep(exact, parse_described(self._source, shapes, single))
        except UnsupportedError as error:
            hint = error.hint or self._written_for()
            raise UnsupportedError(error.problems, what="run on this input", hint=hint) from error

    def _written_for(self) -> str | None:
        """What to tell of the sizes that a converted network was written for."""
        if self._first is None or "retorch.example_shapes" not in self._first.model.metadata_props:
            return None
        sizes = ", ".join(port.sizes for port in inputs_of(self._first.model))
        return f"it was converted for {sizes}: convert the model again, with an input of other sizes"

    def _keep(self, key: object, model: ir.Model) -> SizedModel:
        self._made[key] = SizedModel(model)
        self.notes = tuple(dict.fromkeys((*self.notes, *notes_of(model))))
        return self._made[key]


def _takes(model: ir.Model, arrays: Mapping[str, Array]) -> bool:
    """Whether the model as it was first read is one for these inputs."""
    pairs = [(port, arrays[port.name]) for port in inputs_of(model)]
    return all(port.takes(array.shape) and _same_kind(port.dtype, array.dtype) for port, array in pairs)


def _same_kind(declared: np.dtype[Any], given: np.dtype[Any]) -> bool:
    """Whether an array is one for an input of this type; what a float64 becomes is for the operators to say."""
    return declared.kind == given.kind and (given.kind != "f" or given == declared)
