"""A bounded slice of the fuzzers; ``tests/fuzz/readers.py`` and ``fields.py`` run them at length."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "fuzz"))

import fields
import readers

FILES, MODULES = 60, 400


@pytest.mark.parametrize("kind", readers.KINDS)
def test_broken_files_are_read_or_refused(kind: str, tmp_path: Path) -> None:
    originals = readers.Originals(kind)
    readers.lay_out(originals, tmp_path)
    for number in range(FILES):
        name, raw = originals.mutant(number, 0)
        assert readers.check(originals, tmp_path, name, raw) is None, f"{kind} seed 0 number {number}"


def test_whole_files_are_read(tmp_path: Path) -> None:
    for kind in readers.KINDS:
        originals = readers.Originals(kind)
        folder = tmp_path / kind
        folder.mkdir()
        readers.lay_out(originals, folder)
        readers._read(kind, folder, originals.names[0])  # raises nothing


def test_the_check_has_teeth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    originals = readers.Originals("onnx")
    readers.lay_out(originals, tmp_path)

    def breaks(*_: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr(readers, "_read", breaks)
    assert "KeyError" in str(readers.check(originals, tmp_path, "m.onnx", b""))


def test_senseless_fields_are_problems_or_errors() -> None:
    known = fields.originals()
    for number in range(MODULES):
        made, shape = fields.mutant(number, 0, known)
        assert fields.check(made, shape) is None, f"seed 0 number {number}"
