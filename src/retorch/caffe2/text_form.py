"""A message in protobuf's text form, byte for byte as ``text_format`` writes it, in a fraction of its time.

That asks a printer of many options about every name, number and margin; a net of thousands of layers has hundreds of
thousands of them. Here the plain ones are written at once, and what may need an escape or rounding goes to protobuf.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from typing import Any

from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_WHOLE = frozenset(
    (
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
    )
)
#: ASCII that is shown as it is: no control characters, quotes and backslashes.
_PLAIN = re.compile(r"[ !#-&(-\[\]-~]*")


def text(message: Message) -> str:
    """The message as ``.pbtxt`` holds it; without maps, groups and extensions, of which ``caffe2.proto`` has none."""
    lines: list[str] = []
    _add(message, "", lines)
    return "".join(lines)


def _add(message: Message, margin: str, lines: list[str]) -> None:
    for field, value in message.ListFields():
        name = margin + field.name
        items: Iterable[Any] = [value] if isinstance(value, (Message, str, bytes, int, float)) else value
        if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            for item in items:
                lines.append(f"{name} {{\n")
                _add(item, margin + "  ", lines)
                lines.append(f"{margin}}}\n")
        elif field.cpp_type in _WHOLE:
            lines += [f"{name}: {item}\n" for item in items]
        else:
            lines += [f"{name}: {_shown(field, item)}\n" for item in items]


def _shown(field: FieldDescriptor, item: Any) -> str:
    if isinstance(item, (str, bytes)):
        content = item if isinstance(item, str) else item.decode("latin-1")
        if _PLAIN.fullmatch(content):
            return f'"{content}"'
    out = io.StringIO()
    text_format.PrintFieldValue(field, item, out)
    return out.getvalue()
