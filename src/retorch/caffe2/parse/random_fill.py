"""Constants that a net draws: the same numbers as the real Caffe2's where the operator has a seed, else none.

The Caffe2 in torch 1.10 draws from a Mersenne twister: uniform numbers from 24 bits of each word, normal ones in pairs
by Box and Muller. That of torch 1.0 draws otherwise. Without a seed no two runs agree, so nothing can be said to be the
network's numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from retorch.caffe2.parse.call import Call, Rule
from retorch.caffe2.parse.graph import Array, NeedsShapeError, RefusalError, constant_of, dims

Floats = NDArray[np.float64]
#: Draws this many numbers at most while a net is read.
LARGEST = 1 << 26


def seed_of(call: Call) -> int | None:
    """The seed that the operator was given."""
    option = call.definition.device_option
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


def random_fill(distribution: Callable[[Call, tuple[int, ...], int], Array]) -> Rule:
    """A rule for numbers in the shape of an argument, of the input, or that the input spells out."""

    def rule(call: Call) -> ir.Value:
        seed = seed_of(call)
        if seed is None:
            raise RefusalError(
                "draws other numbers in every run, which nothing reproduces: only with a random_seed in its"
                " device_option do two runs agree"
            )
        shape = _shape(call)
        if min(shape, default=0) < 0 or math.prod(shape) > LARGEST:
            raise RefusalError(f"draws numbers for shape {shape}")
        call.graph.notes.append(f"{call.type}: drawn as Caffe2 1.10 does from the seed {seed}; 1.0 draws other numbers")
        return call.graph.constant(distribution(call, shape, seed).reshape(shape))

    return rule


def _shape(call: Call) -> tuple[int, ...]:
    extra = call.ints("extra_shape")
    if not call.inputs:
        return (*call.ints("shape"), *extra)
    if not call.int("input_as_shape", 0):
        known = [size for size in dims(call.x) if size is not None]
        if len(known) < len(dims(call.x)):
            raise NeedsShapeError(f"{call.type} draws as many numbers as its input has, which is not known")
        return (*known, *extra)
    numbers = constant_of(call.x)
    if numbers is None:
        raise RefusalError("its shape comes from a blob that the network calculates")
    return (*(int(number) for number in numbers.ravel()), *extra)


def _gaussian(call: Call, shape: tuple[int, ...], seed: int) -> Array:
    numbers = normal(seed, math.prod(shape))
    return (numbers * call.float("std", 1.0) + call.float("mean", 0.0)).astype(np.float32)


def _uniform(call: Call, shape: tuple[int, ...], seed: int) -> Array:
    low, high = call.float("min", 0.0), call.float("max", 1.0)
    return (uniform(seed, math.prod(shape)) * (high - low) + low).astype(np.float32)


def _uniform_half(call: Call, shape: tuple[int, ...], seed: int) -> Array:
    if not shape or call.inputs:
        raise RefusalError("draws rows: needs the argument shape, and no inputs")
    return _uniform(call, shape, seed).astype(np.float16)


def _uniform_int(call: Call, shape: tuple[int, ...], seed: int) -> Array:
    low, high = call.int("min", 0), call.int("max", 1)
    if not low <= high < low + (1 << 31):
        raise RefusalError(f"draws between {low} and {high}")
    return (_words(seed, math.prod(shape)) % np.uint64(high - low + 1)).astype(np.int32) + np.int32(low)


def _xavier(call: Call, shape: tuple[int, ...], seed: int) -> Array:
    scale = math.sqrt(3 / (math.prod(shape[1:]) or 1))
    return (uniform(seed, math.prod(shape)) * (2 * scale) - scale).astype(np.float32)


def _msra(call: Call, shape: tuple[int, ...], seed: int) -> Array:
    if len(shape) < 2 or not math.prod(shape):
        raise RefusalError(f"draws weights for shape {shape}")
    scale = math.sqrt(2 / (math.prod(shape) // shape[1]))
    return (normal(seed, math.prod(shape)) * scale).astype(np.float32)


RULES: Mapping[str, Rule] = {
    "GaussianFill": random_fill(_gaussian),
    "UniformFill": random_fill(_uniform),
    "Float16UniformFill": random_fill(_uniform_half),
    "UniformIntFill": random_fill(_uniform_int),
    "XavierFill": random_fill(_xavier),
    "MSRAFill": random_fill(_msra),
}
