"""The commands by name: the file that each is in, and what ``retorch --help`` says of it.

A command is imported when it is used, so that none waits for what the others need. Its file has a function of its name,
and ``EXAMPLES``, which end its help.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import typer
from typer.core import TyperGroup
from typer.main import get_command


@dataclass(frozen=True, slots=True)
class Command:
    """One row: the file in this folder, the summary, what the examples are called there, and whether it calculates."""

    file: str
    summary: str
    examples: str = "EXAMPLES"
    calculates: bool = True


COMMANDS = {
    "inspect": Command("inspect", "Show what is in a file: layers, settings, parameters, sizes.", calculates=False),
    "convert": Command("convert", "Convert a network to Caffe2, ONNX or PyTorch and verify what was written."),
    "verify": Command("verify", "Compare written files with the network they were made from."),
    "check": Command("check", "List what an older Caffe2 lacks of a written network.", calculates=False),
    "clean": Command("clean", "Write a .t7 without GPU types, gradients and buffers.", calculates=False),
    "export": Command("export", "Write a file's tensors as npz, safetensors, json or hdf5.", calculates=False),
    "run": Command("run", "Run a network on an input."),
    "sample": Command("sample", "Write text with a language model of torch-rnn or char-rnn."),
    "view": Command("view", "Look at a network in Netron, in the browser."),
    "caffe2": Command("install", "Install the real Caffe2, as an engine.", "CAFFE2_EXAMPLES"),
    "pytorch": Command("install", "Install PyTorch, as an engine.", "PYTORCH_EXAMPLES"),
    "batch": Command("batch", "Convert every Torch7 file of folders, archives and URLs."),
}


class Commands(TyperGroup):
    """The program as the parser sees it: its commands are known by name, and imported when one is asked for."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = cast("dict[str, Any]", _Imported())

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list in the help, without importing what it names."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, row.summary) for name, row in COMMANDS.items()])


class _Imported(Mapping[str, Any]):
    """What the parser needs of each command, made when it is looked up."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        row = COMMANDS[name]
        if name not in self._made:
            if not row.calculates:
                _one_thread()
            module = importlib.import_module(f"retorch.cli.{row.file}")
            alone = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
            alone.command(name, help=row.summary, epilog=getattr(module, row.examples))(getattr(module, name))
            self._made[name] = get_command(alone)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def _one_thread() -> None:
    """Keep NumPy from starting a thread for each processor when it is imported: an eighth of a short command's CPU."""
    if "numpy" not in sys.modules:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
