"""Whatever Torch wrote goes back to the same bytes."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from retorch.errors import FormatError
from retorch.torch7 import (
    LuaFunction,
    LuaTable,
    TensorFacts,
    TorchObject,
    TorchStorage,
    TorchTensor,
    encode,
    open_file,
    read,
)

GOLDEN = Path(__file__).parents[1] / "golden"
# Made by cutting "V 1" out of every place that looked like it, elements of storages included: what follows has moved.
DAMAGED = {"legacy_Residual_1", "legacy_net_lenet"}


def again(path: Path) -> bytes:
    document = open_file(path)
    assert document.trailing == 0
    file = io.BytesIO()
    encode(file, document.root, document.dialect)
    return file.getvalue()


@pytest.mark.parametrize("path", sorted(GOLDEN.rglob("*.t7")), ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    if path.stem in DAMAGED:
        # what was lost cannot be written again: the mended file is longer by just that
        lost = sum(int(note.split(" lost ")[1].split()[0]) for note in open_file(path).damage)
        assert len(again(path)) == path.stat().st_size + lost > path.stat().st_size
    else:
        assert again(path) == path.read_bytes()


@pytest.mark.real
def test_files_of_others(real: Path) -> None:
    paths = [path for path in sorted(real.rglob("*")) if path.is_file() and path.suffix not in (".npz", ".tsv")]
    paths = [path for path in paths if path.parent.name != "jbr97+deepmask"]
    assert len(paths) > 40
    for path in paths:
        assert again(path) == path.read_bytes(), path


def classes(value: Any) -> Counter[str]:
    """How many objects of each class hang on ``value``, tensors and storages included."""
    found: dict[int, str] = {}
    met: set[int] = set()
    stack = [value]
    while stack:
        item = stack.pop()
        if id(item) in met:
            continue
        met.add(id(item))
        match item:
            case TorchTensor() | TorchStorage():
                assert item.facts is not None
                found[id(item)] = item.facts.typename
                if isinstance(item.facts, TensorFacts):
                    stack.append(item.facts.storage)
            case LuaTable() | TorchObject():
                if isinstance(item, TorchObject):
                    found[id(item)] = item.typename
                stack += [part for pair in item.items() for part in pair]
            case LuaFunction():
                stack.append(item.upvalues)
            case _:
                pass
    return Counter(found.values())


@pytest.mark.real
def test_the_classes_of_files_of_others_are_those_of_the_index(real: Path) -> None:
    compared = 0
    with (real / "INDEX.tsv").open(newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            counts = [item.rpartition(":") for item in row["classes (count)"].split()]
            listed = {name: int(count) for name, _, count in counts if name}
            if not listed or "deepmask" in row["file"]:
                continue
            assert classes(read(real / row["file"])) == listed, row["file"]
            compared += 1
    assert compared > 30


@pytest.mark.real
def test_the_cut_off_file_says_where(real: Path) -> None:
    with pytest.raises(FormatError, match="526337 elements of a storage, found 746857") as caught:
        open_file(real / "jbr97+deepmask" / "model.t7")
    assert caught.value.offset == 1308
    assert caught.value.path == "model.scoreBranch.modules[2].gradBias (the last class was torch.CudaStorage)"
