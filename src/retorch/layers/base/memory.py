"""Torch's memory: who owns a tensor, who looks at it, and who writes over it.

Torch's modules keep the tensors that they give, so what a network computes depends on where its tensors lie. This is
the specification; :class:`Run` holds the memory of one forward pass, and :mod:`retorch.graph.memory` follows the same
rules, under the same names and in the same order, for tensors that are values of a graph.

1. **Buffers.** A module owns one buffer and writes its output into it each time it runs: used twice, it writes its
   second output over its first (:func:`in_buffer`). A view of its input, or the input itself, is no buffer. What nobody
   looks at any more is let go, and made anew when it is written to (:class:`retorch.layers.base.held.Held`).
2. **Outputs.** The tensor that a module calls its output is one and the same object: who holds the first output holds
   the second from the moment the module runs again (:func:`set_output`, :func:`current`, :func:`last_output`).
3. **Views and in-place writes** share memory with what they look at and what they write to. In NumPy this comes by
   itself; a module that gives its input itself other sizes says so (:func:`resize_in_place`).
4. **Overlap.** A module may find its input in the memory of its own last output (``conv, ReLU(true), conv``, one conv):
   its code then reads from where it writes to (:func:`overwritten_output`). Where it reads before it writes, all is
   well.
5. **Tables.** A module that gives a table gives the same one whenever it runs (:func:`output_table`).
6. **Clones.** A clone of a module owns buffers, outputs, tables and states of its own (:func:`clone`).
7. **States.** Recurrent modules keep what a step gave until the next (:func:`memory`).

Worked example: ``Sequential{c, View(-1), ReLU(true)}``, where c is run once more afterwards, on other data.

=====================  ================================================================================
c runs, gives A        a new array: c's buffer and c's output
View runs, gives V     a view of A: it shares memory with its input, so it is nobody's buffer; View's output
ReLU(true) runs        writes into V; it is A's memory, so who holds A sees it
c runs again, gives B  as large as A: B is copied into A, and A is given; A and V now hold B
…or at another size    smaller: A's beginning is overwritten. Larger: A's storage grows, and V shows B's beginning; who
                       holds A itself has B from now on
=====================  ================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeAlias
from weakref import WeakValueDictionary

import numpy as np

from retorch.errors import Refusal
from retorch.layers.base.held import Held
from retorch.layers.base.storage import Array, Grown, from_start_of, holds_other_tensors, moved, storage

#: What Torch passes between modules: a tensor, or a table of such.
Nested: TypeAlias = "Array | list[Nested]"
Sizes: TypeAlias = tuple[int, ...]


class Table(list[Nested]):
    """A table that can be forgotten once nobody holds it."""


Tables: TypeAlias = WeakValueDictionary[object, Table]


class Owner(Protocol):
    """What memory has to know of a module.

    Attributes:
        container: it passes on what its children made and owns no buffer.
        owns_no_output: it has no output tensor of its own: each run gives a new one, or the input itself.
    """

    container: ClassVar[bool]
    owns_no_output: bool

    def parameters(self) -> dict[str, Array]:
        """The module's own arrays by field name, as stored."""
        ...


@dataclass
class Run:
    """One forward pass: Torch's memory while it runs, and who listens."""

    #: The memory that each module writes its output into, by ``id`` of the module.
    buffers: Held = field(default_factory=Held)
    #: The tensor that each module calls its output, by ``id`` of the module.
    outputs: Held = field(default_factory=Held)
    #: Arrays, by ``id``, that stood for a tensor before its module ran again or its sizes changed, and what it is now.
    replaced: dict[int, tuple[Array, Array]] = field(default_factory=lambda: dict[int, tuple[Array, Array]]())
    #: Storages that have grown.
    grown: Grown = field(default_factory=lambda: dict[int, tuple[Array, Array]]())
    #: The tables that modules fill anew each time they run.
    tables: Tables = field(default_factory=lambda: Tables())
    #: What modules hold that was given to them, for each clone and module: they may write into it later.
    given: dict[tuple[int, int], Array] = field(default_factory=lambda: dict[tuple[int, int], Array]())
    #: What the clones of a module own, by whose clones they are: buffers, outputs, tables.
    clones: dict[object, tuple[Held, Held, Tables]] = field(
        default_factory=lambda: dict[object, tuple[Held, Held, Tables]]()
    )
    #: What recurrent layers keep from one step to the next, by ``id`` of the layer.
    memory: dict[int, Any] = field(default_factory=lambda: dict[int, Any]())
    #: What each nn.PullTable will put into its table, by ``id`` of its object: an nn.PushTable took it from another.
    pushed: dict[int, Nested] = field(default_factory=lambda: dict[int, Nested]())
    #: How many layers have run.
    steps: int = 0
    #: Whether recurrent layers go on where their last sequence ended, whatever their own flags say.
    stateful: bool = False
    #: Called with each layer, its input and its output.
    listen: Callable[[Any, Nested, Nested], None] | None = None
    #: What Torch would draw at random for a layer, in a given shape.
    noise: Callable[[Any, Sizes], Array] | None = None


