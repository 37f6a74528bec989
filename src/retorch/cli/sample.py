"""``retorch sample``: text from a language model, printed as it is drawn."""

from __future__ import annotations

import codecs
import sys
from pathlib import Path
from typing import Annotated

import typer

from retorch.cli.arguments import AsJson, At
from retorch.cli.exit_codes import about
from retorch.cli.terminal import print_json
from retorch.errors import UsageError

EXAMPLES = """
Examples:

  retorch sample cv/checkpoint_18000.t7 --start "The " --length 500

  retorch sample lm_lstm_epoch50.t7 --temperature 0.7 --seed 3
"""

ENGINES = ("reference", "embedded")


def sample(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint with a network and its vocabulary.")],
    start: Annotated[str, typer.Option(help="What the text begins with.")] = "",
    length: Annotated[int, typer.Option(help="How many tokens the text has, --start among them.")] = 2000,
    temperature: Annotated[float, typer.Option(help="Below 1 bolder, above 1 wilder.")] = 1.0,
    greedy: Annotated[bool, typer.Option("--greedy", help="Always the likeliest token.")] = False,
    seed: Annotated[int, typer.Option(help="Of the random numbers.")] = 0,
    engine: Annotated[str, typer.Option(help="reference (NumPy) or embedded (onnxruntime).")] = "reference",
    at: At = None,
    as_json: AsJson = False,
) -> None:
    from retorch.apply.sampling import language_model, tokens

    if engine not in ENGINES:
        raise UsageError(f"--engine {engine}: there is no such engine", hint=f"there are {' and '.join(ENGINES)}")
    with about(checkpoint):
        model = language_model(checkpoint, at=at)
        drawn = tokens(
            model, start=start, length=length, temperature=temperature, greedy=greedy, seed=seed, engine=engine
        )
        if as_json:
            text = b"".join(drawn).decode(errors="replace")
            print_json({"text": text, "seed": seed, "engine": engine, "notes": list(model.net.notes)})
            return
        decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        for token in drawn:
            sys.stdout.write(decode(token))
            sys.stdout.flush()
    sys.stdout.write(decode(b"", True) + "\n")
