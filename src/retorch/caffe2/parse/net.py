"""Caffe2 → ONNX: every operator of a net, with Caffe2's own meaning, as ONNX operators.

The meaning is that of the Caffe2 in torch 1.10. Arguments that an operator of Caffe2 does not know are ignored, as
Caffe2 does; those it knows are honoured or refused. Blobs that a net writes more than once (in-place operators) become
one value per write: the last one has the blob's name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from retorch.caffe2.blobs import Blobs
from retorch.caffe2.control import naming_outputs, read_by
from retorch.caffe2.device import placed
from retorch.caffe2.files import Caffe2Net
from retorch.caffe2.parse import (
    activation,
    blocks,
    buckets,
    control_flow,
    convolution,
    crf,
    ctc,
    ctc_beam,
    detection,
    elementwise,
    feature_tensors,
    fill,
    images,
    indexing,
    int8,
    int8_boxes,
    int8_convolution,
    int8_elementwise,
    int8_layout,
    lengths,
    linear,
    loss,
    metrics,
    normalization,
    numeric,
    onnx_while,
    partition,
    percentile,
    pooling,
    proposals,
    pyramid,
    random_fill,
    ranges,
    recurrent,
    recurrent_network,
    reduction,
    rowwise,
    rowwise_quantize,
    scatter,
    segment_reduction,
    sequence_mask,
    shape,
    sparse,
    stylizer,
    suppression,
    tensor_train,
)
from retorch.caffe2.parse.call import Call, Rule
from retorch.caffe2.parse.graph import Graph, NeedsShapeError, RefusalError
from retorch.caffe2.parse.inputs import guess
from retorch.caffe2.parse.refused import reason_of
from retorch.caffe2.parse.reproduced import check_reproduced
from retorch.caffe2.proto.caffe2_pb2 import OperatorDef
from retorch.errors import MAKES_NO_SENSE, ConversionError, Problem, UnsupportedError, said
from retorch.graph.narrow_weights import lazy_tensor
from retorch.graph.nodes import OPSET

__all__ = ["RULES", "NeedsShapeError", "outline", "parse"]

RULES: Mapping[str, Rule] = {
    **activation.RULES,
    **blocks.RULES,
    **buckets.RULES,
    **control_flow.RULES,
    **convolution.RULES,
    **crf.RULES,
    **ctc.RULES,
    **ctc_beam.RULES,
    **detection.RULES,
    **elementwise.RULES,
    **feature_tensors.RULES,
    **fill.RULES,
    **images.RULES,
    **indexing.RULES,
    **int8.RULES,
    **int8_boxes.RULES,
    **int8_convolution.RULES,
    **int8_elementwise.RULES,
    **int8_layout.RULES,
    **lengths.RULES,
    **linear.RULES,
    **loss.RULES,
    **metrics.RULES,
    **normalization.RULES,
    **numeric.RULES,
    **onnx_while.RULES,
    **partition.RULES,
    **percentile.RULES,
    **pooling.RULES,
    **proposals.RULES,
    **pyramid.RULES,
    **random_fill.RULES,
    **ranges.RULES,
    **recurrent.RULES,
    **recurrent_network.RULES,
    **reduction.RULES,
    **rowwise.RULES,
    **rowwise_quantize.RULES,
    **scatter.RULES,
    **segment_reduction.RULES,
    **sequence_mask.RULES,
    **shape.RULES,
    **sparse.RULES,
    **stylizer.RULES,
    **suppression.RULES,
    **tensor_train.RULES,
}

NO_MEANING = "which has no meaning outside of Caffe2"


@dataclass(frozen=True, slots=True)
class Outline:
    """The outputs of a net and their types, None where one is not known; how many operators could not be said."""

    types: Mapping[str, ir.DataType | None]
    unsaid: int


def outline(
    net: Caffe2Net,
    shapes: Mapping[str, Sequence[int | str | None]],
    types: Mapping[str, ir.DataType],
) -> Outline:
    """What :func:`parse` finds for inputs of these shapes, whether they do for all operators or not."""
    return _Walk(net, shapes, types).outline()


def parse(
    net: Caffe2Net,
    shapes: Mapping[str, Sequence[int | str | None]] | None = None,
    types: Mapping[str, ir.DataType] | None = None,
) -> ir.Model:
    """The network as an ONNX model of opset 21.

    ``shapes`` gives the sizes of the inputs, by name; a string or None stands for a size that may vary. What is not
    given is worked out from the operators that read the input, as far as that goes. ``types`` is for inputs whose type
    the operators leave open (otherwise float32). Raises UnsupportedError with every
    operator that cannot be said, and NeedsShapeError where only the sizes of the inputs are missing.
    """
    unknown = [
        _problem(index, operator, reason_of(operator.type))
        for index, operator in enumerate(net.predict.op)
        if operator.type not in RULES and operator.output
    ]
    if unknown:
        raise UnsupportedError(unknown)
    try:
        return _Walk(net, shapes or {}, types or {}).model()
    except MAKES_NO_SENSE as error:
        raise ConversionError(f"the net makes no sense: {said(error)}") from error


def _problem(index: int, operator: OperatorDef, reason: str) -> Problem:
    return Problem(f"op[{index}] {operator.output[0] if operator.output else ''}".rstrip(), operator.type, reason)


class _Walk:
    """One pass over the net: the current value of every blob, and what could not be said."""

    def __init__(
        self, net: Caffe2Net, shapes: Mapping[str, Sequence[int | str | None]], types: Mapping[str, ir.DataType]
    ) -> None:
        self.net = net
        self.types = types
        self.read = frozenset(net.predict.external_output).union(*(read_by(operator) for operator in net.predict.op))
        self.operators = [naming_outputs(operator, self.read) for operator in net.predict.op]
        written = [blob for operator in self.operators for blob in operator.output]
        self.left = Counter(written)
        self.graph = Graph([*net.inputs, *net.params, *written])
        self.values: dict[str, ir.Value] = {}
        #: how many blobs hold each value, by ``id``
        self.bound = Counter[int]()
        self.missing: dict[str, str] = {}
        self.problems: list[Problem] = []
        self.notes = list(net.notes)
        self.waiting: list[NeedsShapeError] = []
        #: the blobs that the outputs are
        self.given: list[str] = []
        self.inputs = [self._input(name, shapes.get(name)) for name in net.inputs]

    def _input(self, name: str, sizes: Sequence[int | str | None] | None) -> ir.Value:
        found = guess(self.net.predict, self.net.params, name)
        known = found.shape if sizes is None else sizes
        dtype = found.dtype or self.types.get(name, found.likely)
        value = ir.val(name, dtype, None if known is None else list(known))
        self._put(name, value)
        return value

    def model(self) -> ir.Model:
        """Say every operator, then assemble what came of it; all refusals in one error."""
        for index, operator in enumerate(self.operators):
            self._operator(index, operator)
        if self.problems:
            raise UnsupportedError(self.problems)
        if self.waiting:
            raise NeedsShapeError(self.waiting[0].message, hint="give the sizes of the inputs")
        outputs = self._outputs()
        graph = ir.Graph(
            self.inputs,
            outputs,
            nodes=self.graph.nodes,
            initializers=[value for value in self.graph.constants.values() if value.uses() or value in outputs],
            opset_imports={"": OPSET},
            name=self.net.predict.name or "caffe2",
        )
        model = ir.Model(graph, ir_version=10, producer_name="retorch")
        model.meta["notes"] = [*dict.fromkeys([*self.notes, *self.graph.notes])]
        model.meta["blobs"] = self.given
        return model

    def outline(self) -> Outline:
        """What the operators leave behind, as far as they can be said."""
        for index, operator in enumerate(self.net.predict.op):
            self._operator(index, operator)
        names = list(self.net.predict.external_output) or self._unread()
        known = {blob: self.values[blob].dtype for blob in names if self._is_there(blob) and blob in self.values}
        never = {blob for blob in names if self.missing.get(blob, "").endswith(NO_MEANING)}
        return Outline(
            {blob: known.get(blob) for blob in names if blob not in never}, len(self.waiting) + len(self.problems)
        )

    def _operator(self, index: int, operator: OperatorDef) -> None:
        if not operator.output:
            return  # it leaves nothing behind: a gradient stopped, a check
        operator = placed(operator, self.net.predict)
        unset = self._unset(operator)
        if unset:
            reason = f"{unset}: Caffe2's mobile_exporter left it out of the init net"
            self.problems.append(_problem(index, operator, reason))
            self._lose(operator, "")
            return
        start = len(self.graph.nodes)
        absent = next((blob for blob in operator.input if blob in self.missing), None)
        if absent is not None:
            if self.missing[absent]:
                self.problems.append(_problem(index, operator, self.missing[absent]))
            self._lose(operator, "")
            return
        try:
            self.graph.prefix = operator.output[0]
            inputs = tuple(self._value(blob) for blob in operator.input)
            check_reproduced(operator, inputs)
            results = RULES[operator.type](Call(operator, inputs, self.graph, self.read, RULES, self._outside))
            self._bind(operator, [results] if isinstance(results, ir.Value) else results)
        except RefusalError as error:
            self.problems.append(_problem(index, operator, str(error)))
            self._lose(operator, "")
        except NeedsShapeError as error:
            self.waiting.append(error)
            self._lose(operator, "")
        except MAKES_NO_SENSE as error:
            self.problems.append(_problem(index, operator, f"its arguments or inputs make no sense: {said(error)}"))
            self._lose(operator, "")
        for node in self.graph.nodes[start:]:
            node.metadata_props["retorch.path"] = f"op[{index}]"
            node.metadata_props["retorch.class"] = operator.type

    def _unset(self, operator: OperatorDef) -> str:
        """The mean and variance of a batch normalisation that nothing fills, though its scale is there."""
        if operator.type != "SpatialBN" or len(operator.input) < 5 or operator.input[1] not in self.net.params:
            return ""
        names = [name for name in operator.input[3:5] if name in self.net.inputs]
        return f"{' and '.join(names)} {'have' if len(names) > 1 else 'has'} no value" if names else ""

    def _lose(self, operator: OperatorDef, reason: str) -> None:
        """What reads these blobs cannot be said either; an empty reason has been told already."""
        for blob in operator.output:
            self.missing[blob] = reason

    def _value(self, blob: str) -> ir.Value:
        if blob not in self.values:
            if blob not in self.net.params:
                raise RefusalError(f"reads {blob}, which nothing makes")
            self._put(blob, self._stored(blob))
        return self.values[blob]

    def _stored(self, blob: str) -> ir.Value:
        """A parameter; one that is widened is made where somebody reads its numbers."""
        params = self.net.params
        deferred = params.deferred(blob) if isinstance(params, Blobs) else None
        if deferred is None:
            return self.graph.weight(blob, params[blob])
        return self.graph.initializer(lazy_tensor(blob, deferred.shape, deferred.made))

    def _outside(self, blob: str) -> ir.Value | None:
        """What a net inside an operator finds under this name."""
        return self._value(blob) if self._is_there(blob) else None

    def _bind(self, operator: OperatorDef, results: Sequence[ir.Value | None]) -> None:
        """Give the results the names of the blobs."""
        for position, blob in enumerate(operator.output):
            self.left[blob] -= 1
            value = results[position] if position < len(results) else None
            if value is None:
                self.missing[blob] = f"reads {blob}, {NO_MEANING}"
                continue
            self.missing.pop(blob, None)
            named = self._named(blob, value, self.bound[id(value)] > 0)
            scale = int8.scale_of(value)
            if scale is not None:
                int8.quantised(named, scale)
            self._put(blob, named)

    def _put(self, blob: str, value: ir.Value) -> None:
        """What a blob holds from now on."""
        if blob in self.values:
            self.bound[id(self.values[blob])] -= 1
        self.values[blob] = value
        self.bound[id(value)] += 1

    def _named(self, blob: str, value: ir.Value, bound: bool) -> ir.Value:
        name = self._name(blob)
        if value.name in self.graph.constants and value.const_value is not None:
            # A blob of fixed numbers stays readable for the operators that need them.
            return self.graph.weight(name, value.const_value.numpy())
        if bound:
            value = self.graph.op("Identity", value)
        value.name = name
        return value

    def _name(self, blob: str) -> str:
        """The last write of a blob has its name, unless an input or a weight has it."""
        taken = blob in self.net.inputs or blob in self.net.params
        return self.graph.unique(blob) if taken or self.left[blob] > 0 else blob

    def _outputs(self) -> list[ir.Value]:
        names = list(self.net.predict.external_output) or self._unread()
        if not names:
            raise ConversionError("the net has no outputs: no operator leaves anything behind")
        there = [blob for blob in names if self._is_there(blob)]
        if not there:
            raise UnsupportedError([Problem(blob, "output", "nothing makes this output") for blob in names])
        self.notes += [f"output {blob} is left out: nothing makes it" for blob in names if blob not in there]
        self._check_drawn(there)
        self.given = there
        outputs: list[ir.Value] = []
        for blob in there:
            value = self._value(blob)
            scale = int8.scale_of(value)
            if scale is not None:
                value.name = self.graph.unique(f"{blob}_bytes")
                value = int8.floats(self.graph, value, scale)
                value.name = blob
                self.notes.append(f"output {blob} is given as the floats that its eight bits stand for")
            if value in outputs or value.is_graph_input() or value in self.inputs or blob in self.graph.constants:
                value = self.graph.op("Identity", value)
                value.name = self.graph.unique(blob)
            outputs.append(value)
        return outputs

    def _check_drawn(self, names: Sequence[str]) -> None:
        """A network that draws numbers and does nothing with them has no result that a second run, or program, has."""
        if random_fill.only_draws([self._value(blob) for blob in names], self.net.params):
            why = "nothing but numbers that every run draws anew: only a random_seed in its device_option fixes them"
            raise UnsupportedError([Problem(blob, "output", why) for blob in names])

    def _is_there(self, blob: str) -> bool:
        return blob not in self.missing and (blob in self.values or blob in self.net.params)

    def _unread(self) -> list[str]:
        """The blobs that are written and not read afterwards: what an exporter forgot to declare."""
        last: dict[str, bool] = {}
        for operator in self.operators:
            last.update(dict.fromkeys(operator.input, True))
            last.update(dict.fromkeys(operator.output, False))
        return [blob for blob, read in last.items() if not read and blob not in self.missing]
