"""The two ends of the style transfer networks for phones: pictures of bytes, blue first, with an alpha channel."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Rule
from retorch.caffe2.parse.graph import RefusalError, dims, rank
from retorch.caffe2.random_laws import normal, seed_of


def preprocess(call: Call) -> ir.Value:
    """Bytes (N,H,W,4) as floats (N,3,H,W), less the mean of each channel.

    Caffe2 adds a little noise against flat surfaces, the same ``noise_size`` numbers again and again: here what is
    drawn from the operator's seed, or without one, where every process draws its own, their mean, 0.
    """
    g, x = call.graph, call.x
    if rank(x) != 4 or dims(x)[3] not in (4, None):
        raise RefusalError("pictures of four channels, which come last")
    shifted = g.op("Sub", g.cast(g.slice(x, 3, 0, 3), ir.DataType.FLOAT), g.reshape(call.input(1), (3,)))
    deviation, seed = call.float("noise_std", 10.0), seed_of(call.definition)
    if seed is None:
        g.notes.append(f"{call.type}: the noise of deviation {deviation:g} that every process draws anew is left out")
    else:
        g.notes.append(f"{call.type}: its noise is drawn as Caffe2 1.10 does from the seed {seed}; 1.0 draws another")
        shifted = g.op("Add", shifted, _noise(call, shifted, seed, deviation))
    return g.transpose(shifted, (0, 3, 1, 2))


def _noise(call: Call, like: ir.Value, seed: int, deviation: float) -> ir.Value:
    """The drawn numbers, repeated over the pixels of each picture."""
    g, count = call.graph, call.count("noise_size", 491, 1 << 24)
    numbers = g.constant((normal(seed, count) * deviation).astype(np.float32))
    zero, one = (g.constant(np.asarray(number, np.int64)) for number in (0, 1))
    sizes = g.shape_of(like, 1, 4)
    places = g.op("Range", zero, g.op("ReduceProd", sizes, g.constant([0]), keepdims=0), one)
    cycled = g.op("Gather", numbers, g.op("Mod", places, g.constant([count])))
    y = g.op("Reshape", cycled, sizes)
    y.shape = ir.Shape([*dims(like)[1:3], 3])
    return y


def deprocess(call: Call) -> ir.Value:
    """Floats (N,3,H,W) plus the mean of each channel, cut to 0…255 and rounded down, as bytes (N,H,W,4), opaque."""
    g, x = call.graph, call.x
    shifted = g.op("Add", g.transpose(x, (0, 2, 3, 1)), g.reshape(call.input(1), (3,)))
    bounds = g.scalar(0.0, shifted), g.scalar(255.0, shifted)
    colours = g.cast(g.op("Clip", shifted, *bounds), ir.DataType.UINT8)
    sizes = g.op("Concat", g.shape_of(colours, 0, 3), g.constant([1]), axis=0)
    alpha = g.op("Expand", g.constant(np.full((1, 1, 1, 1), 255, np.uint8)), sizes)
    alpha.shape = ir.Shape([*dims(colours)[:3], 1])
    return g.op("Concat", colours, alpha, axis=3)


RULES: Mapping[str, Rule] = {
    "PackedInt8BGRANHWCToNCHWCStylizerPreprocess": preprocess,
    "BRGNCHWCToPackedInt8BGRAStylizerDeprocess": deprocess,
}
