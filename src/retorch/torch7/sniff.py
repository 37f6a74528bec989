"""What a file is that is not a ``.t7``: people keep many things under that name."""

from __future__ import annotations

import re
from collections.abc import Callable

from retorch.errors import FormatError

_HEAD = 4096

_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19", "a PyTorch file (before 1.6)", "load it with PyTorch's torch.load"),
    (b"\x80\x02", "a Python pickle", "a PyTorch file loads with torch.load, others with pickle"),
    (b"\x80\x03", "a Python pickle", "load it with pickle"),
    (b"\x80\x04", "a Python pickle", "load it with pickle"),
    (b"\x80\x05", "a Python pickle", "load it with pickle"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "read it with h5py"),
    (b"\x93NUMPY", "a NumPy array (.npy)", "load it with numpy.load"),
    (b"version https://git-lfs", "a Git LFS pointer: the model itself was not downloaded", "run `git lfs pull`"),
    (b"BZh", "a bzip2 archive", "unpack it first"),
    (b"\xfd7zXZ\x00", "an xz archive", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", "unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it first"),
    (b"Rar!", "a RAR archive", "unpack it first"),
    (b"\x1bLua", "Lua bytecode", "it is a program, not data"),
    (b"\x1bLJ", "LuaJIT bytecode", "it is a program, not data"),
    (b"\x89PNG", "a PNG image", ""),
    (b"\xff\xd8\xff", "a JPEG image", ""),
    (b"%PDF", "a PDF document", ""),
    (b"GGUF", "a GGUF model", ""),
    (b"MATLAB 5.0", "a MATLAB file", "read it with scipy.io.loadmat"),
    (b"SQLite format 3\x00", "an SQLite database", ""),
)  # fmt: skip


def _is_html(head: bytes) -> bool:
    return re.match(rb"\s*(?:<!--.*?-->\s*)?<(?:!doctype\s+html|html|head|body)\b", head, re.I | re.S) is not None


def _is_xml(head: bytes) -> bool:
    return head.lstrip().startswith(b"<?xml")


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"


def _is_torch_zip(head: bytes) -> bool:
    return (
        head.startswith(b"PK\x03\x04")
        and re.search(rb"/(?:data\.pkl|version|byteorder|constants\.pkl)", head) is not None
    )


def _is_npz(head: bytes) -> bool:
    return head.startswith(b"PK\x03\x04") and b".npy" in head[:200]


def _is_zip(head: bytes) -> bool:
    return head.startswith(b"PK\x03\x04")


def _is_safetensors(head: bytes) -> bool:
    return head[8:10] == b'{"' and head[4:8] == bytes(4)


def _is_onnx(head: bytes) -> bool:
    # ModelProto: field 1 (ir_version) as a varint, then mostly field 2 (producer_name), 7 (graph) or 8 (opset_import).
    return re.match(rb"\x08[\x01-\x20](?:[\x12\x1a][\x00-\x7f][ -~]*|[\x3aB])", head) is not None


def _is_caffe2(head: bytes) -> bool:
    # NetDef: field 1 (name) or 2 (op); an op begins with its inputs, outputs, name or type.
    return (
        re.match(rb"(?:\x0a([\x00-\x7f])[ -~]*)?\x12[\x00-\xff][\x00-\xff]?(?:\x0a|\x12|\x1a|\x22)", head, re.S)
        is not None
    )


def _is_network_text(head: bytes) -> bool:
    return re.match(rb'\s*(?:name:\s*"[^"]*"\s*)?(?:op|layers?|node|input|external_input)\s*[:{]', head) is not None


def _is_json(head: bytes) -> bool:
    return re.match(rb'\s*(?:\{\s*["}]|\[\s*[\[{"\d\-\]])', head) is not None


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # a character may be cut at the end of the head
            return False
        text = head[: error.start].decode()
    return all(char.isprintable() or char.isspace() for char in text)


_TESTS: tuple[tuple[Callable[[bytes], bool], str, str], ...] = (
    (_is_html, "a web page (HTML)", "the download gave a page, not the file: fetch it again"),
    (_is_xml, "an XML document", ""),
    (_is_torch_zip, "a PyTorch file (1.6 or later, or TorchScript)", "load it with PyTorch's torch.load"),
    (_is_npz, "a NumPy archive (.npz)", "load it with numpy.load"),
    (_is_zip, "a zip archive", "unpack it first"),
    (_is_tar, "a tar archive", "unpack it first"),
    (_is_safetensors, "a safetensors file", "load it with the safetensors package"),
    (_is_onnx, "an ONNX model", "it runs in onnxruntime as it is"),
    (_is_caffe2, "a Caffe2 network (.pb)", "give its folder to `retorch run`"),
    (_is_network_text, "a network description in text (protobuf)", ""),
    (_is_json, "a JSON document", ""),
    (_is_text, "plain text", ""),
)


def recognise(head: bytes) -> tuple[str, str] | None:
    """What a file that begins with ``head`` is, and what to do with it; None where nothing is known."""
    for magic, what, hint in _MAGIC:
        if head.startswith(magic):
            return what, hint
    for test, what, hint in _TESTS:
        if test(head):
            return what, hint
    return None


def refuse_foreign(head: bytes) -> None:
    """Raise a FormatError that names the kind of a file whose first bytes cannot begin a ``.t7``."""
    if may_be_torch7(head):
        return
    known = recognise(head[:_HEAD])
    if known is None:
        shown = head[:8].hex(" ")
        raise FormatError(
            f"not a Torch7 file: it begins with {shown}, where a type tag (0 to 8) should stand", offset=0
        )
    what, hint = known
    raise FormatError(f"not a Torch7 file but {what}", offset=0, hint=hint or None)


def may_be_torch7(head: bytes) -> bool:
    """Whether a type tag stands first: 0 to 8 as a 4-byte integer of either order, or as a line of ASCII."""
    if head[0] <= 8:
        return head[1:4] == bytes(len(head[1:4])) or (head[:3] == bytes(3) and head[3] <= 8)
    return re.match(rb"\s*[0-8](?:\r?\n|[ \t]|\Z)", head) is not None
