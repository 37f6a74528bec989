"""Containers: what flows between modules is checked against what flowed in this network."""

from __future__ import annotations

from typing import Any

from retorch.layers.container import (
    Bottle,
    Concat,
    ConcatTable,
    DepthConcat,
    MapTable,
    Parallel,
    ParallelTable,
    Sequential,
)
from retorch.layers.noise import Identity
from retorch.layers.shape.view import axis_of
from retorch.layers.wrapper import DataParallelTable, Decorator, WeightNorm, Wrapper
from retorch.pytorch.part import Part
from retorch.pytorch.rule import Run, exactly, rule, sizes, trained
from retorch.pytorch.trace import Flowing, Scope, flat


def _same(x: Flowing, y: Flowing) -> bool:
    """Whether two are the same values, nested alike."""
    if isinstance(x, tuple) and isinstance(y, tuple):
        return len(x) == len(y) and all(map(_same, x, y))
    return x is y


def _is_chain(at: Run, modules: list[object]) -> bool:
    inside = at.runs_inside()
    if inside is None or [run.layer for run in inside] != modules:
        return False
    flowing = at.given
    for run in inside:
        if not _same(run.given, flowing):
            return False
        flowing = run.made
    return _same(flowing, at.scope.made)


@rule(Sequential)
def sequential(layer: Sequential, at: Run) -> Part | None:
    modules = list(layer.modules)
    if not _is_chain(at, list(modules)):
        return None
    return at.module("nn.Sequential", children={str(i): at.child(m) for i, m in enumerate(modules)})


@rule(Wrapper)
def wrapper(layer: Wrapper, at: Run) -> Part | None:
    if not exactly(layer, Decorator) and not exactly(layer, DataParallelTable) and type(layer).__name__ != "Inception":
        return None
    if not _is_chain(at, list(layer.inside)):
        return None
    children = {"0": at.child(layer.inside[0])}
    if layer.typename == "nn.NoBackprop":
        return at.module("NoBackprop", children=children)
    return at.module("nn.Sequential", children=children)


@rule(WeightNorm)
def weight_norm(layer: WeightNorm, at: Run) -> Part | None:
    if not _is_chain(at, list(layer.inside)):
        return None
    child = at.child(layer.inside[0])
    if child.states.pop("weight", None) is None:
        return None
    states = {"v": trained(layer.v, "v"), "g": trained(layer.g.reshape(-1, 1), "g")}
    named: dict[str, Any] = {} if layer.outputDim == 1 else {"dim": layer.outputDim - 1}
    return at.module("WeightNorm", children={"0": child}, states=states, **named)


@rule(ConcatTable)
def concat_table(layer: ConcatTable, at: Run) -> Part | None:
    inside = at.runs_inside()
    if inside is None or [run.layer for run in inside] != list(layer.modules):
        return None
    made = tuple(run.made for run in inside)
    if not all(_same(run.given, at.given) for run in inside) or not _same(made, at.scope.made):
        return None
    return at.module("ConcatTable", children={str(i): at.child(m) for i, m in enumerate(layer.modules)})


@rule(ParallelTable)
def parallel_table(layer: ParallelTable, at: Run) -> Part | None:
    inside = at.runs_inside()
    if inside is None or [run.layer for run in inside] != list(layer.modules) or not isinstance(at.given, tuple):
        return None
    made = tuple(run.made for run in inside)
    fed = zip(inside, at.given, strict=False)
    if not all(_same(run.given, x) for run, x in fed) or not _same(made, at.scope.made):
        return None
    return at.module("ParallelTable", children={str(i): at.child(m) for i, m in enumerate(layer.modules)})


@rule(MapTable)
def map_table(layer: MapTable, at: Run) -> Part | None:
    inside = at.runs_inside()
    if inside is None or len({id(run.layer) for run in inside}) != 1 or not isinstance(at.given, tuple):
        return None
    made = tuple(run.made for run in inside)
    fed = zip(inside, at.given, strict=True)
    if not all(_same(run.given, x) for run, x in fed) or not _same(made, at.scope.made):
        return None
    return at.module("MapTable", children={"0": at.child(inside[0].layer)})


@rule(Concat)
def concat(layer: Concat, at: Run) -> Part | None:
    inside = [item for item in at.scope.items if isinstance(item, Scope)]
    others = [item for item in at.scope.items if not isinstance(item, Scope)]
    if [run.layer for run in inside] != list(layer.modules) or [node.op_type for node in others] != ["Concat"]:
        return None
    if any(at.planner.run(run) is None or not _same(run.given, at.given) for run in inside):
        return None
    if tuple(others[0].inputs) != tuple(run.made for run in inside):
        return None
    axis = int(others[0].attributes["axis"].value)
    return at.module("Concat", axis, children={str(i): at.child(m) for i, m in enumerate(layer.modules)})


@rule(DepthConcat)
def depth_concat(layer: DepthConcat, at: Run) -> Part | None:
    inside = [item for item in at.scope.items if isinstance(item, Scope)]
    if [run.layer for run in inside] != list(layer.modules):
        return None
    if any(at.planner.run(run) is None or not _same(run.given, at.given) for run in inside):
        return None
    ranks = {len(sizes(value)) for run in inside for value in flat(run.made)}
    if ranks != {4} or layer.dimension not in (2, -3):
        return None
    return at.module("DepthConcat", children={str(i): at.child(m) for i, m in enumerate(layer.modules)})


@rule(Parallel)
def parallel(layer: Parallel, at: Run) -> Part | None:
    inside = [item for item in at.scope.items if isinstance(item, Scope)]
    if isinstance(at.given, tuple) or [run.layer for run in inside] != list(layer.modules):
        return None
    axis = axis_of(layer.inputDimension, at.rank)
    if at.shape()[axis] != len(inside) or any(at.planner.run(run) is None for run in inside):
        return None
    joined = axis_of(layer.outputDimension, len(at.made_shape()))
    return at.module("Parallel", axis, joined, children={str(i): at.child(m) for i, m in enumerate(layer.modules)})


@rule(Bottle)
def bottle(layer: Bottle, at: Run) -> Part | None:
    inside = [item for item in at.scope.items if isinstance(item, Scope)]
    if len(inside) != 1 or at.planner.run(inside[0]) is None or isinstance(at.given, tuple):
        return None
    if at.rank <= layer.nInputDim:
        return None
    sample = inside[0].given
    if isinstance(sample, tuple) or isinstance(inside[0].made, tuple) or sizes(sample)[0] != sizes(inside[0].made)[0]:
        return None
    named: dict[str, Any] = {} if layer.nInputDim == 2 else {"dims": int(layer.nInputDim)}
    return at.module("Bottle", children={"0": at.child(layer.modules[0])}, **named)


@rule(Identity)
def identity(layer: Identity, at: Run) -> Part | None:
    match layer.typename:
        case "nn.L1Penalty":
            weight = float(layer.raw.get("l1weight") or 0)
            named: dict[str, Any] = {"average": True} if layer.raw.get("sizeAverage") else {}
            if layer.raw.get("provideOutput") is False:
                named["pass_on"] = False
            return at.module("L1Penalty", weight, **named)
        case "nn.ZeroGrad":
            return at.module("ZeroGrad")
        case _:
            return at.module("nn.Identity", inline="{x}")
