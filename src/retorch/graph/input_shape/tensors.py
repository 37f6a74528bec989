"""Inputs as they can be tried: tensors with sizes, what each dimension counts, and tables of such."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

#: A tensor, or a table of such.
Nested: TypeAlias = "Tensor | list[Nested]"
#: As lowering takes it: a tuple is a shape, an array an example, a list a table.
Example: TypeAlias = "tuple[int, ...] | NDArray[np.int64] | list[Example]"


class Role(Enum):
    """What a dimension counts."""

    BATCH = "samples"
    CHANNELS = "channels"
    DEPTH = "frames"
    HEIGHT = "rows"
    WIDTH = "columns"
    STEPS = "steps"


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of an input; ``limit`` is the largest index where it holds indices."""

    shape: tuple[int, ...]
    roles: tuple[Role, ...]
    limit: int | None = None

    @property
    def example(self) -> Example:
        """Its shape, or indices."""
        return self.shape if self.limit is None else np.ones(self.shape, np.int64)


def flat(x: Nested) -> list[Tensor]:
    """The tensors in order."""
    return [x] if isinstance(x, Tensor) else [t for item in x for t in flat(item)]


def example(x: Nested) -> Example:
    """What the network is lowered with."""
    return x.example if isinstance(x, Tensor) else [example(item) for item in x]


def text(x: Nested) -> str:
    """As ``--input`` takes it."""
    if isinstance(x, Tensor):
        return "x".join(map(str, x.shape))
    return "{" + ",".join(text(item) for item in x) + "}"


def roles(rank: int, batch: int | None) -> tuple[Role, ...]:
    """What the dimensions of a tensor count, by their number; ``batch`` is where its samples are, if it has any."""
    if rank in (4, 5):
        front = Role.CHANNELS if batch is None else Role.BATCH
        return (front, Role.CHANNELS, *([Role.DEPTH] if rank == 5 else []), Role.HEIGHT, Role.WIDTH)
    return tuple(Role.BATCH if axis == batch else Role.STEPS for axis in range(rank))


def with_samples(x: Nested, count: int) -> Nested | None:
    """The same for so many samples instead of one; None where it holds none, or several."""
    if isinstance(x, Tensor):
        at = x.roles.index(Role.BATCH) if Role.BATCH in x.roles else None
        if at is None or x.shape[at] != 1:
            return None
        return Tensor((*x.shape[:at], count, *x.shape[at + 1 :]), x.roles, x.limit)
    made = [with_samples(item, count) for item in x]
    return None if None in made else [item for item in made if item is not None]
