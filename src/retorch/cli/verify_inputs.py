"""What ``retorch verify`` tries a network on: arrays from a file, or a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from retorch.cli.arguments import arrays
from retorch.errors import UsageError

if TYPE_CHECKING:
    from retorch.layers.base.layer import Array


@dataclass(frozen=True, slots=True)
class Asked:
    """The options that say what goes in."""

    inputs: Path | None
    image: Path | None
    mean: str
    std: str
    bgr: bool
    top: float

    def tensors(self, target: Path) -> list[Array] | None:
        """The input, or None for a random one.

        Raises:
            UsageError: both a picture and arrays; or what cannot be read as such.
        """
        if self.image is None:
            if self.bgr or self.mean or self.std or self.top != 1:
                raise UsageError("--mean, --std, --range and --bgr prepare an --image")
            return arrays(self.inputs) if self.inputs else None
        if self.inputs is not None:
            raise UsageError("--image and --inputs exclude each other")
        from retorch.files.image import Preparation, picture_tensor
        from retorch.network import described
        from retorch.verification.compare import example_shapes

        shapes = example_shapes(described(target))
        if len(shapes) != 1:
            raise UsageError(f"--image: the network takes {len(shapes)} inputs", hint="--inputs takes several arrays")
        prepared = Preparation(
            numbers("--mean", self.mean) or (0.0,), numbers("--std", self.std) or (1.0,), self.bgr, self.top
        )
        return [picture_tensor(self.image, shapes[0], prepared)]


def numbers(option: str, text: str) -> tuple[float, ...]:
    """``0.485,0.456,0.406`` as numbers.

    Raises:
        UsageError: anything else.
    """
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise UsageError(f"{option} {text}: numbers joined by commas") from None
