"""MKL-DNN: which operators run on the device that Caffe2 calls IDEEP, and copies where a blob changes sides.

The rules are measured against the operators of the CPU, on the Caffe2 of torch 1.0.0 and of 1.10.2, the latter also as
it is on older processors. What they do not name stays on the CPU: most of it that the device takes runs on the CPU
there too, behind copies of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import TypeAlias

from retorch.caffe2.device import TO_CPU, TO_IDEEP
from retorch.caffe2.emit.op import Dims, Draft, Pending, size

#: Whether an operator is right there and not slower, given the dimensions of the blobs, as far as they are known.
_Rule: TypeAlias = Callable[[Pending, Mapping[str, Dims]], bool]

_CONVOLUTIONS = frozenset(("Conv", "ConvTranspose"))
# Copying an element takes as long as so many multiplications take longer on the CPU; and so does starting up.
_COPY, _START = 20, 1_000_000
_GIBIBYTE = 1 << 28  # in floats


def _conv(op: Pending, dims: Mapping[str, Dims]) -> bool:
    return "dilations" not in op.args and _conv_or_dilated(op, dims)


def _conv_or_dilated(op: Pending, dims: Mapping[str, Dims]) -> bool:
    return not op.engine and _even(op, dims) and (_in_order(op, dims) or _compiled(op, dims))


def _conv_transpose(op: Pending, dims: Mapping[str, Dims]) -> bool:
    return "group" not in op.args and _even(op, dims) and _in_order(op, dims)


def _even(op: Pending, dims: Mapping[str, Dims]) -> bool:
    """Images padded alike on both sides: the device refuses all else."""
    pads = op.numbers("pads")
    return len(dims.get(op.inputs[0], ())) == 4 and pads[:2] == pads[2:]


# 1.10.2 leaves results in the order of channels last where it has no code for a convolution (or takes one channel, or
# one pixel, for such), and hands them to the CPU as they are, without an error: numbers in the wrong places.


def _in_order(op: Pending, dims: Mapping[str, Dims]) -> bool:
    """Whether there is memory for a product of matrices, which takes any convolution on any processor.

    Its columns may have fifteen times the size of what the convolution reads and makes, and 1 GiB.
    """
    x, w, y = _shapes(op, dims)
    read, made = _elements(x), _elements(y)
    if read is None or made is None or x[1] == 1 or read == x[1]:
        return False
    pixels = (x if op.kind == "ConvTranspose" else y)[2:]
    return prod(w[1:]) * prod(map(size, pixels)) <= min(12 * (read + prod(w) + made), _GIBIBYTE)


def _compiled(op: Pending, dims: Mapping[str, Dims]) -> bool:
    """Whether there is code for a convolution in whole blocks of channels with a narrow window, from SSE4.1 on."""
    x, w, y = _shapes(op, dims)
    steps = op.numbers("dilations") or (1, 1)
    tall, wide = ((kernel - 1) * step + 1 for kernel, step in zip(w[2:], steps, strict=True))
    top, left = op.numbers("pads")[:2]
    blocks = x[1] == w[1] and (w[1] == 3 or w[1] % 8 == 0) and w[0] % 8 == 0
    return blocks and wide <= 7 and left < min(wide, 4) and top < tall and isinstance(y[3], int) and y[3] >= 3


def _shapes(op: Pending, dims: Mapping[str, Dims]) -> tuple[Dims, tuple[int, ...], Dims]:
    """Of what a convolution reads, of its weights, and of what it makes."""
    return dims[op.inputs[0]], tuple(map(size, dims[op.inputs[1]])), op.dims[0]


def _images(op: Pending, dims: Mapping[str, Dims]) -> bool:
    """Four dimensions: with fewer, the device fails, or normalizes over something else."""
    return [len(each) for each in op.dims] == [4]


def _pool(op: Pending, dims: Mapping[str, Dims]) -> bool:
    """Channels in blocks of eight: others are pooled ten times slower than on the CPU."""
    return _images(op, dims) and _multiple(op.dims[0], 8)


def _concat(op: Pending, dims: Mapping[str, Dims]) -> bool:
    """Channels in whole blocks, of 8 or 16 by processor: parts of a block take the process down (1.0.0) or throw."""
    return _images(op, dims) and op.args["axis"] == 1 and all(_multiple(dims.get(name, ()), 16) for name in op.inputs)


def _multiple(dims: Dims, block: int) -> bool:
    channels = dims[1] if len(dims) == 4 else None
    return isinstance(channels, int) and channels % block == 0


_RULES: Mapping[str, _Rule] = {
    "AveragePool": _pool,
    "Concat": _concat,
    "Conv": _conv,
    "LRN": _images,
    "MaxPool": _pool,
    "Relu": _images,
    "SpatialBN": _images,
    "Sum": _images,
}
# 1.0.0 fails on dilations, runs the next two on the CPU behind copies, and makes numbers of NaN in the last.
_SINCE_1_10: Mapping[str, _Rule] = {
    "Conv": _conv_or_dilated,
    "ConvTranspose": _conv_transpose,
    "LeakyRelu": _images,
    "Sigmoid": _images,
}
_WEIGHTED = frozenset((*_CONVOLUTIONS, "SpatialBN"))


def on_mkldnn(draft: Draft, inputs: Mapping[str, Dims], outputs: Collection[str]) -> list[Pending]:
    """The operators of ``draft`` with those on the device that are right there, and the copies that this takes.

    Callers feed tensors of the CPU and get such: ``outputs`` keep their names. An operator that is no convolution goes
    to the device only behind one, as nothing is gained for what arrives in the CPU's order of elements.
    """
    dims: dict[str, Dims] = {name: array.shape for name, array in draft.params.items()}
    dims |= inputs
    dims |= {name: each for op in draft.ops for name, each in zip(op.outputs, op.dims, strict=False)}
    placed = _placed(draft, dims)
    for island in _islands(draft.ops, placed):
        if not _pays([draft.ops[index] for index in island], draft, dims, outputs):
            placed -= set(island)
    return _Copying(draft, placed, outputs).operators()


def _placed(draft: Draft, dims: Mapping[str, Dims]) -> set[int]:
    """The operators that may go to the device, by their place in the list."""
    rules = {**_RULES, **_SINCE_1_10} if draft.options.release == "1.10" else _RULES
    there: set[str] = set()
    found: set[int] = set()
    for index, op in enumerate(draft.ops):
        rule = rules.get(op.kind)
        if rule is None or not (op.kind in _CONVOLUTIONS or there.intersection(op.inputs)):
            continue
        # A convolution keeps its own copy of the weights from the first run: of none that is computed.
        fixed = op.kind not in _WEIGHTED or all(name in draft.params for name in op.inputs[1:])
        if fixed and rule(op, dims):
            found.add(index)
            there.update(op.outputs)
    return found


def _islands(ops: Sequence[Pending], placed: Collection[int]) -> list[list[int]]:
    """The operators on the device that hang together by what they make and read."""
    member: dict[str, list[int]] = {}
    for index in sorted(placed):
        joined = [index]
        for part in {id(member[name]): member[name] for name in ops[index].inputs if name in member}.values():
            joined += part
        member.update((name, joined) for each in joined for name in ops[each].outputs)
    return list({id(island): island for island in member.values()}.values())


def _pays(island: Sequence[Pending], draft: Draft, dims: Mapping[str, Dims], outputs: Collection[str]) -> bool:
    """Whether the convolutions of an island gain more than the copies at its shores cost, by the sizes of one image."""
    made = {name for op in island for name in op.outputs}
    inside = {id(op) for op in island}
    arriving = {name for op in island for name in op.inputs} - made - draft.params.keys()
    leaving = {name for op in draft.ops if id(op) not in inside for name in op.inputs} | set(outputs)
    products = sum(_products(op, dims) for op in island if op.kind in _CONVOLUTIONS)
    return products >= _START + _COPY * sum(_elements(dims.get(name, ())) or 0 for name in arriving | (leaving & made))


def _products(op: Pending, dims: Mapping[str, Dims]) -> int:
    """The multiplications of a convolution: every element (made; or read, where transposed) times a filter."""
    x, w, y = _shapes(op, dims)
    return (_elements(x if op.kind == "ConvTranspose" else y) or 0) * prod(w[1:])


def _elements(dims: Dims) -> int | None:
    """The elements of one image."""
    sizes = [dim for dim in dims[1:] if isinstance(dim, int)]
    return prod(sizes) if sizes and len(sizes) == len(dims) - 1 else None


class _Copying:
    """One pass over the operators: every one reads blobs of its own side."""

    def __init__(self, draft: Draft, placed: Collection[int], outputs: Collection[str]) -> None:
        self.draft = draft
        self.placed = placed
        made = [name for index in sorted(placed) for name in draft.ops[index].outputs]
        read = {name for index, op in enumerate(draft.ops) if index not in placed for name in op.inputs}
        #: An output keeps its name on the CPU, where it is copied as soon as it is made.
        self.renamed = {name: draft.fresh(f"{name}_ideep") for name in made if name in outputs}
        #: The blobs on the device; a weight that both sides read is one of the CPU.
        self.there = {*made, *(draft.params.keys() - read)} - self.renamed.keys()
        self.copies: dict[str, str] = {}
        self.ops: list[Pending] = []

    def operators(self) -> list[Pending]:
        for index, op in enumerate(self.draft.ops):
            ideep = index in self.placed
            inputs = [self._side(name, ideep=ideep) for name in op.inputs]
            names = [self.renamed.get(name, name) for name in op.outputs]
            self.ops.append(replace(op, inputs=inputs, outputs=names, ideep=ideep))
            for name in op.outputs:
                self.copies.pop(name, None)  # it was written over
                if name in self.renamed:
                    self._copy(self.renamed[name], name, TO_CPU)
        return self.ops

    def _side(self, name: str, *, ideep: bool) -> str:
        """The blob on the side that reads it; it is copied there for the first to do so."""
        if ideep and name in self.renamed:
            return self.renamed[name]
        if (name in self.there) == ideep:
            return name
        if name not in self.copies:
            self.copies[name] = self.draft.fresh(f"{name}_{'ideep' if ideep else 'cpu'}")
            self._copy(name, self.copies[name], TO_IDEEP if ideep else TO_CPU)
        return self.copies[name]

    def _copy(self, source: str, target: str, kind: str) -> None:
        self.ops.append(Pending(kind, [source], [target], {}, ideep=True))
