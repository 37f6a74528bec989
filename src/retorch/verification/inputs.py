"""What networks are tried on: random tensors that the network accepts, and adversarial ones."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from retorch.errors import RetorchError, UsageError
from retorch.graph.nesting import nest
from retorch.module import Module
from retorch.network import Network

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One input: its tensors in order, and what to call it."""

    label: str
    tensors: tuple[Array, ...]

    def nested(self, nesting: object) -> Any:
        """The tensors as the network takes them."""
        return nest(nesting, self.tensors)


def random_trial(net: Module, shapes: Sequence[tuple[int, ...]], nesting: object, seed: int = 0) -> Trial:
    """Seeded normal noise, or whole numbers from 1 for tensors that the network uses as indices.

    Raises:
        UsageError: the network accepts neither.
    """
    normal = noise(shapes, seed)
    highest = index_range(net)
    if highest is None:
        return Trial(f"random, seed {seed}", tuple(normal))
    rng = np.random.default_rng(seed)
    whole = [rng.integers(1, highest + 1, shape).astype(np.float32) for shape in shapes]
    # which of the tensors are indices is the network's business: the first combination it accepts
    for choice in itertools.product((False, True), repeat=len(shapes)):
        tensors = tuple(w if pick else n for pick, w, n in zip(choice, whole, normal, strict=True))
        if any(choice) and _accepts(net, nest(nesting, tensors)):
            return Trial(f"random, indices 1…{highest}, seed {seed}", tensors)
    raise UsageError("no random input suits this network", hint="give one with --inputs x.npz")


def trials_at(net: Module, network: Network, seed: int = 0) -> list[Trial]:
    """A random input of the shapes that a network was converted with; and one of others, where sizes are free."""
    first = random_trial(net, _stored(network, "retorch.example_shapes"), network.input_nesting, seed)
    other = _stored(network, "retorch.other_shapes") if network.sizes_are_free else []
    if not other:
        return [first]
    second = random_trial(net, other, network.input_nesting, seed)
    sizes = " and ".join("x".join(map(str, shape)) for shape in other)
    return [first, Trial(f"{second.label}, {sizes}", second.tensors)]


def _stored(network: Network, key: str) -> list[tuple[int, ...]]:
    text = network.model.metadata_props.get(key, "[]")
    return [tuple(shape) for shape in cast("list[list[int]]", json.loads(text))]


def noise(shapes: Sequence[tuple[int, ...]], seed: int) -> list[Array]:
    """Seeded normal noise, in float32."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def index_range(net: Module) -> int | None:
    """The largest index that every lookup in the network accepts; None without lookups."""
    limits = [limit for module in net.layers() if (limit := module.index_limit()) is not None]
    return min(limits) if limits else None


def _accepts(net: Module, x: Any) -> bool:
    try:
        net.forward(x)
    except (RetorchError, IndexError, ValueError):
        return False
    return True


def batches(shapes: Sequence[tuple[int, ...]]) -> list[list[tuple[int, ...]]]:
    """The same shapes at batches of 1 and 3, where they share a batch that is another."""
    firsts = {shape[0] for shape in shapes if shape}
    if len(firsts) != 1 or not all(shapes):
        return []
    return [[(batch, *shape[1:]) for shape in shapes] for batch in (1, 3) if batch not in firsts]


def scaled_trials(trial: Trial) -> list[Trial]:
    """Zeros, a constant and large values, in the shapes of a trial; tensors of indices stay as they are."""

    def each(label: str, scale: float, shift: float) -> Trial:
        made = tuple(_bend(t, scale, shift) for t in trial.tensors)
        return Trial(label, made)

    return [each("zeros", 0.0, 0.0), each("constant 0.5", 0.0, 0.5), each("large (×100)", 100.0, 0.0)]


def _bend(tensor: Array, scale: float, shift: float) -> Array:
    indices = tensor.size and np.all(tensor == np.round(tensor)) and np.all(tensor >= 1)
    return tensor if indices else (tensor * np.float32(scale) + np.float32(shift)).astype(np.float32)
