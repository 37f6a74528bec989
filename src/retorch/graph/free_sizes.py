"""Which sizes of a network's inputs may vary: found out by lowering it again at other sizes, and comparing.

Where the graph is the same at another batch, it holds for every batch; where it is the same at a slightly larger image
and at a much larger one, it holds for images of any size. Some networks take only multiples of a number: a decoder must
come to the sizes that its encoder had. What varies gets a name: ``N`` for the batch, ``H``, ``W`` and ``D`` for images
and volumes, ``T`` for sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

import onnx_ir as ir

if TYPE_CHECKING:
    from retorch.graph.builder import Value

#: Each input's shape.
Shapes: TypeAlias = tuple[tuple[int, ...], ...]
#: For each input the names of its dimensions; None where they do not vary.
Names: TypeAlias = tuple[tuple[str | None, ...], ...]

#: What most networks halve images down by, and less.
_USUAL_STEP = 32
_FINER = (16, 8, 4, 2)
#: By how many steps each dimension grows, a little and a lot: apart from each other, so that they can be told apart.
_NEAR = {"H": 1, "W": 3, "D": 2, "T": 1}
_FAR = {"H": 2, "W": 1, "D": 1, "T": 1}


class Lowered(Protocol):
    """A network that was lowered for inputs of certain sizes."""

    @property
    def inputs(self) -> Sequence[Value]:
        """Its inputs, noise behind them."""
        ...

    def signature(self) -> object:
        """What is equal for two graphs that compute the same."""
        ...

    def values(self) -> Iterator[ir.Value]:
        """Inputs, and what live nodes make, in order."""
        ...


#: Lowers the network for inputs of other shapes; None where it does not take them.
Again: TypeAlias = Callable[[Shapes], "Lowered | None"]


@dataclass(frozen=True, slots=True)
class Varied:
    """Sizes that may vary, lowerings at other sizes that prove it, and the step that they keep to."""

    names: Names
    others: tuple[Lowered, ...]
    step: int = 1


def free_batch(base: Lowered, shapes: Shapes, again: Again, axes: Sequence[int], states: int = 0) -> Varied | None:
    """The batch, on one of these axes; of the last inputs, where they are ``states``, on an axis of their own.

    A state has the batch in front, or behind the layers or directions of cuDNN, where it has three dimensions.
    """
    own = [int(len(shape) == 3) for shape in shapes[len(shapes) - states :]]
    for axis in axes:
        places = [axis] * (len(shapes) - states) + own
        sizes = [shape[place : place + 1] for shape, place in zip(shapes, places, strict=True)]
        if () in sizes or len(set(sizes)) != 1:
            continue
        names = tuple(
            tuple("N" if i == place else None for i in range(len(shape)))
            for shape, place in zip(shapes, places, strict=True)
        )
        other = _same(base, again, _grown(shapes, names, {"N": 1}))
        if other is not None:
            return Varied(names, (other,))
    return None


def free_sizes(base: Lowered, shapes: Shapes, again: Again, names: Names) -> Varied | None:
    """The dimensions that ``names`` names, all or those of one name, with the finest step that they allow."""
    present = sorted({name for row in names for name in row if name is not None})
    if not present:
        return None
    for step in _steps(shapes, names):
        near = _same(base, again, _grown(shapes, names, _growth(step)))
        if near is not None:
            # about twice as large: what fits only because a window leaves something over does not fit there
            far = _far(base, shapes, again, names, step)
            return None if far is None else _finest(base, shapes, again, Varied(names, (near, far), step))
    for name in present if len(present) > 1 else ():
        chosen = _only(names, name)
        near = _same(base, again, _grown(shapes, chosen, _growth(1)))
        far = None if near is None else _far(base, shapes, again, chosen, 1)
        if near is not None and far is not None:
            return Varied(chosen, (near, far))
    return None


def _steps(shapes: Shapes, names: Names) -> tuple[int, ...]:
    """Any size; multiples of 32; and of the largest power of two in all sizes, where that is more."""
    sizes = [
        size for shape, row in zip(shapes, names, strict=True) for size, name in zip(shape, row, strict=True) if name
    ]
    power = min(size & -size for size in sizes)
    return (1, _USUAL_STEP, power) if power > _USUAL_STEP else (1, _USUAL_STEP)


def _far(base: Lowered, shapes: Shapes, again: Again, names: Names, step: int) -> Lowered | None:
    sizes = [
        size for shape, row in zip(shapes, names, strict=True) for size, name in zip(shape, row, strict=True) if name
    ]
    return _same(base, again, _grown(shapes, names, _growth(step * -(-max(sizes) // step), _FAR)))


def _finest(base: Lowered, shapes: Shapes, again: Again, found: Varied) -> Varied:
    step = found.step
    for finer in _FINER if step == _USUAL_STEP else ():
        if _same(base, again, _grown(shapes, found.names, _growth(finer))) is None:
            break
        step = finer
    return Varied(found.names, found.others, step)


def _growth(step: int, times: Mapping[str, int] = _NEAR) -> dict[str, int]:
    return {name: n * step for name, n in times.items()}


def _only(names: Names, wanted: str) -> Names:
    return tuple(tuple(name if name == wanted else None for name in row) for row in names)


def _grown(shapes: Shapes, names: Names, by: dict[str, int]) -> Shapes:
    return tuple(
        tuple(size + (by[name] if name else 0) for size, name in zip(shape, row, strict=True))
        for shape, row in zip(shapes, names, strict=True)
    )


def _same(base: Lowered, again: Again, shapes: Shapes) -> Lowered | None:
    other = again(shapes)
    return other if other is not None and other.signature() == base.signature() else None


def name_sizes(base: Lowered, batch: Varied | None, sizes: Varied | None) -> None:
    """Give every size that differs between the lowerings a name, the same to those that are always equal."""
    others = [*(batch.others if batch else ()), *(sizes.others if sizes else ())]
    if not others:
        return
    naming = _Naming(base, batch, sizes)
    for value, *rest in zip(base.values(), *(other.values() for other in others), strict=True):
        rows = [each.shape for each in (value, *rest)]
        if all(row is not None for row in rows):
            value.shape = ir.Shape([naming(seen) for seen in zip(*cast("list[Sequence[int]]", rows), strict=True)])


class _Naming:
    """Names for sizes, by what they are in each lowering."""

    def __init__(self, base: Lowered, batch: Varied | None, sizes: Varied | None) -> None:
        self.inputs: dict[str, tuple[int, ...]] = {}
        for varied in (batch, sizes):
            others = [other for each in (batch, sizes) if each for other in each.others]
            for at, row in enumerate(varied.names if varied else ()):
                for axis, name in enumerate(row):
                    if name is not None:
                        seen = tuple(each.inputs[at].shape[axis] for each in (base, *others))
                        self.inputs.setdefault(name, seen)
        self.found: dict[tuple[int, ...], str] = {seen: name for name, seen in self.inputs.items()}

    def __call__(self, seen: tuple[int, ...]) -> int | ir.SymbolicDim:
        if len(set(seen)) == 1:
            return seen[0]
        if seen not in self.found:
            self.found[seen] = self._made(seen)
        return ir.SymbolicDim(self.found[seen])

    def _made(self, seen: tuple[int, ...]) -> str:
        """A part of an input's size, a multiple of it and so many more or less; else a name of its own."""
        for name, given in self.inputs.items():
            if all(b % a == 0 and b // a == given[0] // seen[0] for a, b in zip(seen, given, strict=True)):
                return f"{name}/{given[0] // seen[0]}"
            at = next(i for i, size in enumerate(given) if size != given[0])
            times, rest = divmod(seen[at] - seen[0], given[at] - given[0])
            more = seen[0] - times * given[0]
            if times > 0 and not rest and all(a == times * b + more for a, b in zip(seen, given, strict=True)):
                return f"{f'{times}*' if times > 1 else ''}{name}{f'{more:+d}' if more else ''}"
        same = sum(other[0] == seen[0] for other in self.found)
        return f"size{seen[0]}{f'_{same}' if same else ''}"
