"""Views, reorderings, selections and reductions."""

from __future__ import annotations

import math
from typing import Any

from retorch.errors import Refusal
from retorch.graph.input_shape.rules.registry import all_but, assumption, named, rule
from retorch.graph.input_shape.terms import Conflict, Facts, Size, Term
from retorch.layers.base.layer import Layer
from retorch.layers.padding import Padding
from retorch.layers.reduction import Reduction
from retorch.layers.shape.replicate import Replicate
from retorch.layers.shape.selection import Narrow, Select
from retorch.layers.shape.transpose import Transpose
from retorch.layers.shape.view import Reshape, Squeeze, Unsqueeze, View
from retorch.layers.softmax import OverChannels
from retorch.layers.wrapper import Convert

#: An image has as many pixels at least.
_LEAST_IMAGE = 64


@rule(View, Reshape)
def view(facts: Facts, layer: View | Reshape, x: Term, y: Term) -> bool:
    """A sample has as many elements before as after."""
    _counted(facts, layer, x, y)
    if x.sizes is None or y.sizes is None:
        return False
    if len(y.sizes) == len(layer.size):
        return _whole(facts, layer, x.sizes, y.sizes)
    if len(y.sizes) != len(layer.size) + 1:
        raise Conflict
    for size, said in zip(y.sizes[1:], layer.size, strict=True):
        if said >= 0:
            facts.fix(size, said, named(layer))
    if len(x.sizes) > 1:
        facts.equal(x.sizes[0], y.sizes[0])
    if -1 not in layer.size:
        return facts.product(x.sizes[1:], math.prod(layer.size), named(layer))
    return _through(facts, layer, x.sizes[1:], y.sizes[1:])


def _counted(facts: Facts, layer: View | Reshape, x: Term, y: Term) -> None:
    """What the layer says of the number of dimensions: a sample's before, and a sample's after."""
    own = layer.numInputDims if isinstance(layer, View) else None
    if own is None:
        return
    if y.rank is None and x.rank is not None and x.rank > own:
        facts.rank(y, len(layer.size) + 1)
    elif x.rank is None and y.rank == len(layer.size) + 1:
        facts.rank(x, own + 1)


def _whole(facts: Facts, layer: View | Reshape, given: list[Size], made: list[Size]) -> bool:
    for size, said in zip(made, layer.size, strict=True):
        if said >= 0:
            facts.fix(size, said, named(layer))
    if -1 not in layer.size:
        return facts.product(given, math.prod(layer.size), named(layer))
    return _through(facts, layer, given, made)


def _through(facts: Facts, layer: Layer, given: list[Size], made: list[Size]) -> bool:
    """As many elements on both sides, of which one count may be known."""
    for known, other in ((given, made), (made, given)):
        values = [size.value for size in known]
        if None not in values:
            return facts.product(other, math.prod(v for v in values if v is not None), named(layer))
    # the same unknown sizes on both sides take no part
    ours = [size for size in given if size.value is None]
    theirs = [size for size in made if size.value is None]
    if len(ours) == len(theirs) == 1 and ours[0].end() is not theirs[0].end():
        left, right = (math.prod(s.value or 1 for s in sizes) for sizes in (given, made))
        if left == right:
            facts.equal(ours[0], theirs[0])
            return True
    return False


@assumption(View, Reshape)
def viewed_samples(facts: Facts, layer: View | Reshape, x: Term, y: Term) -> bool:
    """What is viewed is a batch: of as many elements a sample as there are, square where that fits."""
    if y.sizes is None:
        # a leading -1 is the batch, where the sizes behind it hold a sample
        whole = isinstance(layer, View) and layer.size[:1] == (-1,) and layer.numInputDims is None
        whole = whole or getattr(layer, "batchMode", None) is False
        facts.rank(y, len(layer.size) + (not whole))
        return True
    if x.sizes is None:
        whole = len(y.sizes) == len(layer.size)
        facts.shape(x, _before(layer, y.sizes, layer.size[1:] if whole else layer.size))
        return True
    # two sizes for a matrix: the first is the number of samples that the network was made for
    batched = len(y.sizes) == len(layer.size) + 1 or layer.size[0] == -1 or len(layer.size) == 2 < len(x.sizes)
    if not batched or len(x.sizes) < 2:
        return False
    first = y.sizes[0]
    if x.sizes[0].value is None and first.end() is not x.sizes[0].end():
        facts.equal(x.sizes[0], first)
        return True
    return _square(facts, layer, x.sizes[1:], layer.size[1:] if len(y.sizes) == len(layer.size) else layer.size)


