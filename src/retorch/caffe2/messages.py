"""Small messages, parsed by protobuf and checked for what it lets pass."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from retorch.caffe2.proto.caffe2_pb2 import Argument
from retorch.errors import FormatError
from retorch.files.regular import content

#: How the text begins that Git leaves in the place of a large file.
LFS_POINTER = b"version https://git-lfs"
TEXT_FORMS = (".pbtxt", ".prototxt")
AnyMessage = TypeVar("AnyMessage", bound=Message)


def parse(message: AnyMessage, data: bytes, path: Path, what: str) -> AnyMessage:
    """Fills ``message`` from its binary form and returns it; for other bytes FormatError, which says ``not {what}``."""
    if data.startswith(LFS_POINTER):
        raise FormatError(f"{path}: a Git LFS pointer: the file itself was not downloaded", hint="run `git lfs pull`")
    try:
        message.ParseFromString(data)
    except (DecodeError, ValueError, RecursionError) as error:
        raise FormatError(f"{path}: not {what}: {error}") from error
    if not _is_text(message):
        raise FormatError(f"{path}: not {what}: a name in it is no UTF-8")
    return message


def load(message: AnyMessage, path: Path, what: str) -> AnyMessage:
    """Fills ``message`` from a file of either form and returns it; UsageError where it cannot be read."""
    data = bytes(content(path)[:])
    if path.suffix not in TEXT_FORMS or data.startswith(LFS_POINTER):
        return parse(message, data, path, what)
    try:
        return text_format.Parse(data.decode(), message)
    except (text_format.ParseError, ValueError, RecursionError, TypeError, OverflowError) as error:
        raise FormatError(f"{path}: not {what}: {error}") from error


def _is_text(message: Message) -> bool:
    """Whether every string is one: some implementations of protobuf hand out bytes where it is no UTF-8."""
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_STRING:
            values: Iterable[object] = [value] if isinstance(value, (str, bytes)) else value
            if not all(isinstance(item, str) for item in values):
                return False
        elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            messages: Iterable[Message] = [value] if isinstance(value, Message) else value
            if not all(_is_text(item) for item in messages):
                return False
    return True


def argument(arg: Argument) -> int | float | str | list[int | float | str]:
    """What an argument holds: the one field that is set, or a list. Bytes that are no text are shown as such."""
    for name in ("f", "i", "s"):
        if arg.HasField(name):
            value = getattr(arg, name)
            return value.decode(errors="replace") if isinstance(value, bytes) else value
    return [*arg.floats, *arg.ints, *(text.decode(errors="replace") for text in arg.strings)]
