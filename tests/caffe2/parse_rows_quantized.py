"""Rows for tables of floats put into few bits, tables in halves, and tables that lost some of their rows."""

from __future__ import annotations

import numpy as np

from caffe2.nets import Row, row
from caffe2.parse_rows_ragged import LENGTHS, NEW, PICKED, fused

TABLE = np.random.default_rng(3).normal(size=(5, 8)).astype(np.float32)
TABLE[2] = 0.25  # a row without width
TABLE[3] *= 1e-6  # its scale is no normal number in half precision
TABLE[4] = -np.abs(TABLE[4]) * 1e4
SIGNED_ZERO = np.array([[-0.0, 0.5, 0.0, -0.0]], np.float32)
#: Rows 1 and 4 of six are gone; the fused table has five.
MAPPING = np.array([0, -1, 1, 3, -1, 2], np.int32)
FEW = [2, 1, 1, 0, 2]


def pruned(bits: int, kind: str) -> Row:
    """A sum over a pruned table."""
    weights, feed = (" W", {"W": (6,)}) if kind == "WeightedSum" else ("", {})
    text = f"SparseLengths{kind}{bits}BitRowwiseSparse X{weights} I L M -> Y"
    table, picked = fused(bits, half=bits < 8), np.array([5, 0, 1, 3, 4, 2], np.int32)
    return row(text, X=table, I=picked, L=FEW, M=MAPPING, versions=NEW, **feed)


QUANTIZED: list[Row] = [
    row("FloatToFused8BitRowwiseQuantized X -> Y", X=TABLE),
    row("FloatToFused8BitRowwiseQuantized X -> Y", X=TABLE.reshape(5, 2, 4), versions=NEW),
    row("FloatToFused8BitRowwiseQuantizedHalfScaleBias X -> Y", X=TABLE, versions=NEW),
    row("HalfFloatToFused8BitRowwiseQuantized X -> Y", X=TABLE[:3].astype(np.float16)),
    row("HalfFloatToFused8BitRowwiseQuantizedHalfScaleBias X -> Y", X=TABLE[:3].astype(np.float16), versions=NEW),
    *(row(f"FloatToFused{bits}BitRowwiseQuantized X -> Y", X=TABLE, versions=NEW) for bits in (4, 2)),
    *(row(f"FloatToFused{bits}BitRowwiseQuantized X -> Y", X=SIGNED_ZERO, versions=NEW) for bits in (4, 2)),
    *(
        row(f"HalfToFused{bits}BitRowwiseQuantized X -> Y", X=TABLE[:3].astype(np.float16), versions=NEW)
        for bits in (4, 2)
    ),
    *(
        row(f"{kind}ToFused{bits}BitFakeRowwiseQuantized X -> Y", X=TABLE[:3].astype(dtype), versions=NEW)
        for bits in (4, 2)
        for kind, dtype in (("Float", np.float32), ("Half", np.float16))
    ),
    row("Fused8BitRowwiseQuantizedToHalfFloat X -> Y", X=fused(8, half=False)),
    row("Fused8BitRowwiseQuantizedHalfScaleBiasToHalfFloat X -> Y", X=fused(8), versions=NEW),
    *(row(f"Fused{bits}BitRowwiseQuantizedToHalf X -> Y", X=fused(bits), versions=NEW) for bits in (4, 2)),
    row("GatherFused8BitRowwise X I -> Y", X=fused(8, half=False), I=PICKED),
    *(pruned(bits, kind) for bits in (8, 4, 2) for kind in ("Sum", "Mean", "WeightedSum")),
    row("SparseLengthsSum8BitRowwiseSparse X I L m -> Y", X=fused(8, half=False), I=PICKED.astype(np.int32),
        L=LENGTHS, m=np.zeros(1, np.int32), versions=NEW),
    row("SparseLengthsSumSparseLookup I L M -> Y N", "Y", "N", I=[5, 0, 1, 3, 4, 2], L=FEW, M=MAPPING, versions=NEW),
    row("SparseLengthsSumSparseLookup I L M W -> Y N V", "Y", "N", "V", I=np.array([5, 0, 1, 3, 4, 2], np.int64),
        L=FEW, M=MAPPING, W=(6,), versions=NEW),
]  # fmt: skip
