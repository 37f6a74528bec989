"""The embedded engine: a model in onnxruntime, its weights where they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import onnx_ir as ir
import onnxruntime as ort
from numpy.typing import NDArray

from retorch.errors import EngineError
from retorch.graph import onnx_file

Array: TypeAlias = NDArray[Any]

#: onnxruntime's levels: 3 is errors only.
_SILENT = 4  # what goes wrong is in the exception


class Session:
    """A model ready to run."""

    def __init__(self, model: ir.Model) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = _SILENT
        # Threads that wait for work must not take the processor from other programs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        weights = onnx_file.large_weights(model)
        proto = onnx_file.skeleton(model, weights)
        # Weights are handed over by reference: a serialised model cannot exceed 2 GiB.
        proto.graph.initializer.extend(
            onnx_file.placeholder(name, array, "weights", 0) for name, array in weights.items()
        )
        self._weights = weights
        self._handles = [ort.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
        try:
            if weights:
                options.add_external_initializers(list(weights), self._handles)
            self._session = ort.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions have no common class of their own
            raise EngineError(f"onnxruntime refuses the network: {_brief(error)}") from error

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> list[Array]:
        """The outputs named, all of them by default, as arrays. EngineError where the run fails."""
        try:
            return self._session.run(None if outputs is None else list(outputs), dict(feeds))
        except Exception as error:  # as above
            raise EngineError(f"onnxruntime failed: {_brief(error)}") from error


def _brief(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
