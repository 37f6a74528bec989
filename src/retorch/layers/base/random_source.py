"""What Torch draws at random at evaluation too.

A network that runs elsewhere is a function, so what its layers draw are further inputs: it takes the table
{x, noise_1, …, noise_k}, one tensor for each layer that draws, in the order of the layers.
"""

from __future__ import annotations

from collections.abc import Container
from typing import TypeGuard, TypeVar, cast

from retorch.errors import Problem, Refusal
from retorch.layers.base.layer import Array, Layer, Sizes

T = TypeVar("T")

DRAWS_AGAIN = "runs more than once, and draws new random numbers each time"


class RandomLayer(Layer):
    """A layer that may draw at evaluation; ``noise_for`` and ``op.noise_for`` give what Torch draws."""

    def draws(self) -> str:
        """What Torch draws, in words; ``""`` for a layer that does not."""
        return ""


def random_layers(root: Layer) -> tuple[RandomLayer, ...]:
    """The layers of a network that draw, in the order of the file, which is that of execution."""
    return tuple(made for made in root.every() if isinstance(made, RandomLayer) and made.draws())


def has_noise(x: T | list[T], draws: int) -> TypeGuard[list[T]]:
    """Whether a network's input comes in a table with something for each of its ``draws`` layers that draw."""
    return draws > 0 and isinstance(x, list) and len(cast("list[T]", x)) == 1 + draws


def never_run(layers: tuple[RandomLayer, ...], ran: Container[int]) -> list[Problem]:
    """What keeps a network from being a function of x and its layers' noise: layers that did not run, by ``id``."""
    return [Problem(made.path, made.typename, "draws, but is never run") for made in layers if id(made) not in ran]


class GivenNoise:
    """What one forward pass was given for the layers that draw."""

    def __init__(self, layers: tuple[RandomLayer, ...], noise: list[Array]) -> None:
        self._left = {id(owner): tensor for owner, tensor in zip(layers, noise, strict=True)}

    def __call__(self, owner: Layer, shape: Sizes) -> Array:
        """The tensor of one layer."""
        noise = self._left.pop(id(owner), None)
        if noise is None:
            raise Refusal(DRAWS_AGAIN)
        if noise.shape != shape:
            raise Refusal(f"draws a tensor of {shape}, but is given {noise.shape}")
        return noise
