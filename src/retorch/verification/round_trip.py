"""One network in two forms: what was written of a Caffe2 or ONNX network against the files that it came from."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from retorch.engines.caffe2_runtime import Runtime
from retorch.engines.embedded import Embedded
from retorch.engines.interface import Array, Engine
from retorch.engines.real_caffe2 import RealCaffe2
from retorch.errors import EngineError
from retorch.files.artifacts import onnx_file
from retorch.graph.ports import Port
from retorch.network import Network
from retorch.verification.compare import example_shapes
from retorch.verification.inputs import Trial
from retorch.verification.metrics import TOLERANCE, measure
from retorch.verification.report import Report, Witness
from retorch.verification.rounding import by_copy, rounded

_DRAWING = frozenset(
    ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial")
)


class SourceError(EngineError):
    """What a network was made from does not run: whether it says the same cannot be seen."""


def draws_in_every_run(network: Network) -> bool:
    """Whether the network draws random numbers when it runs, so that no two runs agree."""
    return any(node.op_type in _DRAWING for node in network.model.graph.all_nodes())


def verify_copy(
    source: Path, target: Path, shapes: Sequence[tuple[int, ...]], *, drawn: Network | None = None, seed: int = 0
) -> Report:
    """Run both on the same random input.

    The reference is the real Caffe2 on the source where that is a Caffe2 network and one is installed, else the source
    in the embedded engine, which proves the writing and not the reading; the report's notes say which.

    Args:
        source, target: what was read and what was written.
        drawn: what was read, where its weights were drawn then: the embedded engine runs it, since who reads the source
            again draws others.
        shapes: of the inputs' tensors.
        seed: of the random input.

    Raises:
        SourceError: the source does not run on that input.
    """
    written = Network.load(target)
    small = rounded(target, written, by_copy(source, shapes, target))
    first, second = _reference(source, drawn), Embedded(target, small.restored if small else written)
    with closing(first), closing(second):
        given = _random(second.network.inputs, shapes, seed)
        label = f"random, seed {seed}"
        try:
            wanted = first.run(given)
        except EngineError as error:
            raise SourceError(str(error)) from error
        try:
            got = second.run(given)
        except EngineError as error:
            witness = Witness(second.name, label, (), failed=str(error))
        else:
            witness = Witness(second.name, label, tuple(measure(w, g) for w, g in zip(wanted, got, strict=True)))
    told = (f"the reference is {source} in {first.name}",)
    if small is None:
        return Report(TOLERANCE, (witness,), told, tuple(shapes))
    moved = small.moved(lambda _: wanted, [Trial(label, tuple(given))])
    return Report(TOLERANCE, (*small.witnesses(), witness), told, tuple(shapes), moved)


def _reference(source: Path, drawn: Network | None) -> Engine:
    runtime = Runtime.find() if onnx_file(source) is None and drawn is None else None
    return Embedded(source, drawn) if runtime is None else RealCaffe2(source, runtime)


def _random(ports: Sequence[Port], shapes: Sequence[tuple[int, ...]], seed: int) -> list[Array]:
    """Normal numbers; zeros and ones where the network takes whole numbers."""
    rng = np.random.default_rng(seed)

    def draw(port: Port, shape: tuple[int, ...]) -> Array:
        whole = port.dtype.kind != "f"
        return (rng.integers(0, 2, shape) if whole else rng.standard_normal(shape)).astype(port.dtype)

    return [draw(port, shape) for port, shape in zip(ports, shapes, strict=True)]


def known_shapes(network: Network) -> list[tuple[int, ...]] | None:
    """Shapes that a network's inputs can have: as it was converted, else a batch of one; None where nothing says."""
    if network.model.metadata_props.get("retorch.example_shapes"):
        return example_shapes(network)
    found: list[tuple[int, ...]] = []
    for port in network.inputs:
        if port.shape is None or not all(isinstance(size, int) for size in port.shape[1:]):
            return None
        found.append(tuple(size if isinstance(size, int) else 1 for size in port.shape))
    return found
