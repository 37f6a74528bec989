"""How flat tensors make up the tables of Torch: ``0`` is the first tensor, ``[0, [1, 2]]`` a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeAlias, cast

from retorch.errors import UsageError

#: How flat tensors make up what Torch takes or gives.
Nesting: TypeAlias = "int | list[Nesting]"


def nest(nesting: object, tensors: Sequence[object]) -> Any:
    """Positions (``[0, [1, 2]]``) replaced by tensors, or by whatever stands for them.

    Raises:
        UsageError: there are fewer tensors than positions.
    """
    if isinstance(nesting, list):
        return [nest(item, tensors) for item in cast("list[object]", nesting)]
    position = cast("int", nesting)
    if position >= len(tensors):
        raise UsageError(f"{len(tensors)} tensors are given, and the network takes more")
    return tensors[position]


def positions(text: str | None, count: int) -> Nesting:
    """The nesting that a network's metadata gives; a list of tensors where it gives none."""
    if text:
        return cast("Nesting", json.loads(text))
    return 0 if count == 1 else list(range(count))
