"""Small messages, parsed by protobuf and checked for what it lets pass."""

from __future__ import annotations

import re
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
#: How a net begins in text form: no net in binary form begins with a name and what may follow one.
_TEXT = re.compile(rb"(?:\s|#[^\n]*\n)*(?:name|op|type|external_input|external_output|arg|device_option)\s*[:{]")
#: How many bytes of a file show its form.
HEAD = 1 << 12
#: What the releases of 2017 call ``device_id``, outside of quotes and comments.
_OLD_NAME = "cuda_gpu_id"
_WORDS = re.compile(rf"""'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|\#[^\n]*|\b{_OLD_NAME}\b""")
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
    if not is_text_form(path, data[:HEAD]):
        return parse(message, data, path, what)
    try:
        return text_format.Parse(_with_new_names(data.decode()), message)
    except text_format.ParseError as error:
        raise FormatError(f"{path}: not {what}: {_placed(error, data.decode())}") from error
    except (ValueError, RecursionError, TypeError, OverflowError) as error:
        raise FormatError(f"{path}: not {what}: {error}") from error


def _placed(error: text_format.ParseError, text: str) -> str:
    """What is wrong and where, without the line itself: one may hold all the weights."""
    line, column = error.GetLine(), error.GetColumn()
    if line is None:
        return str(error)
    shown = "".join(text.split("\n")[line - 1 : line])
    said = str(error).removeprefix(f"{line}:{column} : ").removeprefix(f"'{shown}': ")
    return f"line {line}, column {column}: {' '.join(said.split())}"


def is_text_form(path: Path, head: bytes) -> bool:
    """Whether the file is a message in text form, by its name, or by how it begins: people write either as ``.pb``."""
    if head.startswith(LFS_POINTER):
        return False
    return path.suffix in TEXT_FORMS or _TEXT.match(head) is not None


def _with_new_names(text: str) -> str:
    """The text with today's names of fields; each character after them stays in its place."""
    if _OLD_NAME not in text:
        return text
    return _WORDS.sub(lambda found: "device_id".ljust(len(_OLD_NAME)) if found[0] == _OLD_NAME else found[0], text)


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
