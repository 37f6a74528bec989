"""A network as PyTorch source and weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from retorch.errors import UnsupportedError
from retorch.files import arrays
from retorch.graph.lowering import Example
from retorch.layers.base.layer import Array, Layer
from retorch.module import Module
from retorch.pytorch.model_file import model_source, parts
from retorch.pytorch.part import Part, State
from retorch.pytorch.planning import Planner
from retorch.pytorch.trace import trace
from retorch.torch7 import LuaTable, TorchObject

MODEL, WEIGHTS = "model.py", "model.safetensors"


@dataclass(frozen=True, slots=True)
class Twin:
    """What ``--to pytorch`` writes.

    Attributes:
        source: the text of ``model.py``.
        weights: what ``model.safetensors`` holds, by the names of the state dict.
        parameters, buffers: Torch's paths (``modules[1].weight``) and the names that they have here (``0.weight``).
        layers: for each module of the file, its path, class, name here, and how it came to PyTorch.
    """

    source: str
    weights: Mapping[str, Array]
    parameters: Mapping[str, str]
    buffers: Mapping[str, str]
    layers: tuple[tuple[str, str, str, str], ...] = field(default=())

    def save(self, folder: str | Path) -> tuple[Path, ...]:
        """Write ``model.py`` and ``model.safetensors`` into a folder."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        arrays.export(self.weights, target / WEIGHTS, "safetensors")
        (target / MODEL).write_text(self.source, encoding="utf-8")
        return target / MODEL, target / WEIGHTS


def twin(net: Module, example: Example) -> Twin:
    """Say a network in PyTorch, for an input of these sizes.

    Raises:
        UnsupportedError: layers without a rule, or that cannot be followed.
    """
    if net.problems:
        raise UnsupportedError(net.problems)
    traced = trace(net.layer, example)
    planner = Planner(traced)
    root = _in_a_container(planner.part(net.layer))
    given = traced.root.given
    inputs = [f"x{i}" for i in range(1, len(given) + 1)] if isinstance(given, tuple) else None
    states = dict(_states(root))
    ties = _ties(states)
    source = model_source(root, list(ties.items()), inputs, [net.name])
    weights = {name: state.array for name, state in states.items() if name not in ties}
    parameters, buffers = _maps(net.layer, root)
    return Twin(source, weights, parameters, buffers, tuple(_layers(root)))


def _in_a_container(root: Part) -> Part:
    """A lone module without parameters stands in a container, where its own class can be seen."""
    if root.written is None and not root.states and not root.children and root.callable:
        return Part("nn.Sequential", children={"0": root})
    return root


def _states(root: Part) -> Iterator[tuple[str, State]]:
    for name, part in parts(root):
        for key, state in part.states.items():
            yield (f"{name}.{key}" if name else key), state


def _ties(states: Mapping[str, State]) -> dict[str, str]:
    """States that are one tensor in Torch: each by the name of the first."""
    first: dict[object, str] = {}
    ties: dict[str, str] = {}
    for name, state in states.items():
        key = state.source or (id(state.array),)
        if first.setdefault(key, name) != name:
            ties[name] = first[key]
    return ties


def _layers(root: Part) -> Iterator[tuple[str, str, str, str]]:
    for name, part in parts(root):
        if part.layer is not None:
            yield part.layer.path, part.layer.typename, name, part.how


def _maps(root: Layer, part: Part) -> tuple[dict[str, str], dict[str, str]]:
    """Torch's paths of parameters and buffers, each under all paths by which its module is reached."""
    names: dict[int, tuple[str, Part]] = {}
    by_path: dict[str, tuple[str, Part]] = {}
    for name, inside in parts(part):
        if inside.layer is not None:
            names.setdefault(id(inside.layer.raw), (name, inside))
            by_path.setdefault(inside.layer.path, (name, inside))
    parameters: dict[str, str] = {}
    buffers: dict[str, str] = {}
    for path, obj in _reached(root.raw, ""):
        found = names.get(id(obj)) or by_path.get(path)
        if found is None:
            continue
        name, inside = found
        for key, state in inside.states.items():
            if state.field is not None:
                kind = parameters if state.trained else buffers
                kind[f"{path}.{state.field}" if path else state.field] = f"{name}.{key}" if name else key
    return parameters, buffers


def _reached(obj: object, path: str) -> Iterator[tuple[str, TorchObject]]:
    """Every module that is reached through ``modules`` and ``module``, under each of its paths."""
    if not isinstance(obj, TorchObject):
        return
    yield path, obj
    modules = obj.get("modules")
    if isinstance(modules, LuaTable):
        for i, item in enumerate(modules.sequence(), 1):
            yield from _reached(item, f"{path}.modules[{i}]".removeprefix("."))
    if isinstance(obj.get("module"), TorchObject):
        yield from _reached(obj["module"], f"{path}.module".removeprefix("."))
