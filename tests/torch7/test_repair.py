"""A file whose version strings were cut out, inside the numbers too, still gives what it has left."""

from __future__ import annotations

import io

import numpy as np
import pytest

import retorch
from golden_cases import GOLDEN, Case, check, flatten
from retorch.torch7 import open_file

VERSION_STRING = b"\x03\x00\x00\x00V 1"


def file_with_unlucky_numbers(spoiled: str) -> bytes:
    """Two tensors in a table; the bytes of a version string stand among the elements of one."""
    numbers = np.frombuffer(VERSION_STRING + b"\x00" * 29, np.float32).copy()
    plain = np.arange(5, dtype=np.float32)
    values = {"first": plain, "second": plain + 5} | {spoiled: numbers}
    file = io.BytesIO()
    from retorch.torch7.stream import Dialect
    from retorch.torch7.writer import encode

    encode(file, values, Dialect("binary"))
    return file.getvalue().replace(VERSION_STRING, b"")


@pytest.mark.parametrize(("spoiled", "other"), [("first", "second"), ("second", "first")])
def test_the_numbers_that_were_cut_are_nan_and_the_others_as_they_were(spoiled: str, other: str) -> None:
    document = open_file(file_with_unlucky_numbers(spoiled))
    assert np.isnan(document.root[spoiled]).all()
    assert document.root[spoiled].shape == (9,)
    expected = np.arange(5) + (5 if other == "second" else 0)
    np.testing.assert_array_equal(document.root[other], expected)
    assert len(document.damage) == 1
    assert "lost 7 bytes" in document.damage[0]


@pytest.mark.parametrize("name", ["legacy_net_lenet", "legacy_Residual_1"])
def test_networks_that_lost_only_gradients_run(name: str) -> None:
    case = Case(GOLDEN / f"{name}.t7")
    net = retorch.load(case.path)
    assert any("lost" in note for note in net.notes)
    check(case.flat("output"), flatten(net.forward(case.nested("input"))))


def test_an_undamaged_file_reports_no_damage() -> None:
    assert open_file(GOLDEN / "net_lenet.t7").damage == ()
