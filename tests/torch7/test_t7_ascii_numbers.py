"""Numbers in ASCII files come out as Python's own ``float`` reads them, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retorch.errors import FormatError
from retorch.torch7.ascii_numbers import parse_numbers

DIGITS = st.text("0123456789", min_size=1, max_size=22)
WRITTEN = st.one_of(
    st.floats().map(lambda value: f"{value:.17g}"),
    st.floats(width=32).map(lambda value: f"{value:.9g}"),
    st.floats(-10, 10).map(lambda value: f"{value:.17g}"),
    st.floats(-1e-4, 1e-4).map(lambda value: f"{value:.17g}"),
    st.builds(lambda sign, a, b: f"{sign}{a}.{b}", st.sampled_from(["", "-"]), DIGITS, DIGITS),
    st.builds(lambda a, b, e: f"{a[0]}.{b}e{e:+03d}", DIGITS, DIGITS, st.integers(-40, 40)),
    st.sampled_from(["nan", "-nan", "inf", "-inf", "0", "-0", "1e400", "5e-324", "+1", ".5", "5.", "1E5"]),
)


@pytest.mark.parametrize("code", ["f8", "f4", "f2"])
@settings(max_examples=300, deadline=None)
@given(tokens=st.lists(WRITTEN, min_size=1, max_size=12))
def test_as_python_reads_them(code: str, tokens: list[str]) -> None:
    line = " ".join(tokens).encode() + b"\nrest"
    values, end = parse_numbers(line, 0, np.dtype(code), len(tokens))
    with np.errstate(over="ignore"):
        expected = np.array([float(token) for token in tokens]).astype(code)
    assert values.tobytes() == expected.tobytes()
    assert line[end:] == b"rest"


def test_halves_between_two_doubles_are_rounded_to_even() -> None:
    # 0.5 + 2^-54 is 0.5000000000000000555111512312578270…
    tokens = ["9007199254740993", "9007199254740995", "0.50000000000000005551115", "0.50000000000000005551116"]
    values, _ = parse_numbers((" ".join(tokens) + "\n").encode(), 0, np.dtype("f8"), 4)
    assert values.tolist() == [9007199254740992.0, 9007199254740996.0, 0.5, 0.5 + 2**-53]


def test_many_numbers_over_several_parts() -> None:
    expected = np.random.default_rng(1).standard_normal(60_000)
    line = " ".join(f"{value:.17g}" for value in expected.tolist()).encode() + b"\n"
    values, end = parse_numbers(line, 0, np.dtype("f8"), len(expected))
    assert values.tobytes() == expected.tobytes()
    assert end == len(line)


def test_numbers_on_several_lines() -> None:
    values, end = parse_numbers(b"1 2\n 3  4 \n", 0, np.dtype("f4"), 4)
    assert values.tolist() == [1, 2, 3, 4]
    assert end == 9


@pytest.mark.parametrize("code", ["i2", "i4", "i8"])
def test_whole_numbers_to_the_ends_of_their_type(code: str) -> None:
    limits = np.iinfo(code)
    line = f"{limits.min} {limits.max} 0 -1\n".encode()
    values, _ = parse_numbers(line, 0, np.dtype(code), 4)
    assert values.tolist() == [limits.min, limits.max, 0, -1]
    with pytest.raises(FormatError, match="expected a number"):
        parse_numbers(f"{limits.max + 1}\n".encode(), 0, np.dtype(code), 1)


@pytest.mark.parametrize("token", ["x", "1x", "1-2", "--1", "1.2.3", "1e", "1e5.0", "0x10", "1,5", "1_0", "-", "."])
def test_what_is_no_number(token: str) -> None:
    with pytest.raises(FormatError, match="expected a number") as caught:
        parse_numbers(f"1 {token} 2\n".encode(), 0, np.dtype("f8"), 3)
    assert caught.value.offset == 2
