"""What the options change in a finished list of operators: engines, and blobs that are used again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from math import prod

from retorch.caffe2.emit.op import Dims, Pending

# They write where they read, on every release, and nothing else in them looks at the input afterwards.
_IN_PLACE = frozenset(("Clip", "Elu", "LeakyRelu", "PRelu", "Relu", "Scale", "Sigmoid", "Tanh"))


# What NNPACK prepares for a pair of channels pays from so many products of the convolution on; measured.
_TRANSFORM_PAYS, _PRODUCT_PAYS = 3500, 100


def nnpack(ops: Sequence[Pending]) -> list[Pending]:
    """The NNPACK engine for 2-D convolutions without dilation, which with one it corrupts memory on.

    It computes 3x3 by Winograd's algorithm, twenty times less exactly than by the transform that is asked for here.
    Small images keep the other engine: NNPACK transforms the weights at every run, which takes longer there than it
    saves.
    """
    made: list[Pending] = []
    for pending in ops:
        kernels, strides = pending.numbers("kernels"), pending.numbers("strides")
        if (
            pending.kind == "Conv"
            and len(kernels) == 2
            and "dilations" not in pending.args
            and _pays(kernels, strides, pending.dims[0])
        ):
            winograd = kernels == (3, 3) and strides == (1, 1)
            args = {**pending.args, "algo": "FT16"} if winograd else pending.args
            pending = replace(pending, args=args, engine="NNPACK")
        made.append(pending)
    return made


def _pays(kernels: Sequence[float], strides: Sequence[float], dims: Dims) -> bool:
    """Whether NNPACK is the faster one; what is not known is taken for large."""
    sizes = [dim for dim in dims[2:] if isinstance(dim, int)]
    if len(sizes) != 2 or any(stride != 1 for stride in strides):
        return True
    taps = prod(kernels)
    return prod(sizes) * taps >= (_PRODUCT_PAYS if taps == 1 else _TRANSFORM_PAYS)


def in_place(ops: Sequence[Pending], outputs: Collection[str]) -> list[Pending]:
    """Pointwise operators write over their input, where they are its only reader and an operator made it.

    The blob keeps the name of the input, so outputs of the network are left alone. Blobs that callers feed are never
    written over.
    """
    readers = Counter(name for pending in ops for name in pending.inputs)
    made = {name for pending in ops for name in pending.outputs}
    names: dict[str, str] = {}
    found: list[Pending] = []
    for pending in ops:
        inputs = [names.get(name, name) for name in pending.inputs]
        source, target = pending.inputs[:1], pending.outputs[:1]
        if (
            pending.kind in _IN_PLACE
            and source[0] in made
            and readers[source[0]] == 1
            and not {source[0], target[0], inputs[0]} & set(outputs)
        ):
            names[target[0]] = inputs[0]
        found.append(replace(pending, inputs=inputs, outputs=[names.get(name, name) for name in pending.outputs]))
    return found
