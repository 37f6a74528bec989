"""Many decimal numbers at once, correctly rounded: eight digits are one 64-bit word.

A number is ``[-]digits[.digits][e±digits]``. Its digits are gathered as words of eight characters, each word becomes a
number with three multiplications, and the mantissa, an integer below 2^64, is scaled by a power of ten that is exact.
The one division is done in extended precision (64-bit mantissa); where that leaves in doubt which double is
nearest, and for everything that is written differently, the caller parses the token on its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from retorch.torch7.objects import Array

EXTENDED = np.finfo(np.longdouble).nmant == 63
"""Whether this machine has the x87's extended precision; without it only 32-bit floats can be parsed here."""

_U8 = np.uint64
_ZEROS = _U8(0x3030303030303030)
_SIXES = _U8(0x0606060606060606)
_HIGH = _U8(0xF0F0F0F0F0F0F0F0)
_KEEP = np.array([(2**64 - 1) ^ (2 ** (64 - 8 * n) - 1) for n in range(9)], np.uint64)
_FILL = np.array([0x3030303030303030 & (2 ** (64 - 8 * n) - 1) for n in range(9)], np.uint64)
_TENS = np.array([10**n for n in range(20)], np.uint64)
_LARGEST_TEN = 27  # 5^27 < 2^64
_TENS_DOUBLE = np.array([10.0**n for n in range(23)])
# A product of two powers that each fit an int64, so that no step rounds.
_TENS_EXTENDED = np.array([10 ** min(n, 18) for n in range(28)], np.longdouble) * np.array(
    [10 ** max(n - 18, 0) for n in range(28)], np.longdouble
)
_MARGIN = 24  # characters before the text, so that a word may begin before a token


class _Digits:
    """The text as overlapping words; knows which tokens had anything but digits where digits belong."""

    def __init__(self, padded: bytes, tokens: int) -> None:
        self.words = np.ndarray((len(padded) - 7,), "<u8", padded, strides=(1,))
        self.good = np.ones(tokens, np.bool_)

    def read(self, stops: Array, counts: Array) -> Array:
        """The numbers that the ``counts`` (0 to 8) characters before ``stops`` say."""
        words = self.words[stops - 8]
        words &= _KEEP[counts]
        words |= _FILL[counts]
        words ^= _ZEROS  # a digit is now its value, and anything else has a high bit or overflows with 6 added
        self.good &= ((words | (words + _SIXES)) & _HIGH) == 0
        words *= _U8(2561)
        words >>= _U8(8)
        words &= _U8(0x00FF00FF00FF00FF)
        words *= _U8(6553601)
        words >>= _U8(16)
        words &= _U8(0x0000FFFF0000FFFF)
        words *= _U8(42949672960001)
        words >>= _U8(32)
        return words


def parse_decimals(text: bytes, dtype: np.dtype[Any]) -> tuple[Array, Array, Array, Array]:
    """The numbers in ``text``, separated by single spaces.

    Returns values, which of them are right, and where each token begins and ends.
    """
    padded = b"0" * _MARGIN + text + b" " * 8
    codes = np.frombuffer(padded, np.uint8)
    stops = np.append(np.flatnonzero(codes[: _MARGIN + len(text)] == ord(" ")), _MARGIN + len(text))
    begins = np.concatenate(([_MARGIN], stops[:-1] + 1))
    negative = codes[begins] == ord("-")
    starts = begins + negative
    digits = _Digits(padded, len(stops))
    ends, exponents = _exponents(codes, digits, starts, stops)
    points = _points(codes, starts, ends)
    fraction = np.maximum(ends - points - 1, 0)
    mantissa = _mantissas(digits, codes, points, ends, points - starts, fraction)
    power = fraction if exponents is None else fraction - exponents
    digits.good &= (fraction <= 24) & (power >= 0) & (power <= (_LARGEST_TEN if dtype == np.float64 else 22))
    values = _scale(mantissa, np.where(digits.good, power, 0), dtype, digits)
    with np.errstate(over="ignore"):
        values = np.where(negative, -values, values).astype(dtype)
    return values, digits.good, begins - _MARGIN, stops - _MARGIN


def _exponents(codes: Array, digits: _Digits, starts: Array, stops: Array) -> tuple[Array, Array | None]:
    """Where the digits end, and the exponents after that, which C writes with two digits; None where there is none."""
    places = np.flatnonzero((codes[stops - 4] == ord("e")) & (stops - 4 > starts))
    if not len(places):
        return stops, None
    ends, exponents = stops.copy(), np.zeros(len(stops), np.int64)
    ends[places] -= 4
    after = stops[places]
    signs, tens, ones = codes[after - 3], codes[after - 2] - ord("0"), codes[after - 1] - ord("0")
    digits.good[places] &= ((signs == ord("-")) | (signs == ord("+"))) & (tens < 10) & (ones < 10)
    sizes = 10 * tens.astype(np.int64) + ones
    exponents[places] = np.where(signs == ord("-"), -sizes, sizes)
    return ends, exponents


def _points(codes: Array, starts: Array, ends: Array) -> Array:
    """Where the decimal point of each token stands; its end, where it has none."""
    second = starts + 1
    if (codes[second] == ord(".")).all():
        return second
    found = np.flatnonzero(codes == ord("."))
    owners = np.searchsorted(ends, found)
    inside = owners < len(ends)
    points = ends.copy()
    points[owners[inside]] = found[inside]
    return points


def _mantissas(digits: _Digits, codes: Array, points: Array, ends: Array, whole: Array, fraction: Array) -> Array:
    """All digits as one integer; tokens whose digits do not fit are marked."""
    value = digits.read(ends, np.minimum(fraction, 8))
    if (longest := int(fraction.max(initial=0))) > 8:
        value += digits.read(ends - 8, np.clip(fraction - 8, 0, 8)) * _U8(10**8)
    if longest > 16:
        high = digits.read(ends - 16, np.clip(fraction - 16, 0, 8))
        digits.good &= high < 1000  # 19 digits always fit
        value += high * _U8(10**16)
    if (whole == 1).all():
        before = codes[points - 1] - ord("0")
        digits.good &= before < 10
    else:
        before = digits.read(points, np.clip(whole, 0, 8))
        digits.good &= (whole >= 1) & (whole <= 8) & (points <= ends)
    digits.good &= (before == 0) | (whole + fraction <= 19)
    return value + before * _TENS[np.minimum(fraction, 19)]


def _scale(mantissa: Array, power: Array, dtype: np.dtype[Any], digits: _Digits) -> Array:
    """``mantissa`` / 10^``power``, rounded once; tokens that could round either way are marked."""
    if dtype != np.float64:
        digits.good &= mantissa < _U8(2**53)
        return mantissa.astype(np.float64) / _TENS_DOUBLE[power]
    extended = mantissa.astype(np.longdouble) / _TENS_EXTENDED[power]
    # The 11 bits that a double drops: just at the half, the 64 bits cannot tell.
    dropped = extended.view(np.uint64)[::2] & _U8(0x7FF)
    digits.good &= (dropped < _U8(0x3FF)) | (dropped > _U8(0x401))
    return extended.astype(np.float64)
