"""One forward pass: what modules own while it runs, tensors, tables and clones, and what became of them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from retorch.layers.base.layer import Layer

Array: TypeAlias = NDArray[Any]
#: What Torch passes between modules: a tensor, or a table of such.
Nested: TypeAlias = "Array | list[Nested]"
Sizes: TypeAlias = tuple[int, ...]


@dataclass
class Run:
    """One forward pass: Torch's module-owned output buffers, what recurrent layers remember, and who listens."""

    buffers: dict[int, Array] = field(default_factory=lambda: dict[int, Array]())
    #: The tensor that each module calls its output, by ``id`` of the module.
    outputs: dict[int, Array] = field(default_factory=lambda: dict[int, Array]())
    #: Arrays, by ``id``, that stood for a tensor before its module ran again or its sizes changed, and what it is now.
    moved: dict[int, tuple[Array, Array]] = field(default_factory=lambda: dict[int, tuple[Array, Array]]())
    memory: dict[int, Any] = field(default_factory=lambda: dict[int, Any]())
    #: The tables that modules fill anew each time they run.
    tables: dict[object, list[Nested]] = field(default_factory=lambda: dict[object, list[Nested]]())
    #: What the clones of a module own, by whose clones they are: buffers, outputs, tables.
    clones: dict[object, tuple[dict[int, Array], dict[int, Array], dict[object, list[Nested]]]] = field(
        default_factory=lambda: dict[object, tuple[dict[int, Array], dict[int, Array], dict[object, list[Nested]]]]()
    )
    listen: Callable[[Layer, Nested, Nested], None] | None = None
    #: What Torch would draw at random for a layer, in a given shape.
    noise: Callable[[Layer, Sizes], Array] | None = None
    #: How many layers have run.
    steps: int = 0
    #: Whether recurrent layers go on where their last sequence ended, whatever their own flags say.
    stateful: bool = False


current_run: ContextVar[Run | None] = ContextVar("run", default=None)


@contextmanager
def forward_pass(
    listen: Callable[[Layer, Nested, Nested], None] | None = None,
    noise: Callable[[Layer, Sizes], Array] | None = None,
) -> Generator[Run]:
    """Everything that runs inside is one forward pass of one network."""
    token = current_run.set(Run(listen=listen, noise=noise))
    try:
        run = current_run.get()
        # infinities and NaN are results like any other, in Torch
        with np.errstate(all="ignore"):
            if run is not None:
                yield run
    finally:
        current_run.reset(token)


def memory() -> dict[int, Any]:
    """What the recurrent layers of this pass keep from one step to the next, by ``id`` of the layer."""
    return run.memory if (run := current_run.get()) else {}


def stateful() -> bool:
    """Whether recurrent layers go on where their last sequence ended: their states are inputs of this pass."""
    return (run := current_run.get()) is not None and run.stateful


@contextmanager
def clone(of: object) -> Generator[None]:
    """One clone of a module, the same for the same key: it owns buffers and tables, and states of its own."""
    run = current_run.get()
    if run is None:
        yield
        return
    outer = run.buffers, run.outputs, run.tables, run.memory
    run.buffers, run.outputs, run.tables = run.clones.setdefault(of, ({}, {}, {}))
    run.memory = {}
    try:
        yield
    finally:
        run.buffers, run.outputs, run.tables, run.memory = outer


def last_output(layer: Layer) -> Array | None:
    """The tensor that a module calls its output, as it is before the module runs again."""
    run = current_run.get()
    return None if run is None else run.outputs.get(id(layer))


def handed_on(layer: Layer) -> Array | None:
    """What a module was given, where it calls that its output and would write into it when it runs again."""
    run = current_run.get()
    last, buffer = last_output(layer), None if run is None else run.buffers.get(id(layer))
    return None if last is None or (buffer is not None and np.may_share_memory(last, buffer)) else last


def own_table(key: object) -> list[Nested]:
    """The one table that a module hands out, whenever it runs; the steps of a recurrence have theirs."""
    run = current_run.get()
    return [] if run is None or run.memory else run.tables.setdefault(key, [])


def current(x: Nested) -> Nested:
    """What tensors are by now: a module that runs again makes its last output point at the new one."""
    run = current_run.get()
    if run is None or not run.moved:
        return x
    if isinstance(x, list):
        x[:] = [current(item) for item in x]
        return x
    while id(x) in run.moved:
        x = run.moved[id(x)][1]
    return x


def becomes(x: Array, y: Array) -> Array:
    """``y``, a view of x: a module has given x itself other sizes, which all who hold it see from now on."""
    run = current_run.get()
    if run is not None:
        run.moved[id(x)] = x, y
    return y


def tensors(x: Nested) -> Iterator[Array]:
    """The tensors of a nested table, in order."""
    if isinstance(x, list):
        for item in x:
            yield from tensors(item)
    else:
        yield x
