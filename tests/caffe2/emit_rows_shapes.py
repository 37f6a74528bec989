"""Rows for operators that move elements."""

from __future__ import annotations

import numpy as np

from caffe2.emit_cases import Data, Row, c, d, s, w

_END = np.iinfo(np.int64).max

ROWS = [
    Row("Identity", [d(2, 3)], "Copy"),
    Row("Dropout", [d(2, 3)], "Copy"),
    Row("Reshape", [d(2, 3, 4), c(0, -1)], "Reshape"),
    Row("Reshape", [d(2, 3, 4), c(-1, 4, 3)], "Reshape"),
    Row("Reshape", [d(2, 3, 4), c(4, 6)], "Reshape", fixed=True),
    Row("Flatten", [d(2, 3, 4)], "Flatten"),
    Row("Flatten", [d(2, 3, 4, 5)], "Flatten", {"axis": -2}),
    Row("Flatten", [d(2, 3)], "Flatten", {"axis": 0}),
    Row("Transpose", [d(2, 3, 4)], "Transpose"),
    Row("Transpose", [d(2, 3, 4, 5)], "Transpose", {"perm": [0, 3, 1, 2]}),
    Row("Squeeze", [d(2, 1, 4, 1), c(1, -1)], "Squeeze"),
    Row("Squeeze", [d(2, 1, 4, 1)], "Squeeze", fixed=True),
    Row("Unsqueeze", [d(2, 3), c(0, -1)], "ExpandDims"),
    Row("Concat", [d(2, 3, 4), d(2, 5, 4)], "Concat", {"axis": 1}),
    Row("Concat", [d(2, 3), w(2, 3), d(2, 3)], "Concat", {"axis": -1}, fixed=True),
    Row("Concat", [Data((2, 3), high=9), Data((2, 1), high=9)], "", {"axis": 1}),
    Row("Split", [d(2, 6, 4), c(1, 3, 2)], "Split", {"axis": 1}, outputs=3),
    Row("Split", [d(2, 6, 4)], "Split", {"axis": -2, "num_outputs": 2}, outputs=2),
    Row("Slice", [d(2, 6, 5), c(1), c(4), c(1)], "Slice"),
    Row("Slice", [d(2, 6, 5), c(1, -3), c(_END, -1), c(1, 2)], "Slice Slice"),
    Row("Slice", [d(4, 6), c(1), c(_END), c(0)], "Slice"),
    Row("Slice", [d(4, 6), c(0), c(-1), c(0)], "Slice"),
    Row("Slice", [d(4, 6), c(-2), c(_END), c(0)], "Slice", fixed=True),
    Row("Slice", [d(4, 6), c(0), c(_END), c(1)], "Copy"),
    Row("Slice", [d(2, 7, 5), c(1), c(6), c(1), c(2)], ""),
    Row("Slice", [d(2, 7, 5), c(0, 4), c(_END, 0), c(1, 2), c(3, -2)], ""),
    Row("Slice", [Data((2, 7), high=9), c(0), c(_END), c(1), c(3)], ""),
    Row("Gather", [d(2, 6, 5), c(3, 0, 3)], "BatchGather", {"axis": 1}),
    Row("Gather", [d(2, 6, 5), np.array([[3, 0], [1, 1]])], "Reshape BatchGather Reshape", {"axis": 2}),
    Row("Gather", [d(2, 6, 5), np.array(2)], "", {"axis": 1}),
    Row("Gather", [d(2, 6, 5), c(-1, -2)], "", {"axis": 1}),
    Row("Gather", [w(7, 5), Data((2, 3), high=7)], "Cast Gather"),
    Row("Gather", [w(7, 5), Data((2, 3), high=5)], "", {"axis": 1}),
    Row("Expand", [d(2, 1, 3), c(2, 4, 3)], "Tile", fixed=True),
    Row("Expand", [d(2, 1, 3), c(1, 4, 1)], "Tile"),
    Row("Expand", [d(3, 1), c(2, 1, 4)], "ExpandDims Tile Tile"),
    Row("Tile", [d(2, 3, 4), c(1, 2, 3)], "Tile Tile"),
    Row("Tile", [d(2, 3), c(3, 1)], "Tile"),
    Row("Pad", [d(2, 3, 4, 5), c(0, 0, 1, 2, 0, 0, 3, 0), s(1.5)], "PadImage"),
    Row("Pad", [d(2, 3, 6, 5), c(0, 0, 1, -2, 0, 0, -3, 0)], "PadImage"),
    Row("Pad", [d(2, 3, 6, 5), c(0, 0, 1, 2, 0, 0, 3, 1)], "PadImage", {"mode": "reflect"}),
    Row("Pad", [d(2, 3, 6, 5), c(0, 0, 1, 2, 0, 0, 3, 1)], "PadImage", {"mode": "edge"}),
    Row("Pad", [d(2, 3, 6, 5), c(0, 0, 1, 2, 0, 0, 3, 1)], "", {"mode": "wrap"}),
    Row("Pad", [d(2, 3, 6), c(0, 1, 2, 0, 3, 1), s(-2.0)], ""),
    Row("Pad", [d(2, 3), c(1, 0, 2, 0)], ""),
    Row("Pad", [d(2, 3, 4, 5, 6), c(1, 2, 0, 1), None, c(2, 4)], "", {"mode": "edge"}),
    Row("Pad", [d(2, 3, 4, 5, 6), c(1, 2, 0, 1), None, c(2, 4)], "", {"mode": "reflect"}),
    Row("DepthToSpace", [d(2, 12, 3, 4)], "Reshape Transpose Reshape", {"blocksize": 2}),
    Row("DepthToSpace", [d(2, 12, 3, 4)], "Reshape Transpose Reshape", {"blocksize": 2, "mode": "CRD"}),
    Row("SpaceToDepth", [d(2, 3, 4, 6)], "Reshape Transpose Reshape", {"blocksize": 2}),
]
