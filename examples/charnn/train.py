"""Train the twin of a character model: ``python -m examples.charnn.train TWIN --steps 2000``, where PyTorch is.

Reads ``model.py`` in the folder TWIN, leaves the trained weights in ``model.safetensors`` there, and in
``expected.json`` what the trained twin itself writes and how well it guesses the text that it has not seen.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

import torch
from safetensors.torch import save_model
from torch import nn

TEXT = Path(__file__).with_name("romeo.txt")
#: The end of the text is kept from training.
SEEN = 0.95
START = "JULIET:\n"
STREAMS, WINDOW, SIZE = 32, 50, 128


def streams(indices: torch.Tensor) -> torch.Tensor:
    """The text as that many texts side by side, which are read at the same time."""
    return indices[: len(indices) // STREAMS * STREAMS].view(STREAMS, -1).T


def unrolled(
    model: nn.Module, inputs: torch.Tensor, states: list[torch.Tensor]
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The scores after each of the inputs (T, N), and the states after the last."""
    scores = []
    for x in inputs:
        *states, y = model(x, *states)
        scores.append(y)
    return torch.stack(scores), states


def loss_of(scores: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """The mean of -log p of what came; the network gives logarithms, Torch counts from 1."""
    return nn.functional.nll_loss(scores.flatten(0, 1), wanted.flatten() - 1)


def train(model: nn.Module, text: torch.Tensor, steps: int) -> None:
    """Adam on windows of text, the states handed on from one window to the next, as char-rnn does."""
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=max(steps, 2))
    side_by_side = streams(text)
    windows = (len(side_by_side) - 1) // WINDOW
    for step in range(steps):
        at = step % windows * WINDOW
        if at == 0:
            states = [torch.zeros(STREAMS, SIZE) for _ in range(2)]
        scores, states = unrolled(model, side_by_side[at : at + WINDOW], [state.detach() for state in states])
        loss = loss_of(scores, side_by_side[at + 1 : at + WINDOW + 1])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5)
        optimizer.step()
        schedule.step()
        if step % 100 == 99 or step == steps - 1:
            print(f"step {step + 1}: perplexity {math.exp(loss.item()):.2f}", flush=True)


@torch.no_grad()
def written(model: nn.Module, tokens: list[int], length: int) -> str:
    """What the model writes greedily after START."""
    text = [tokens.index(ord(character)) + 1 for character in START]
    states = [torch.zeros(1, SIZE) for _ in range(2)]
    scores, states = unrolled(model, torch.tensor(text)[:, None], states)
    while len(text) < length:
        text.append(int(scores[-1].argmax()) + 1)
        scores, states = unrolled(model, torch.tensor([text[-1:]]), states)
    return "".join(chr(tokens[index - 1]) for index in text)


@torch.no_grad()
def perplexity(model: nn.Module, text: torch.Tensor) -> float:
    """Of a text that is read once from its beginning."""
    scores, _ = unrolled(model, text[:-1, None], [torch.zeros(1, SIZE) for _ in range(2)])
    return math.exp(loss_of(scores, text[1:, None]).item())


def main(argv: list[str] | None = None) -> None:
    """Train, and write the weights and what to expect of them."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("twin", type=Path)
    asked.add_argument("--steps", type=int, default=2000)
    options = asked.parse_args(argv)
    sys.path.insert(0, str(options.twin))
    from model import load  # the twin

    torch.manual_seed(0)
    data = TEXT.read_bytes()
    tokens = sorted(set(data))
    indices = torch.tensor([tokens.index(byte) + 1 for byte in data])
    seen = int(len(indices) * SEEN)
    model = load().train()
    train(model, indices[:seen], options.steps)
    model.eval()
    save_model(model, str(options.twin / "model.safetensors"))
    expected = {"greedy": written(model, tokens, 240), "perplexity": perplexity(model, indices[seen:])}
    (options.twin / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    print(f"perplexity of what it has not seen: {expected['perplexity']:.2f}")


if __name__ == "__main__":
    main()
