"""The embedded engine: a model in onnxruntime, its weights where they are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from retorch.errors import EngineError, UsageError
from retorch.graph import onnx_file
from retorch.graph.narrow_weights import small_initializers
from retorch.graph.tuned import tune

Array: TypeAlias = NDArray[Any]

#: An environment variable: how many threads a session may use; by default one for every core.
THREADS = "RETORCH_THREADS"

#: Bytes of a matrix from which on it is used where it is: onnxruntime copies what is part of a model.
_MUCH = 64 << 20
#: onnxruntime's levels: 3 is errors only.
_SILENT = 4  # what goes wrong is in the exception


class Session:
    """A model ready to run."""

    def __init__(self, model: ir.Model, *, once: bool = False) -> None:
        """``once``: what a run needs is not kept for the next one, and small weights are widened in each."""
        import onnxruntime as ort  # converting needs none of it

        small = small_initializers(model) if once else frozenset[str]()
        options = _options(once=once, fold=not small)
        weights = onnx_file.large_weights(model)
        try:
            proto = onnx_file.skeleton(model, weights)
        except ir.serde.SerdeError as error:
            raise EngineError(f"the network cannot be written for onnxruntime: {_brief(error)}") from error
        tune(proto, model)
        weights = {name: array for name, array in weights.items() if _is_read(model, name)}
        self._fed = {name: weights.pop(name) for name in _large_matrices(model, weights)}
        proto.graph.input.extend(
            onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in self._fed.items()
        )
        # Weights are handed over by reference: a serialised model cannot exceed 2 GiB.
        proto.graph.initializer.extend(
            onnx_file.placeholder(name, array, "weights", 0) for name, array in weights.items()
        )
        self._weights = weights
        self._handles = [ort.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
        try:
            if weights:
                options.add_external_initializers(list(weights), self._handles)
            for name, handle in zip(weights, self._handles, strict=True):
                if name in small:
                    options.add_initializer(name, handle)  # else it copies them; others it may change and must copy
            self._session = ort.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions have no common class of their own
            raise EngineError(f"onnxruntime refuses the network: {_brief(error)}") from error

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> list[Array]:
        """The outputs named, all of them by default, as arrays. EngineError where the run fails."""
        try:
            return self._session.run(None if outputs is None else list(outputs), {**feeds, **self._fed})
        except Exception as error:  # as above
            raise EngineError(f"onnxruntime failed: {_brief(error)}") from error


def _is_read(model: ir.Model, name: str) -> bool:
    """Whether a weight has a reader: onnxruntime drops others, and then refuses to be given them."""
    value = model.graph.initializers[name]
    return bool(value.uses()) or value in model.graph.outputs


def _options(*, once: bool, fold: bool) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = _SILENT
    # Threads that wait for work must not take the processor from other programs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = not once
    options.intra_op_num_threads = _threads()
    levels: Any = ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if fold else levels.ORT_ENABLE_EXTENDED
    if not fold:
        # what is folded is kept for all runs and laid out anew; the level left out, of layouts, folds as well
        options.add_session_config_entry("optimization.disable_specified_optimizers", "ConstantFolding")
    return options


def _large_matrices(model: ir.Model, weights: Mapping[str, Array]) -> list[str]:
    """The large weights that are only multiplied with: as inputs of a run they serve as well as inside the model."""
    outputs = set(model.graph.outputs)

    def is_factor(value: ir.Value) -> bool:
        uses = value.uses()
        return value not in outputs and all(n.op_type in {"Gemm", "MatMul"} and at == 1 for n, at in uses)

    large = [name for name, array in weights.items() if array.nbytes >= _MUCH]
    return [name for name in large if is_factor(model.graph.initializers[name])]


def values(model: ir.Model, feeds: Mapping[str, Array], names: Sequence[str]) -> dict[str, Array]:
    """The values of any tensors of a model by name, inputs, weights and outputs included.

    Raises UsageError for a name that the model does not have.
    """
    made = {value.name: value for node in model.graph for value in node.outputs}
    weights = {name: value.const_value for name, value in model.graph.initializers.items()}
    found: dict[str, Array] = {name: feeds[name] for name in names if name in feeds}
    found |= {name: weight.numpy() for name in names if (weight := weights.get(name)) is not None}
    wanted = [name for name in dict.fromkeys(names) if name not in found]
    unknown = [name for name in wanted if name not in made]
    if unknown:
        raise UsageError(f"the network has no tensor {', '.join(unknown)}")
    if wanted:
        found.update(zip(wanted, Session(_with_outputs(model, wanted), once=True).run(feeds, wanted), strict=True))
    return {name: found[name] for name in names}


def _with_outputs(model: ir.Model, names: Sequence[str]) -> ir.Model:
    clone = model.clone()
    made = {value.name: value for node in clone.graph for value in node.outputs}
    present = {value.name for value in clone.graph.outputs}
    clone.graph.outputs.extend(made[name] for name in names if name not in present)
    return clone


def _threads() -> int:
    """What the user allows; 0, which leaves it to onnxruntime, where they say nothing that is a number."""
    text = os.environ.get(THREADS, "")
    return int(text) if text.isdecimal() else 0


def _brief(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
