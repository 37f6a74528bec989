"""Text as the real torch-rnn wrote it, and what a language model must be for that."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest

import retorch
from retorch.apply.vocabulary import Vocabulary
from retorch.cli import main
from retorch.errors import UsageError

csv.field_size_limit(sys.maxsize)


@pytest.mark.real
@pytest.mark.parametrize("engine", ["reference", "embedded"])
def test_greedy_text_is_what_torch_rnn_wrote(real: Path, engine: str) -> None:
    table = real.parent / "golden" / "text" / "texts.tsv"
    rows = [line.split("\t") for line in table.read_text(encoding="utf-8").splitlines()[1:]]
    assert len(rows) == 3
    for name, start, text in rows:
        wanted = json.loads(text)
        assert retorch.sample(real / name, start=start, length=len(wanted), greedy=True, engine=engine) == wanted


@pytest.mark.real
def test_equal_seeds_give_equal_texts(real: Path) -> None:
    checkpoint = real / "danhon+british-placenames" / "cv__checkpoint_1000.t7"
    first, again, other = (retorch.sample(checkpoint, length=60, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert len(first) == 60


@pytest.mark.real
def test_the_command_prints_the_text(real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = str(real / "danhon+british-placenames" / "cv__checkpoint_1000.t7")
    assert main(["sample", checkpoint, "--start", "The ", "--length", "16", "--greedy"]) == 0
    assert capsys.readouterr().out == "The Hill\nChallow\n"
    assert main(["sample", checkpoint, "--start", "The ", "--length", "16", "--greedy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["text"] == "The Hill\nChallow"


def test_the_longest_token_is_read_first() -> None:
    vocabulary = Vocabulary({1: b"a", 2: b"ab", 3: "é".encode()})
    assert vocabulary.encode("abaé") == [2, 1, 3]


def test_an_unknown_character_is_named() -> None:
    with pytest.raises(UsageError, match="does not know the character 'z'") as error:
        Vocabulary({1: b"a"}).encode("az")
    assert "'a'" in str(error.value.hint)


def test_a_network_without_vocabulary_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", "examples/digits/digits.t7"]) == 2
    assert "no vocabulary" in capsys.readouterr().err
