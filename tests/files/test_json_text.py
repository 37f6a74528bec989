"""JSON of what JSON has no form for."""

from __future__ import annotations

import json
from pathlib import PurePosixPath

import numpy as np

from retorch.files import json_text


def test_what_json_has_no_form_for_is_said_in_what_it_has() -> None:
    value = {b"\xffk": float("nan"), "x": np.float32(1.5), "y": np.arange(2), "z": PurePosixPath("/a"), 3: b"b"}
    assert json.loads(json_text.dumps(value)) == {"\\xffk": None, "x": 1.5, "y": [0, 1], "z": "/a", "3": "b"}
