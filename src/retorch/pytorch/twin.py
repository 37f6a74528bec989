"""A network as PyTorch source and weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

import retorch
from retorch.errors import Problem, UnsupportedError
from retorch.files import arrays
from retorch.files.atomic import replacing
from retorch.files.record import LayerRecord
from retorch.graph.lowering import Example
from retorch.layers.base.layer import Array, Layer
from retorch.layers.container import MapTable
from retorch.pytorch.model_file import model_source, parts
from retorch.pytorch.part import Part, State
from retorch.pytorch.planning import Planner
from retorch.pytorch.rule import where
from retorch.pytorch.trace import Scope, trace
from retorch.torch7 import LuaTable, TorchObject

#: What it is called in a folder; the weights stand beside it under the same name.
MODEL = "model.py"
WEIGHTS = ".safetensors"
#: Modules in each other. Python's parser bears a hundred to two hundred brackets, by version.
_DEEPEST = 90


@dataclass(frozen=True, slots=True)
class Twin:
    """What ``--to pytorch`` writes.

    Attributes:
        source: the text of ``model.py``.
        weights: what ``model.safetensors`` holds, by the names of the state dict.
        parameters, buffers: Torch's paths (``modules[1].weight``) and the names that they have here (``0.weight``).
        layers: each module of the file, its class here and how it came to that, and its name here.
    """

    source: str
    weights: Mapping[str, Array]
    parameters: Mapping[str, str]
    buffers: Mapping[str, str]
    layers: tuple[LayerRecord, ...]

    def write(self, model: Path) -> tuple[Path, ...]:
        """Write the source as ``model`` and the weights beside it; folders are made where they are missing."""
        model.parent.mkdir(parents=True, exist_ok=True)
        weights = model.with_suffix(WEIGHTS)
        arrays.export(self.weights, weights, "safetensors")
        with replacing(model) as part:
            part.write_text(self.source, encoding="utf-8")
        return model, weights


def twin(net: Layer, example: Example, origin: str, inputs: Sequence[str]) -> Twin:
    """Say a network in PyTorch.

    Args:
        net: the network.
        example: its input, which tells the sizes.
        origin: the file that it came from, as the head of the source names it.
        inputs: its inputs, in words.

    Raises:
        UnsupportedError: layers without a rule, or that cannot be followed.
    """
    _check_depth(net)
    traced = trace(net, example)
    planner = Planner(traced)
    root = _in_a_container(planner.part(net))
    given = traced.root.given
    names = [f"x{i}" for i in range(1, len(given) + 1)] if isinstance(given, tuple) else None
    states = dict(_states(root))
    ties = _ties(states)
    source = model_source(root, list(ties.items()), names, _header(origin, inputs))
    weights = {name: state.array for name, state in states.items() if name not in ties}
    parameters, buffers = _maps(net, root)
    parameters |= _clones(traced.root, parameters)
    return Twin(source, weights, parameters, buffers, tuple(_layers(root)))


def _check_depth(net: Layer) -> None:
    """Refuse a network of modules in modules that no Python source can hold."""
    stack, seen = [(net, 1)], {id(net)}
    while stack:
        layer, depth = stack.pop()
        if depth > _DEEPEST:
            reason = f"stands inside {_DEEPEST} modules, and Python reads no source with so many brackets in each other"
            raise UnsupportedError([Problem(layer.path, layer.typename, reason)], hint="--to onnx has no such limit")
        for child in layer.children():
            if id(child) not in seen:
                seen.add(id(child))
                stack.append((child, depth + 1))


def _header(origin: str, inputs: Sequence[str]) -> list[str]:
    """The comment in front: where it came from, what it takes, how it is loaded and trained."""
    return [
        f"{origin} in PyTorch, written by retorch {retorch.__version__}.",
        f"Input: {'; '.join(inputs)}",
        "Use: model = load().eval(); y = model(x). To train: model = load().train().",
    ]


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


def _layers(root: Part) -> Iterator[LayerRecord]:
    for name, part in parts(root):
        if part.layer is not None:
            yield LayerRecord(part.layer.path, part.layer.typename, (part.name, part.how), (name,))


def _maps(root: Layer, part: Part) -> tuple[dict[str, str], dict[str, str]]:
    """Torch's paths of parameters and buffers, each under all paths by which its module is reached."""
    names: dict[int, tuple[str, Part]] = {}
    by_path: dict[str, tuple[str, Part]] = {}
    for name, inside in parts(part):
        if inside.layer is not None:
            names.setdefault(id(inside.layer.raw), (name, inside))
            by_path.setdefault(inside.layer.path, (name, inside))
    by_place = {place: name for name, state in _states(part) if (place := _place(state.source)) is not None}
    parameters: dict[str, str] = {}
    buffers: dict[str, str] = {}
    for path, obj in _reached(root.raw, ""):
        found = names.get(id(obj)) or by_path.get(path)
        parameters.update(_shared(obj, path, by_place))
        name, inside = found or ("", Part(""))
        for key, state in inside.states.items():
            if state.field is not None:
                kind = parameters if state.trained else buffers
                kind[f"{path}.{state.field}" if path else state.field] = f"{name}.{key}" if name else key
    return parameters, buffers


def _clones(root: Scope, parameters: Mapping[str, str]) -> dict[str, str]:
    """The parameters of the clones that ``nn.MapTable`` makes when it runs, one for each entry of its table."""
    clones: dict[str, str] = {}
    for scope in root.scopes():
        if isinstance(scope.layer, MapTable) and isinstance(scope.given, tuple):
            inside = f"{scope.layer.path}.modules".removeprefix(".")
            for path, name in parameters.items():
                if path.startswith(f"{inside}[1]."):
                    own = path.removeprefix(f"{inside}[1]")
                    clones |= {f"{inside}[{i}]{own}": name for i in range(2, len(scope.given) + 1)}
    return clones


def _place(source: object) -> object:
    """Where a state begins in the file, and its type."""
    return cast("tuple[object, ...]", source)[:2] if isinstance(source, tuple) else None


def _shared(obj: TorchObject, path: str, by_place: Mapping[object, str]) -> Iterator[tuple[str, str]]:
    """The parameters of a module that is not run itself, such as a clone: they are those of the one that is."""
    for field in ("weight", "bias"):
        array = obj.get(field)
        if isinstance(array, np.ndarray) and (name := by_place.get(_place(where(cast("Array", array))))):
            yield (f"{path}.{field}" if path else field), name


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
