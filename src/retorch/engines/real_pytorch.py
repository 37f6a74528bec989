"""PyTorch as an engine: ``model.py`` in an interpreter that has torch, in a process of its own."""

from __future__ import annotations

import json
import os
import select
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from retorch.conversion import convert
from retorch.engines import environments
from retorch.engines.interface import Array, Case
from retorch.errors import EngineError, UsageError
from retorch.files.artifacts import python_file
from retorch.graph.nesting import nest

WORKER = Path(__file__).with_name("pytorch_worker.py")
_SECONDS = 600


def interpreters() -> Iterator[Path]:
    """Those that have torch: named, installed for PyTorch, installed for Caffe2 (an older version of it)."""
    yield from environments.named_interpreters("pytorch")
    yield from environments.installed_interpreters("pytorch")
    yield from environments.installed_interpreters("caffe2")


class RealPyTorch:
    """The source and the weights as they stand on disk, run by PyTorch."""

    runs_files = False  # its values are those of modules, not of a graph's nodes

    def __init__(self, path: Path, case: Case, wanted: str = "") -> None:
        """``wanted`` is how its version begins; the first there is without."""
        source = python_file(path)
        if source is None:
            raise UsageError(f"{path}: PyTorch runs model.py, which is not there", hint="convert with --to pytorch")
        self.source, self.case = source, case
        self._process, version = _started(wanted)
        self.name = f"PyTorch {version}"

    def run(self, tensors: Sequence[Array]) -> list[Array]:
        made = self._ask(tensors, {})
        return [made[f"y{i}"] for i in range(sum(name.startswith("y") for name in made))]

    def blobs(self, names: Sequence[str], tensors: Sequence[Array]) -> dict[str, Array]:
        places = {blob: (path, i) for path, _, blobs in self.case.entries for i, blob in enumerate(blobs)}
        modules = self._modules([t.shape for t in tensors])
        wanted = {places[name][0]: modules[places[name][0]] for name in names if places[name][0] in modules}
        made = self._ask(tensors, {f"m{i}": module for i, module in enumerate(wanted.values())})
        keys = {path: f"m{i}" for i, path in enumerate(wanted)}
        found = {name: f"{keys[path]}/{i}" for name in names for path, i in [places[name]] if path in keys}
        return {name: made[key] for name, key in found.items() if key in made}

    def _modules(self, shapes: Sequence[tuple[int, ...]]) -> dict[str, str]:
        """The names of modules by Torch's paths, as a conversion gives them; each once, however often it is used."""
        twin = convert(self.case.net, nest(self.case.nesting, shapes), to="pytorch").twin
        return {} if twin is None else {row.path: row.blobs[0] for row in reversed(twin.layers)}

    def _ask(self, tensors: Sequence[Array], modules: Mapping[str, str]) -> dict[str, Array]:
        with tempfile.TemporaryDirectory() as folder:
            given, made = Path(folder) / "x.npz", Path(folder) / "y.npz"
            np.savez(given, **cast("Any", {f"x{i}": np.ascontiguousarray(t) for i, t in enumerate(tensors)}))
            request = {"source": str(self.source.resolve()), "inputs": str(given), "outputs": str(made)}
            answer = _exchange(self._process, {**request, "nesting": self.case.nesting, "modules": modules})
            if answer.get("error"):
                raise EngineError(f"PyTorch failed: {answer['error']}")
            with np.load(made) as stored:
                return {name: stored[name] for name in stored.files}

    def close(self) -> None:
        _stop(self._process)


def _started(wanted: str) -> tuple[subprocess.Popen[str], str]:
    """A worker of the first interpreter whose torch has that version, and its version."""
    tried: list[str] = []
    for python in interpreters():
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
        try:
            process = subprocess.Popen(
                [str(python), "-u", str(WORKER)], stdin=pipe, stdout=pipe, stderr=nowhere, text=True, env=clean
            )
        except OSError as error:
            raise EngineError(f"{python}: cannot be started: {error.strerror}") from error
        try:
            version = str(_answer(process)["version"]).partition("+")[0]
        except EngineError:
            version = ""
        if version and version.startswith(wanted):
            return process, version
        tried.append(version)
        _stop(process)
    what = f"PyTorch {wanted}" if wanted else "PyTorch"
    others = f"; there are {', '.join(filter(None, tried))}" if any(tried) else ""
    raise UsageError(f"{what} is not installed for the engine{others}", hint=environments.hint("pytorch"))


def _exchange(process: subprocess.Popen[str], request: Mapping[str, object]) -> dict[str, Any]:
    if process.stdin is None:
        raise EngineError("PyTorch has no pipe")
    try:
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        raise EngineError(f"PyTorch died (exit code {process.wait()})") from None
    return _answer(process)


def _answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    if process.stdout is None:
        raise EngineError("PyTorch has no pipe")
    if not select.select([process.stdout], [], [], _SECONDS)[0]:
        process.kill()
        raise EngineError("PyTorch took too long and was stopped")
    line = process.stdout.readline()
    if not line:
        raise EngineError(f"PyTorch died (exit code {process.wait()})")
    return cast("dict[str, Any]", json.loads(line))


def _stop(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
