"""A file that ends too early is refused, wherever it ends."""

from __future__ import annotations

from pathlib import Path

import pytest
import spelled as t7

from retorch.errors import FormatError
from retorch.torch7 import read

DATA = Path(__file__).parents[1] / "golden" / "data"
FILES = {path.stem: path.read_bytes() for path in sorted(DATA.glob("*.t7"))}
FILES["own_bodies"] = t7.table(
    1,
    t7.text("hash"),
    t7.new(2, "tds.Hash", t7.longs(1) + t7.num(1) + t7.text("x")),
    t7.text("vec"),
    t7.new(3, "tds.Vec", t7.longs(2) + t7.TRUE + t7.num(2)),
    t7.text("gpus"),
    t7.new(4, "nn.DataParallelTable", t7.table(5, t7.num(1), t7.num(1)) + t7.table(6), version="V 3"),
    t7.text("old function"),
    t7.function(6, 0, b"code", t7.table(7, t7.num(1), t7.text("up"))),
    t7.text("function"),
    t7.function(8, 8, b"code", t7.table(9)),
)


def test_there_are_ten() -> None:
    assert len(FILES) == 10


@pytest.mark.parametrize("name", FILES)
def test_every_truncation_is_refused_with_an_offset(name: str) -> None:
    raw = FILES[name]
    read(raw)
    for length in range(len(raw)):
        with pytest.raises(FormatError) as caught:
            read(raw[:length])
        assert caught.value.offset is not None
        assert 0 <= caught.value.offset <= length