current_run: ContextVar[Run | None] = ContextVar("run", default=None)


@contextmanager
def forward_pass(
    listen: Callable[[Any, Nested, Nested], None] | None = None,
    noise: Callable[[Any, Sizes], Array] | None = None,
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


# -- 1. buffers
def in_buffer(run: Run, owner: Owner, x: Nested, y: Array) -> Array:
    """The output in the memory that the module used before; as it is where it is a view of the input or of a weight."""
    last = run.buffers.get(id(owner))
    mine = last is not None and np.may_share_memory(y, last)
    if not mine and (any(np.may_share_memory(y, t) for t in tensors(x)) or _is_stored(owner, y)):
        return y
    if not y.flags.c_contiguous:
        # Torch's buffers are: a view of one must share its memory
        y = y.copy()
    if last is None or last.dtype != y.dtype:
        run.buffers[id(owner)] = y = y.copy() if holds_other_tensors(y) else y
        return y
    if last.shape != y.shape:
        last = run.buffers[id(owner)] = _resized(run, last, y.shape)
    last[...] = y
    return last


def _resized(run: Run, last: Array, sizes: Sizes) -> Array:
    """The same memory under other sizes: it grows where it is too small, for all that look at it."""
    owner = storage(last)
    made = from_start_of(run.grown, last, sizes)
    if made is None:
        raise Refusal("is used again at another size, and would write over memory that is not the network's own")
    if storage(made) is not owner:
        for own in (run.buffers, run.outputs, *(each for clone in run.clones.values() for each in clone[:2])):
            for key, array in own.items():
                if storage(array) is owner:
                    own[key] = _moved(run, array)
    return made


def _moved(run: Run, x: Array) -> Array:
    """``x`` in the storage that has taken the place of its own, one array for all that hold ``x``."""
    if (found := moved(run.grown, x)) is not x:
        run.replaced[id(x)] = x, found
    return found


def _is_stored(owner: Owner, y: Array) -> bool:
    """Whether a module gave (a view of) one of its own stored arrays."""
    return not y.flags.writeable or any(np.may_share_memory(y, w) for w in owner.parameters().values())


# -- 2. outputs
def set_output(run: Run, owner: Owner, x: Nested, y: Array) -> Array:
    """The output as Torch gives it: in the module's buffer, and from now on what the module's last output is."""
    y = in_buffer(run, owner, x, y)
    if owner.owns_no_output:
        return y
    if any(y is t for t in tensors(x)):
        # the module's tensor is another one than its input's, on the same memory
        y = y.view()
    last = run.outputs.get(id(owner))
    # what is given now is not replaced, whatever was before: the same array may come back
    run.replaced.pop(id(y), None)
    if last is not None and last is not y:
        run.replaced[id(last)] = last, y
    run.outputs[id(owner)] = y
    return y


def current(x: Nested) -> Nested:
    """What tensors are by now: a module that runs again makes its last output point at the new one."""
    run = current_run.get()
    if run is None or not (run.replaced or run.grown):
        return x
    if isinstance(x, list):
        x[:] = [current(item) for item in x]
        return x
    while True:
        while id(x) in run.replaced:
            x = run.replaced[id(x)][1]
        if not run.grown or (found := _moved(run, x)) is x:
            return x
        x = found


def last_output(layer: object) -> Array | None:
    """The tensor that a module calls its output, as it is before the module runs again."""
    run = current_run.get()
    return None if run is None else run.outputs.get(id(layer))


def release(layer: object, x: Array) -> None:
    """The module lets go of its buffer: its output is its input, whose memory it holds (``self.output:set(input)``)."""
    if (run := current_run.get()) is not None:
        run.buffers.forget(id(layer))
        run.given[id(run.outputs), id(layer)] = x


def write_into_last_output(layer: object, x: Array) -> None:
    """The module will write where its last output lies, even if that is what it was given; but not over ``x``."""
    run, last = current_run.get(), last_output(layer)
    if run is None or last is None:
        return
    if storage(last) is storage(x):
        run.buffers.forget(id(layer))
    elif run.buffers.get(id(layer)) is None:
        run.buffers[id(layer)] = last


# -- 3. views and in-place writes
def resize_in_place(x: Array, y: Array) -> Array:
    """``y``, a view of x: a module has given x itself other sizes, which all who hold it see from now on."""
    run = current_run.get()
    if run is not None:
        run.replaced[id(x)] = x, y
    return y


def result(x: Array, y: Array, inplace: bool, *, idempotent: bool = False) -> Array:
    """``y`` in a tensor of its own, or written into ``x``; ``idempotent`` as in :func:`check_written_once`."""
    if not inplace:
        return y
    check_written_once(x, idempotent)
    x[...] = y
    return x


def check_written_once(x: Array, idempotent: bool = False) -> None:
    """Refuse a write into a tensor that shows one element many times, as nn.Replicate gives it.

    Torch's loop comes by each element many times. That makes no difference where the function is ``idempotent``: of
    what it gave, it gives the same.

    Raises:
        Refusal: the tensor is such a one, and the function is not.
    """
    if not idempotent and shows_again(x.shape, x.strides):
        raise Refusal(WRITTEN_AGAIN, hint=WRITE_ELSEWHERE)


def shows_again(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether a tensor of these sizes shows one element many times."""
    return any(size > 1 and not stride for size, stride in zip(shape, strides, strict=True))


#: Why a write into such a tensor is refused, and what to do about it.
WRITTEN_AGAIN = (
    "writes in place into a tensor that shows one element many times, as nn.Replicate gives it: "
    "Torch changes each element once for every time it is shown, in an order that depends on its loop"
)
WRITE_ELSEWHERE = (
    "set `inplace` of this module to false, or put nn.Contiguous in front of it, and save the network again"
)


# -- 4. overlap
#: Why the classes are refused that are not on the list.
OVERLAP = "is used again on its own output, changed in place: Torch would read there what it is writing"

#: Classes whose code reads all that an output element depends on before it writes any of that memory: element by
#: element, channel by channel (SpatialConvolutionMM unfolds an image first), or by way of a copy.
READ_BEFORE_WRITTEN = frozenset(
    """
    Abs Add AddConstant BatchNormalization CAdd CELU CMul Clamp Clip ClippedReLU ConstAffine Contiguous Copy Dropout ELU
    Exp GradientReversal HardShrink HardTanh Identity InstanceNormalization L1Penalty LeakyReLU Log LogSigmoid
    LogSoftMax Minus Mul MulConstant PReLU Power PrintSize RReLU ReLU ReLU6 ReLUInPlace Reshape Sigmoid SoftMax SoftMin
    SoftPlus SoftShrink SoftSign SpatialBatchNormalization SpatialConvolution SpatialConvolutionMM SpatialDropout
    SpatialLogSoftMax SpatialSoftMax Sqrt Square Squeeze Tanh TanhShrink Threshold Unsqueeze View
    VolumetricBatchNormalization VolumetricDropout WhiteNoise ZeroGrad
    """.split()
)


def overwritten_output(run: Run, owner: Owner, x: Nested) -> Array | None:
    """The module's own last output, where x lies in its memory, which the module is about to write over."""
    # a step of a recurrence is given its own last state: there the formula holds for states as they were
    last = None if owner.container or run.memory else run.buffers.get(id(owner))
    return last if last is not None and any(np.may_share_memory(last, t) for t in tensors(x)) else None


# -- 5. tables
def output_table(key: object) -> list[Nested]:
    """The one table that a module hands out, whenever it runs; the steps of a recurrence have theirs."""
    run = current_run.get()
    return [] if run is None or run.memory else run.tables.setdefault(key, Table())


# -- 6. clones
@contextmanager
def clone(of: object) -> Generator[None]:
    """One clone of a module, the same for the same key: it owns buffers and tables, and states of its own."""
    run = current_run.get()
    if run is None:
        yield
        return
    outer = run.buffers, run.outputs, run.tables, run.memory
    run.buffers, run.outputs, run.tables = run.clones.setdefault(of, (Held(), Held(), Tables()))
    run.memory = {}
    try:
        yield
    finally:
        run.buffers, run.outputs, run.tables, run.memory = outer


# -- 7. states
def memory() -> dict[int, Any]:
    """What the recurrent layers of this pass keep from one step to the next, by ``id`` of the layer."""
    return run.memory if (run := current_run.get()) else {}


def pushed() -> dict[int, Nested]:
    """What each nn.PullTable of this pass will put into its table, by ``id`` of its object."""
    return run.pushed if (run := current_run.get()) else {}


def stateful() -> bool:
    """Whether recurrent layers go on where their last sequence ended: their states are inputs of this pass."""
    return (run := current_run.get()) is not None and run.stateful


def tensors(x: Nested) -> Iterator[Array]:
    """The tensors of a nested table, in order."""
    if isinstance(x, list):
        for item in x:
            yield from tensors(item)
    else:
        yield x
