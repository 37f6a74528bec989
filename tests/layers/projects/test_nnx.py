"""What nnx's modules refuse; what they give, the real Torch7 says in tests/golden."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from building import module, torch_object
from retorch.errors import UnsupportedError

IMAGE = np.zeros((2, 4, 6))
IDENTITY = torch_object("nn.Identity")


@pytest.mark.parametrize(
    ("name", "fields", "x", "said"),
    [
        ("nn.SpatialMatching", {"maxh": 2, "maxw": 2}, [IMAGE, IMAGE], "matches 4 rows or columns to 5, not 4"),
        ("nn.SpatialMatching", {"full_output": True}, [IMAGE, IMAGE[1:]], "matches 2 channels to 1"),
        ("nn.SpatialRadialMatching", {"maxh": 1}, [IMAGE, IMAGE[:, :, 1:]], "matches 6 columns to 5"),
        ("nn.SpatialGraph", {"connex": 8}, IMAGE, "has 8 neighbours, not 4"),
        ("nn.PushTable", {"_index": 3}, [IMAGE, IMAGE], "takes entry 3 out of a table of 2"),
        ("nn.PullTable", {"_index": 1}, [IMAGE], "pulls what no nn.PushTable has pushed"),
        ("nn.SpatialPyramid", {"ratios": [1, 3], "unfocused_pipeline": IDENTITY}, IMAGE, r"\[1.0, 3.0\] divide"),
        (
            "nn.SpatialFovea",
            {"ratios": [1, 1.5], "processors": [IDENTITY] * 2, "nInputPlane": 2},
            IMAGE,
            "without linear",
        ),
        ("nn.SpatialFovea", {"ratios": [1], "processors": [], "nInputPlane": 2}, IMAGE, "has 0 processors"),
        (
            "nn.SpatialFovea",
            {"ratios": [1], "processors": [IDENTITY], "nInputPlane": 3},
            IMAGE,
            "takes 3 channels, not 2",
        ),
    ],
)
def test_refused(name: str, fields: dict[str, Any], x: Any, said: str) -> None:
    with pytest.raises(UnsupportedError, match=said):
        module(name, **fields).forward(x)