def _before(layer: Layer, made: list[Size], said: tuple[int, ...]) -> list[Size]:
    """What a view was made of: of a vector, an image, which is why somebody views it; else as it is after."""
    if len(said) != 1 or said[0] < _LEAST_IMAGE:
        return made
    for channels in (1, 3):
        area, rest = divmod(said[0], channels)
        high = _divisor(area)
        wide = area // high
        if not rest and (high == wide or (channels == 3 and wide <= 2 * high and high % 8 == wide % 8 == 0)):
            return [made[0], *(Size(size, named(layer)) for size in (channels, high, wide))]
    return made


def _square(facts: Facts, layer: Layer, given: list[Size], said: tuple[int, ...]) -> bool:
    """Height and width of one size, or a length alone, from the number of elements."""
    if any(size < 0 for size in said):
        return False
    known = math.prod(size.value for size in given if size.value is not None)
    unknown = [size for size in given if size.value is None]
    share, rest = divmod(math.prod(said), known)
    if rest or len(unknown) not in (1, 2):
        return False
    # images are square, or wider than high
    side = share if len(unknown) == 1 else _divisor(share)
    if share > 2 * side * side > 2 and len(unknown) == 2:
        return False
    for size, value in zip(unknown, (side, share // side), strict=False):
        facts.fix(size, value, named(layer))
    return True


def _divisor(number: int) -> int:
    """The largest that is not above the square root."""
    return next(n for n in range(math.isqrt(number), 0, -1) if number % n == 0)


@rule(Transpose)
def transpose(facts: Facts, layer: Transpose, x: Term, y: Term) -> bool:
    """The sizes in another order."""
    rank = x.rank if x.rank is not None else y.rank
    if rank is None:
        return False
    given = facts.rank(x, rank)
    facts.shape(y, [given[i] for i in layer.order(rank)])
    return True


@assumption(Transpose)
def transposed(facts: Facts, layer: Transpose, x: Term, y: Term) -> bool:
    """As many dimensions as are swapped; with the batch, where a sample's are counted."""
    if x.rank is not None or y.rank is not None:
        return False
    most = max((max(pair) for pair in layer.pairs), default=2)
    facts.rank(x, max(most, 3) if layer.numInputDims is None else layer.numInputDims + 1)
    return True


@rule(Unsqueeze)
def unsqueeze(facts: Facts, layer: Unsqueeze, x: Term, y: Term) -> bool:
    """One more dimension, of 1."""
    rank = x.rank if x.rank is not None else None if y.rank is None else y.rank - 1
    if rank is None:
        return False
    sizes, axis = facts.rank(x, rank), layer.axis(rank)
    facts.shape(y, [*sizes[:axis], Size(1), *sizes[axis:]])
    return True


@rule(Squeeze)
def squeeze(facts: Facts, layer: Squeeze, x: Term, y: Term) -> bool:
    """Without a dimension of 1."""
    if layer.dim is None:
        return _squeeze_all(facts, layer, x, y)
    if x.sizes is None or y.sizes is None:
        return False
    axis = layer.dim - 1 + (layer.numInputDims is not None and len(x.sizes) == layer.numInputDims + 1)
    if len(y.sizes) == len(x.sizes) - 1:
        facts.fix(x.sizes[axis], 1)
        facts.shape(y, [size for i, size in enumerate(x.sizes) if i != axis])
    else:
        facts.same(x, y)
    return True


def _squeeze_all(facts: Facts, layer: Squeeze, x: Term, y: Term) -> bool:
    if x.sizes is None:
        return False
    unknown = [size for size in x.sizes if size.value is None]
    # what is not known, as a batch or a length, is rarely 1
    left = [size for size in x.sizes if size.value != 1]
    if y.sizes is not None and len(left) == len(y.sizes):
        for a, b in zip(left, y.sizes, strict=True):
            facts.equal(a, b)
        return True
    if y.sizes is None and len(unknown) <= 1:
        facts.shape(y, left or x.sizes[:1])
        return True
    return False


@assumption(Squeeze)
def squeezed(facts: Facts, layer: Squeeze, x: Term, y: Term) -> bool:
    """There is a dimension to drop."""
    if x.sizes is None or y.rank is not None:
        return False
    if layer.dim is None:
        return _one_to_drop(facts, x.sizes)
    axis = layer.dim - 1 + (layer.numInputDims is not None and len(x.sizes) == layer.numInputDims + 1)
    if axis >= len(x.sizes) or x.sizes[axis].value not in (None, 1):
        return False
    facts.rank(y, len(x.sizes) - 1)
    return True


def _one_to_drop(facts: Facts, sizes: list[Size]) -> bool:
    """The only size behind the batch that is not known, where none is known to be 1."""
    unknown = [size for size in sizes[1:] if size.value is None]
    if len(unknown) != 1 or unknown[0].low > 1 or any(size.value == 1 for size in sizes[1:]):
        return False
    facts.fix(unknown[0], 1)
    return True


@rule(Select)
def select(facts: Facts, layer: Select, x: Term, y: Term) -> bool:
    """Without the dimension."""
    rank = x.rank if x.rank is not None else None if y.rank is None else y.rank + 1
    if rank is None:
        return False
    sizes = facts.rank(x, rank)
    axis = layer.dimension - 1 if layer.dimension > 0 else layer.dimension + rank
    facts.between(sizes[axis], abs(layer.index), sizes[axis].high)
    facts.shape(y, [size for i, size in enumerate(sizes) if i != axis])
    return True


@rule(Narrow)
def narrow(facts: Facts, layer: Narrow, x: Term, y: Term) -> bool:
    """A part of one dimension."""
    rank = x.rank if x.rank is not None else y.rank
    if rank is None:
        return False
    axis = layer.dimension - 1 if layer.dimension > 0 else layer.dimension + rank
    found = all_but(facts, x, y, axis)
    if found is not None and layer.length > 0 and layer.index > 0:
        facts.fix(found[1][axis], layer.length, named(layer))
        facts.between(found[0][axis], layer.index + layer.length - 1, found[0][axis].high)
    return True


@rule(Padding)
def padded(facts: Facts, layer: Padding, x: Term, y: Term) -> bool:
    """One dimension larger."""
    rank = x.rank if x.rank is not None else y.rank
    if rank is None:
        return False
    axis = layer.dim - 1 + (layer.nInputDim is not None and layer.nInputDim != rank)
    found = all_but(facts, x, y, axis)
    return found is None or facts.total(found[1][axis], [found[0][axis], Size(abs(layer.pad))], named(layer))


@rule(Replicate)
def replicate(facts: Facts, layer: Replicate, x: Term, y: Term) -> bool:
    """One more dimension."""
    rank = x.rank if x.rank is not None else None if y.rank is None else y.rank - 1
    if rank is None:
        return False
    sizes, axis = facts.rank(x, rank), layer.axis(rank)
    facts.shape(y, [*sizes[:axis], Size(layer.nfeatures, named(layer)), *sizes[axis:]])
    return True


@rule(Reduction)
def reduction(facts: Facts, layer: Any, x: Term, y: Term) -> bool:
    """Without a dimension."""
    kept = not getattr(layer, "squeeze", True)
    rank = x.rank if x.rank is not None else None if y.rank is None else y.rank + (not kept)
    if rank is None:
        return False
    sizes = facts.rank(x, rank)
    try:
        axis = layer.axis(rank)
    except Refusal:
        return True
    if rank == 1:
        return True
    rest = [Size(1) if i == axis else size for i, size in enumerate(sizes)]
    facts.shape(y, rest if kept else [size for i, size in enumerate(rest) if i != axis])
    return True


@rule(Convert)
def convert(facts: Facts, layer: Convert, x: Term, y: Term) -> bool:
    """Dimensions named by letters, reordered; or all but the batch as one."""
    letters = layer.inputShape
    if layer.reordering:
        order = layer.order()
        if order == sorted(order):
            facts.same(x, y)
            return True
        given = facts.rank(x, len(letters))
        facts.shape(y, [given[i] for i in order])
        return True
    if layer.outputShape != "bf" or "*" in letters:
        return True
    given, batch = facts.rank(x, len(letters)), letters.index("b")
    made = facts.rank(y, 2)
    facts.equal(given[batch], made[0])
    rest = [size for i, size in enumerate(given) if i != batch]
    return _through(facts, layer, rest, made[1:])


@rule(OverChannels)
def over_channels(facts: Facts, layer: Layer, x: Term, y: Term) -> bool:
    """As it was."""
    facts.same(x, y)
    return True
