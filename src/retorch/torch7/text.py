"""The ASCII encoding."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from retorch.errors import FormatError
from retorch.torch7.ascii_numbers import parse_number, parse_numbers
from retorch.torch7.objects import TorchStorage
from retorch.torch7.stream import Buffer, Dialect, Stream, decode, missing, own

# Numbers are separated by white space; one newline after a number belongs to it, because raw characters may follow.
# A number that the file ends with may be cut off, so white space must follow.
_TOKEN = re.compile(rb"\s*+(\S{1,64})(?:\r?\n|(?=\s))")
_NEWLINE = re.compile(rb"\r?\n")
_WHOLE = re.compile(rb"[+-]?\d{1,20}")


class TextStream(Stream):
    """An ASCII file: numbers in decimal, characters as they are, a newline after each."""

    dialect = Dialect("ascii")

    def __init__(self, buffer: Buffer) -> None:
        super().__init__(buffer)
        self._began = 0  # where the last token did, behind any white space

    def _token(self, what: str) -> bytes:
        match = _TOKEN.match(self.buffer, self.pos)
        if match is None:
            left = self.buffer[self.pos : self.pos + 128].split()
            if not left or len(left[0]) <= 64:
                raise FormatError(f"the file is cut off: expected {what} and a newline", offset=self.pos)
            raise FormatError(f"expected {what}, found {left[0][:24]!r}…", offset=self.pos)
        self._began = match.start(1)
        self.pos = match.end()
        return match[1]

    def int(self, what: str) -> int:
        """A whole number."""
        token = self._token(what)
        if not _WHOLE.fullmatch(token):
            raise FormatError(f"expected {what}, found {decode(token)!r}", offset=self._began)
        return int(token)

    def longs(self, count: int, what: str) -> tuple[int, ...]:
        """``count`` whole numbers."""
        self._check(count, what)
        return tuple(self.int(what) for _ in range(count))

    def _check(self, count: int, what: str) -> None:
        # Each number takes a digit and a separator, which the last may lack at the end of the file.
        if count < 0:
            raise FormatError(f"{what}: a count of {count}", offset=self.pos)
        if 2 * count > self.end - self.pos + 1:
            raise missing(what, 2 * count - 1, self.end - self.pos, self.pos)

    def raw(self, count: int, what: str) -> bytes:
        """``count`` characters and the newline after them."""
        pos = self.pos
        if count < 0:
            raise FormatError(f"{what} of {count} bytes", offset=pos)
        if pos + count > self.end:
            raise missing(what, count, self.end - pos, pos)
        self.pos = self._skip_newline(pos + count, what) if count else pos
        return self.buffer[pos : pos + count]

    def _skip_newline(self, pos: int, what: str) -> int:
        if pos == self.end:
            raise missing(f"the newline after {what}", 1, 0, pos)
        newline = _NEWLINE.match(self.buffer, pos)
        return newline.end() if newline else pos

    def tag(self) -> int:
        """A type tag; ``mark`` is its first digit, behind any white space."""
        tag = super().tag()
        self.mark = self._began
        return tag

    def elements(self, dtype: np.dtype[Any], count: int) -> TorchStorage:
        """``count`` elements. Bytes and chars are characters and stay a view; numbers are parsed."""
        if dtype.itemsize == 1:
            pos = self.pos
            if count < 0 or pos + count > self.end:
                raise missing(f"the {count} elements of a storage", count, self.end - pos, pos)
            self.pos = self._skip_newline(pos + count, "a storage") if count else pos
            return TorchStorage((count,), dtype, self.buffer, pos)
        self._check(count, "the elements of a storage")
        values, self.pos = parse_numbers(self.buffer, self.pos, dtype, count)
        return own(values, writable=self.writable)

    def double(self, what: str) -> float:
        """A number."""
        token = self._token(what)
        try:
            return parse_number(token)
        except ValueError:
            raise FormatError(f"expected {what}, found {decode(token)!r}", offset=self._began) from None
