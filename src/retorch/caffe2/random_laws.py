"""How Caffe2's operators that draw numbers draw them: their laws, and the numbers themselves.

The Caffe2 in torch 1.10 draws from a Mersenne twister: uniform numbers from 24 bits of each word, normal ones in pairs
by Box and Muller. That of torch 1.0 draws otherwise. Without a seed no two runs agree: what is drawn follows the same
law, and nothing more can be said of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from retorch import limits
from retorch.caffe2.arguments import argument, integer, number
from retorch.caffe2.proto.caffe2_pb2 import OperatorDef
from retorch.files.protobuf import Array

Floats = NDArray[np.float64]
Shape: TypeAlias = tuple[int, ...]
#: Draws this many numbers at most while a net is read.
LARGEST = 1 << 26


@dataclass(frozen=True, slots=True)
class Law:
    """How numbers are distributed: normal or uniform ones, times ``scale``, plus ``offset``.

    Where they are ``whole``, uniform over the ``scale`` integers from ``offset`` on. ``half`` keeps them in 16 bits.
    """

    normal: bool
    scale: float
    offset: float
    whole: bool = False
    half: bool = False


def seed_of(operator: OperatorDef) -> int | None:
    """The seed that the operator was given."""
    option = operator.device_option
    return option.random_seed if option.HasField("random_seed") else None


def _words(seed: int, count: int) -> NDArray[np.uint64]:
    generator = np.random.RandomState(seed)  # the seeding of 1998, which MT19937(seed) is not
    return generator.randint(0, 1 << 32, count, np.uint32).astype(np.uint64)


def uniform(seed: int, count: int) -> Floats:
    """Numbers of [0, 1)."""
    return (_words(seed, count) & np.uint64((1 << 24) - 1)).astype(np.float64) * 2.0**-24


def normal(seed: int, count: int) -> Floats:
    """Normally distributed numbers, of mean 0 and deviation 1."""
    pairs = uniform(seed, count + count % 2).reshape(-1, 2)
    radius, angle = np.sqrt(-2 * np.log1p(-pairs[:, 1])), 2 * np.pi * pairs[:, 0]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).ravel()[:count]


def from_seed(law: Law, count: int, seed: int) -> Array:
    """The numbers that the Caffe2 in torch 1.10 draws."""
    if law.whole:
        return (_words(seed, count) % np.uint64(law.scale)).astype(np.int32) + np.int32(law.offset)
    numbers = normal(seed, count) if law.normal else uniform(seed, count)
    numbers = (numbers * law.scale + law.offset).astype(np.float32)
    return numbers.astype(np.float16) if law.half else numbers


def drawn_at_load(operator: OperatorDef) -> Array | None:
    """What an operator of an init net draws, which Caffe2 runs once: from its seed, else by its law.

    None for one that draws nothing, and for one that makes no sense: its rule says why.
    """
    if operator.type not in LAWS or operator.input:
        return None
    found = (argument(operator, name) for name in ("shape", "extra_shape"))
    shape = tuple(size for each in found if each is not None for size in each.ints)
    if min(shape, default=0) < 0 or math.prod(shape) > LARGEST or limits.too_large(limits.needed(shape, 4)):
        return None
    try:
        law = law_of(operator, shape)
    except ValueError:
        return None
    seed = seed_of(operator)
    return _drawn(law, shape) if seed is None else from_seed(law, math.prod(shape), seed).reshape(shape)


def _drawn(law: Law, shape: Shape) -> Array:
    """Numbers that nobody else has."""
    random = np.random.default_rng()
    if law.whole:
        return (random.integers(0, int(law.scale), shape) + int(law.offset)).astype(np.int32)
    numbers = random.standard_normal(shape, np.float32) if law.normal else random.random(shape, np.float32)
    numbers = numbers * np.float32(law.scale) + np.float32(law.offset)
    return numbers.astype(np.float16) if law.half else numbers


def seeded(operator: OperatorDef) -> str:
    """What there is to say of numbers that come from a seed."""
    return f"{operator.type}: drawn as Caffe2 1.10 does from the seed {seed_of(operator)}; 1.0 draws other numbers"


def law_of(operator: OperatorDef, shape: Shape) -> Law:
    """The law of an operator that draws numbers of this shape. ValueError where its arguments make no sense."""
    return LAWS[operator.type](operator, shape)


def _gaussian(operator: OperatorDef, shape: Shape) -> Law:
    return Law(True, number(operator, "std", 1.0), number(operator, "mean", 0.0))


def _uniform(operator: OperatorDef, shape: Shape) -> Law:
    low, high = number(operator, "min", 0.0), number(operator, "max", 1.0)
    return Law(False, high - low, low)


def _uniform_half(operator: OperatorDef, shape: Shape) -> Law:
    if not shape or operator.input:
        raise ValueError("draws rows: needs the argument shape, and no inputs")
    return replace(_uniform(operator, shape), half=True)


def _uniform_int(operator: OperatorDef, shape: Shape) -> Law:
    low, high = integer(operator, "min", 0), integer(operator, "max", 1)
    if not -(1 << 31) <= low <= high < min(low + (1 << 31), 1 << 31):
        raise ValueError(f"draws between {low} and {high}")
    return Law(False, high - low + 1, low, whole=True)


def _xavier(operator: OperatorDef, shape: Shape) -> Law:
    scale = math.sqrt(3 / (math.prod(shape[1:]) or 1))
    return Law(False, 2 * scale, -scale)


def _msra(operator: OperatorDef, shape: Shape) -> Law:
    if len(shape) < 2 or not math.prod(shape):
        raise ValueError(f"draws weights for shape {shape}")
    return Law(True, math.sqrt(2 / (math.prod(shape) // shape[1])), 0.0)


LAWS: Mapping[str, Callable[[OperatorDef, Shape], Law]] = {
    "GaussianFill": _gaussian,
    "UniformFill": _uniform,
    "Float16UniformFill": _uniform_half,
    "UniformIntFill": _uniform_int,
    "XavierFill": _xavier,
    "MSRAFill": _msra,
}
#: Those whose law depends on the shape that they fill.
OF_SHAPE = frozenset(("XavierFill", "MSRAFill", "Float16UniformFill"))
