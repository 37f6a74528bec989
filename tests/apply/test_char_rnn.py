"""Text from checkpoints of char-rnn, against its cells written out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from examples.charnn.network import CELLS, checkpoint

import retorch
from retorch.cli import main
from retorch.errors import UsageError
from retorch.torch7 import LuaTable, TorchObject

Array = np.ndarray[Any, np.dtype[Any]]
SIZE = 12
TEXT = "Ein Käfer läßt grüßen. ".encode()


def sharpened(made: LuaTable) -> LuaTable:
    """The checkpoint with larger weights: what is likeliest is so by far."""
    for module in made["protos"]["rnn"]["modules"].values():
        if module.typename == "nn.Linear":
            module["weight"] *= 16
            module["bias"] *= 16
    return made


def linears(made: LuaTable) -> list[tuple[Array, Array]]:
    modules = made["protos"]["rnn"]["modules"].values()
    return [
        (m["weight"].astype(np.float64), m["bias"].astype(np.float64)) for m in modules if m.typename == "nn.Linear"
    ]


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def greedy(cell: str, made: LuaTable, given: list[int], length: int) -> list[int]:
    """What char-rnn's sample.lua writes with ``-sample 0``: each cell as its paper has it."""
    layers = linears(made)
    (decode, bias), cells = layers[-1], layers[:-1]
    h, c = np.zeros(SIZE), np.zeros(SIZE)
    text, at = list(given), 0
    while True:
        x = np.eye(len(made["vocab"]))[text[at] - 1]
        a = [weight @ (x if weight.shape[1] == len(x) else h) + offset for weight, offset in cells]
        if cell == "rnn":
            h = np.tanh(a[0] + a[1])
        elif cell == "gru":
            update, reset = sigmoid(a[0] + a[1]), sigmoid(a[2] + a[3])
            # the linear layers of the candidate: of x, then of the gated state
            candidate = np.tanh(a[4] + cells[5][0] @ (reset * h) + cells[5][1])
            h = update * candidate + (1 - update) * h
        else:
            into, forget, out, new = np.split(a[0] + a[1], 4)
            c = sigmoid(forget) * c + sigmoid(into) * np.tanh(new)
            h = sigmoid(out) * np.tanh(c)
        at += 1
        if len(text) == length:
            return text
        if at == len(text):
            text.append(int(np.argmax(decode @ h + bias)) + 1)


@pytest.fixture(params=CELLS)
def model(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, LuaTable, Path]:
    """The cell's name, the checkpoint and its file."""
    made = sharpened(checkpoint(TEXT, request.param, SIZE, seed=8))
    retorch.write(tmp_path / "lm.t7", made)
    return request.param, made, tmp_path / "lm.t7"


@pytest.mark.parametrize("engine", ["reference", "embedded"])
def test_greedy_text_is_that_of_the_cell(model: tuple[str, LuaTable, Path], engine: str) -> None:
    cell, made, file = model
    tokens = sorted(set(TEXT))
    start = "läßt "
    given = [tokens.index(byte) + 1 for byte in start.encode()]
    wanted = bytes(tokens[i - 1] for i in greedy(cell, made, given, 60))
    assert len(set(wanted[len(given) :])) > 2
    text = retorch.sample(file, start=start, length=60, greedy=True, engine=engine)
    assert text == wanted.decode(errors="replace")


def test_the_command_writes_what_python_does(
    model: tuple[str, LuaTable, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file = model[2]
    call = ["sample", str(file), "--start", "Ein ", "--length", "50", "--temperature", "0.7", "--seed", "11"]
    for engine in ("reference", "embedded"):
        wanted = retorch.sample(file, start="Ein ", length=50, temperature=0.7, seed=11, engine=engine)
        assert main([*call, "--engine", engine]) == 0
        assert capsys.readouterr().out == wanted + "\n"
        assert main([*call, "--engine", engine, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["text"] == wanted
    assert retorch.sample(file, length=50, seed=11) != retorch.sample(file, length=50, seed=12)


def test_a_cold_text_is_the_greedy_one(model: tuple[str, LuaTable, Path]) -> None:
    options: dict[str, Any] = {"start": "Ein ", "length": 30}
    assert retorch.sample(model[2], temperature=1e-6, **options) == retorch.sample(model[2], greedy=True, **options)
    with pytest.raises(UsageError, match="greater than zero"):
        retorch.sample(model[2], temperature=0)


def test_temperature_divides_the_scores(tmp_path: Path) -> None:
    """A decoder that only has biases: characters come as often as the softmax of them says."""
    made = checkpoint(b"abc", "rnn", SIZE)
    *_, decoder = (m for m in made["protos"]["rnn"]["modules"].values() if m.typename == "nn.Linear")
    decoder["weight"][...] = 0
    decoder["bias"][...] = np.log([0.6, 0.3, 0.1])
    retorch.write(tmp_path / "lm.t7", made)
    for temperature, weights in ((1.0, np.array([0.6, 0.3, 0.1])), (0.5, np.array([0.36, 0.09, 0.01]))):
        text = retorch.sample(tmp_path / "lm.t7", start="a", length=3001, temperature=temperature, seed=2)[1:]
        found = np.array([text.count(letter) for letter in "abc"]) / 3000
        assert np.abs(found - weights / weights.sum()).max() < 0.03


def test_a_vocabulary_of_whole_characters(tmp_path: Path) -> None:
    """As torch-rnn's preprocess.py writes them, and char-rnn's forks for UTF-8."""
    characters = sorted(set(TEXT.decode()))
    made = sharpened(checkpoint(bytes(range(len(characters))), "gru", SIZE, seed=8))
    made["vocab"] = LuaTable({character: i for i, character in enumerate(characters, 1)})
    retorch.write(tmp_path / "lm.t7", made)
    given = [characters.index(character) + 1 for character in "läßt "]
    wanted = "".join(characters[i - 1] for i in greedy("gru", made, given, 40))
    assert retorch.sample(tmp_path / "lm.t7", start="läßt ", length=40, greedy=True) == wanted
    with pytest.raises(UsageError, match="does not know the character 'x'"):
        retorch.sample(tmp_path / "lm.t7", start="xyz")


def test_a_checkpoint_without_the_size_of_its_states_is_refused(tmp_path: Path) -> None:
    """char-rnn says the size of its states in opt.rnn_size only."""
    made = checkpoint(b"abc", "lstm", SIZE)
    assert isinstance(made["protos"]["rnn"], TorchObject)
    del made["opt"]["rnn_size"]
    retorch.write(tmp_path / "lm.t7", made)
    with pytest.raises(UsageError, match=r"does not say the size of its states \(opt.rnn_size\)"):
        retorch.sample(tmp_path / "lm.t7", start="a", length=3)
