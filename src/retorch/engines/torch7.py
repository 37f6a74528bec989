"""Torch7 itself as a witness, where ``th`` or a ``luajit`` with torch is installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, cast

import numpy as np

from retorch.engines.interface import Array, Case
from retorch.errors import EngineError, FormatError, UsageError
from retorch.graph.nesting import nest
from retorch.layers.base.random_source import random_layers
from retorch.torch7 import LuaTable, read, write
from retorch.torch7.paths import steps

_PROGRAMS = ("th", "luajit", "lua5.1")
_SECONDS = 600


class RealTorch:
    """Torch7 itself, on the file that the network came from."""

    runs_files = False

    def __init__(self, case: Case, source: Path) -> None:
        self.case = case
        self.source = source
        if random_layers(case.net.layer):
            raise UsageError(
                "--engine lua: Torch7 draws this network's random numbers itself, so that no two runs agree"
            )
        self.program = find()
        self.name = f"Torch7 ({self.program.name})"

    def run(self, tensors: Sequence[Array]) -> list[Array]:
        return forward(self.program, self.source, self.case.net.at, nest(self.case.nesting, tensors))

    def blobs(self, names: Sequence[str], tensors: Sequence[Array]) -> dict[str, Array]:
        # Torch is asked for the outputs only
        return {}

    def close(self) -> None:
        return None


def find() -> Path:
    """The first program on PATH that runs Torch7.

    Raises:
        UsageError: none does.
    """
    for name in _PROGRAMS:
        program = shutil.which(name)
        if program is not None and _loads_torch(program):
            return Path(program)
    raise UsageError("Torch7 is not installed here", hint="--engine lua needs th, or luajit with torch, on PATH")


def _loads_torch(program: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "probe.lua"
        script.write_text('require "torch"; require "nn"; print "ready"\n', encoding="ascii")
        asked = subprocess.run([program, str(script)], capture_output=True, text=True, timeout=60, check=False)
    return asked.returncode == 0 and "ready" in asked.stdout


def forward(program: Path, source: Path, at: str, x: Any) -> list[Array]:
    """The outputs of the network in a file, in order, computed by Torch7 at evaluation.

    Args:
        program: what :func:`find` gave.
        source: the Torch7 file.
        at: where in it the network stands.
        x: an array, or nested lists where Torch takes a table.

    Raises:
        EngineError: Torch7 fails, and what it says.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        with resources.as_file(resources.files("retorch.engines") / "forward.lua") as script:
            write(place / "input.t7", _table({"path": steps(at), "input": x}))
            command = [str(program), str(script), str(source.resolve()), str(place / "input.t7"), str(place / "y.t7")]
            try:
                ran = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
            except subprocess.TimeoutExpired as error:
                raise EngineError(f"Torch7 was not done after {_SECONDS} seconds") from error
        if ran.returncode != 0 or not (place / "y.t7").exists():
            words = [line for line in (ran.stderr or ran.stdout).splitlines() if line.strip()]
            raise EngineError(f"Torch7 failed: {words[0] if words else f'exit code {ran.returncode}'}")
        try:
            made = read((place / "y.t7").read_bytes())
        except FormatError as error:
            raise EngineError(f"Torch7 wrote no outputs: {error}") from error
    if not isinstance(made, LuaTable):
        raise EngineError("Torch7 wrote no table of outputs")
    return [np.asarray(y) for y in made.sequence()]


def _table(value: Any) -> Any:
    if isinstance(value, dict):
        return LuaTable({key: _table(item) for key, item in cast("dict[str, Any]", value).items()})
    if isinstance(value, (list, tuple)):
        return LuaTable.of(*(_table(item) for item in cast("list[Any]", value)))
    return np.ascontiguousarray(cast("Array", value)) if isinstance(value, np.ndarray) else value
