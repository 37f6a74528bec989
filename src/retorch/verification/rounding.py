"""Networks whose weights are stored in fewer bits: what is proved of them, and how the rounding is kept out of it.

Three things make such a network right. With the weights in float32 put back into what was written, it is the reference,
by the same tolerance as ever. What is stored is those weights, each rounded and no further away. And the engines that
widen the weights themselves give what the stored ones give. How far the rounding moves the outputs is then a number to
state, not an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from operator import getitem
from pathlib import Path
from typing import Literal

from retorch.caffe2.blobs import Blobs
from retorch.caffe2.description import first_model
from retorch.caffe2.emit.op import EmitOptions
from retorch.conversion import convert
from retorch.engines.interface import Array, Case
from retorch.engines.reference import Log
from retorch.errors import ConversionError
from retorch.files.artifacts import onnx_file, python_file
from retorch.files.precision import Precision
from retorch.graph.narrow_weights import small_weights, widened
from retorch.graph.nesting import Nesting, nest
from retorch.graph.rounding import is_rounded
from retorch.module import Module
from retorch.network import Network
from retorch.verification.inputs import Trial
from retorch.verification.metrics import measure
from retorch.verification.report import Rounding, Witness


@dataclass(frozen=True, slots=True)
class Rounded:
    """What was written with small weights.

    Attributes:
        network: as it stands in the files.
        precision: of the weights.
        restored: the same with its weights in float32 put back.
        strange: the stored weights that are not those, rounded.
        count: how many tensors are stored so.
        onnx: whether it is ONNX, which engines widen themselves.
    """

    network: Network
    precision: Precision
    restored: Network
    strange: tuple[str, ...]
    count: int
    onnx: bool

    def moved(self, truth: Callable[[Trial], list[Array]], trials: Iterable[Trial]) -> Rounding:
        """How far the stored weights move the outputs, on these inputs."""
        pairs = [(truth(trial), self.network.run_once(*trial.tensors)) for trial in trials]
        self.network.let_go()
        measures = [measure(e, g) for expected, got in pairs for e, g in zip(expected, got, strict=True)]
        return Rounding(self.precision, self.count, tuple(measures))

    def witnesses(self) -> list[Witness]:
        """The witness against the stored weights, if there is anything to tell."""
        if not self.strange:
            return []
        names = ", ".join(self.strange[:5]) + (f" and {len(self.strange) - 5} more" if len(self.strange) > 5 else "")
        why = f"{names}: not the network's own weights, rounded"
        return [Witness(f"weights as {self.precision}", f"{self.count} tensors", (), why)]

    def widened(self) -> Network:
        """The network with the weights that are stored, as float32."""
        return Network(widened(self.network.model)) if self.onnx else self.network


def rounded(target: Path, network: Network, ways: Iterable[Mapping[str, Array]]) -> Rounded | None:
    """What there is to know of a network's small weights; None where all are float32.

    Args:
        target: the files.
        network: what was read from them.
        ways: the weights in float32, by name, as each way of writing that network has them.
    """
    if python_file(target) is not None:
        return None
    onnx = onnx_file(target) is not None
    stored = _stored(network, onnx=onnx)
    if not stored:
        return None
    best: Mapping[str, Array] = {}
    wrong = tuple(stored)
    for weights in ways:
        found = tuple(
            name
            for name, (kind, widen) in stored.items()
            if name not in weights or not is_rounded(widen(), weights[name], kind)
        )
        if len(found) < len(wrong):
            best, wrong = weights, found
        if not found:
            break
    whole = {name: best[name] for name in stored if name not in wrong}
    kinds: list[Precision] = [kind for kind, _ in stored.values()]
    return Rounded(network, kinds[0], _with_weights(network, whole, onnx=onnx), wrong, len(stored), onnx)


def _stored(network: Network, *, onnx: bool) -> dict[str, tuple[Precision, Callable[[], Array]]]:
    """The small weights by name: in how many bits, and what makes float32 of them, one after the other."""
    if onnx:
        return {name: (small.precision, small.widened) for name, small in small_weights(network.model).items()}
    net = network.caffe2()
    return {name: (kind, partial(getitem, net.params, name)) for name, kind in net.precisions.items()}


def _with_weights(network: Network, given: Mapping[str, Array], *, onnx: bool) -> Network:
    """The network with these in place of small weights; the others as what they are in float32."""
    if onnx:
        return Network(widened(network.model, given))
    net = network.caffe2()
    params = net.params.replaced(given) if isinstance(net.params, Blobs) else {**net.params, **given}
    source = replace(net, params=params, precisions={})
    made = Network(first_model(source), source=source)
    made.model.metadata_props.update(network.model.metadata_props)
    return made


def by_conversion(
    net: Module, nesting: Nesting, shapes: Sequence[tuple[int, ...]], target: Path
) -> Iterator[Mapping[str, Array]]:
    """The weights as each way of converting a Torch network now gives them."""
    for fold in (True, False):
        yield from _as_written(convert(net, nest(nesting, shapes), fold=fold), target)


def by_copy(source: Path, shapes: Sequence[tuple[int, ...]], target: Path) -> Iterator[Mapping[str, Array]]:
    """The same for a network that was written already."""
    yield from _as_written(Network.load(source).sized(*shapes), target)


def _as_written(network: Network, target: Path) -> Iterator[Mapping[str, Array]]:
    """The weights of a network as each way of writing it has them."""
    if onnx_file(target) is not None:
        graph = widened(network.model).graph
        yield {n: v.const_value.numpy() for n, v in graph.initializers.items() if v.const_value is not None}
        return
    releases: tuple[Literal["1.0", "1.10"], ...] = ("1.0", "1.10")
    for release in releases:
        with suppress(ConversionError):  # it was written in another way
            yield network.caffe2(EmitOptions(release)).params


class AsStored:
    """What the weights that are stored give, instead of what the formulas give: which engines are then measured by."""

    def __init__(self, case: Case) -> None:
        """The network of ``case`` is the one with the stored weights, as float32."""
        self._case = case
        self._network = case.network
        self._made: dict[int, tuple[Trial, list[Array]]] = {}

    def __call__(self, trial: Trial, log: Log | None = None) -> list[Array]:
        """The outputs; ``log`` is told every layer's."""
        if log is not None:
            self._tell(trial, log)
        return self.in_float32(trial)

    def in_float32(self, trial: Trial) -> list[Array]:
        """The same, worked out once: it computes in float32."""
        if id(trial) not in self._made:
            self._made[id(trial)] = trial, self._network.run(*trial.tensors)
            self._network.let_go()  # the engine that is measured holds as much
        return self._made[id(trial)][1]

    def _tell(self, trial: Trial, log: Log) -> None:
        there = self._network.value_names()
        wanted = [name for _, _, names in self._case.entries for name in names if name in there]
        values = self._network.intermediate(wanted, *trial.tensors)
        for path, typename, names in self._case.entries:
            log.outputs.append((path, typename, [values[name] for name in names if name in values]))
