"""Interpreters of their own for engines that do not live in today's Python: the real Caffe2, and PyTorch.

Each is a virtual environment in ``$RETORCH_HOME`` (by default ``~/.cache/retorch``), named after the engine and its
version: ``caffe2-1.10.2``. ``retorch caffe2 install`` and ``retorch pytorch install`` make them; an interpreter that
``RETORCH_CAFFE2_PYTHON`` or ``RETORCH_PYTORCH_PYTHON`` names comes before them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from retorch.errors import EngineError, UsageError

EngineName: TypeAlias = Literal["caffe2", "pytorch"]
_TAIL = 2000  # characters of what a failed step printed


@dataclass(frozen=True, slots=True)
class Environment:
    """One engine in one version.

    Attributes:
        engine, version: what it is; the version is that of the torch wheel that carries it.
        pythons: the minor versions of Python that the wheel is for, the best first.
        packages: what is installed.
        tools: what pip needs to be before that; empty where the Python's own will do.
        probe: Python that prints torch's version where the engine can be imported.
        pinned: whether the machine's own constraints for pip, which are for today's Pythons, are left out.
    """

    engine: EngineName
    version: str
    pythons: tuple[str, ...]
    packages: tuple[str, ...]
    tools: tuple[str, ...] = ()
    probe: str = "import torch; print(torch.__version__)"
    pinned: bool = False

    @property
    def folder(self) -> Path:
        """Where it is, or will be."""
        return home() / f"{self.engine}-{self.version}"

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    def works(self) -> bool:
        """Whether it is there, of this version (wheels append ``+cpu`` and the like), and can be imported."""
        if not self.python.exists():
            return False
        done = subprocess.run([str(self.python), "-c", self.probe], capture_output=True, text=True, check=False)
        return done.returncode == 0 and done.stdout.strip().split("+")[0] == self.version


def _caffe2(version: str, pythons: tuple[str, ...], *packages: str) -> Environment:
    # newer pips no longer run under these Pythons
    tools = ("pip<22", "wheel<0.38", "setuptools<60")
    probe = "from caffe2.python import core, workspace; import torch; print(torch.__version__)"
    return Environment("caffe2", version, pythons, (f"torch=={version}", *packages), tools, probe, pinned=True)


#: The newest of each engine first.
ENVIRONMENTS = (
    _caffe2("1.10.2", ("3.9",), "numpy<1.24", "protobuf<3.21", "future", "six"),
    _caffe2("1.0.0", ("3.6", "3.7"), "numpy<1.17", "protobuf<3.18", "future", "six"),
    Environment(
        "pytorch",
        "2.13.0",
        ("3.11", "3.12", "3.13"),
        # torch.onnx.export asks for onnx
        ("torch==2.13.0", "numpy>=1.26", "safetensors>=0.4", "onnx>=1.16"),
    ),
)


def home() -> Path:
    """The folder that holds the environments."""
    return Path(os.environ.get("RETORCH_HOME") or Path.home() / ".cache" / "retorch")


def environments(engine: EngineName) -> tuple[Environment, ...]:
    """Those of an engine, the newest first."""
    return tuple(one for one in ENVIRONMENTS if one.engine == engine)


def named_interpreters(engine: EngineName) -> list[Path]:
    """Those that ``RETORCH_CAFFE2_PYTHON`` (or ``…PYTORCH…``) names: one, or several as in PATH."""
    named = os.environ.get(f"RETORCH_{engine.upper()}_PYTHON", "")
    return [Path(part) for part in named.split(os.pathsep) if part]


def installed_interpreters(engine: EngineName) -> list[Path]:
    """Those in ``.caffe2/`` (or ``.pytorch/``) in the working directory, then those installed: the newest first."""
    local = Path(f".{engine}").absolute()
    versions = [one.version for one in environments(engine)]
    folders = [local, *(base / f"{engine}-{version}" for base in (local, home()) for version in versions)]
    return [folder / "bin" / "python" for folder in folders if (folder / "bin" / "python").exists()]


def hint(engine: EngineName) -> str:
    """What to do where an engine is missing."""
    return f"`retorch {engine} install` sets it up; RETORCH_{engine.upper()}_PYTHON names an interpreter that has it"


def install(one: Environment, say: Callable[[str], None], *, index: str = "") -> None:
    """Make sure that an environment is there.

    Args:
        one: of :data:`ENVIRONMENTS`.
        say: told each step, one line.
        index: the package index that pip asks, instead of its own.

    Raises:
        UsageError: no interpreter of a Python that it needs.
        EngineError: a step failed, with the end of what it printed.
    """
    title = f"{one.engine} {one.version}"
    if one.works():
        say(f"{title}: ready in {one.folder}")
        return
    base = interpreter(one.pythons)
    if base is None:
        raise UsageError(
            f"{title}: no Python {' or '.join(one.pythons)} on the PATH or under pyenv",
            hint=f"pyenv install {one.pythons[0]}, or uv python install {one.pythons[0]}",
        )
    say(f"{title}: installing {one.packages[0]} with {base} into {one.folder}")
    _build(one, base, ["--index-url", index] if index else [])
    if not one.works():
        raise EngineError(f"{title}: installed into {one.folder}, but cannot be imported")
    say(f"{title}: ready in {one.folder}")


def interpreter(versions: tuple[str, ...]) -> Path | None:
    """The first interpreter of one of these minor versions: this one, on the PATH, or under pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for version in versions:
        found = shutil.which(f"python{version}")
        candidates = [Path(sys.executable), *([Path(found)] if found else [])]
        candidates += sorted(pyenv.glob(f"{version}.*/bin/python{version}"), reverse=True)
        for candidate in candidates:
            if _is_python(candidate, version):
                return candidate
    return None


def _is_python(candidate: Path, version: str) -> bool:
    """Whether it runs and is that minor version: a pyenv shim exists for versions that are switched off."""
    probe = [str(candidate), "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout.strip() == version


def _build(one: Environment, base: Path, options: list[str]) -> None:
    shutil.rmtree(one.folder, ignore_errors=True)
    one.folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as empty:
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        if one.pinned:
            variables["XDG_CONFIG_DIRS"] = empty
            variables.pop("PIP_CONSTRAINT", None)
        pip = [str(one.python), "-m", "pip", "install", "--no-cache-dir", *options]
        _step(one, [str(base), "-m", "venv", str(one.folder)], variables)
        if one.tools:
            _step(one, [*pip, *one.tools], variables)
        _step(one, [*pip, *one.packages], variables)


def _step(one: Environment, command: list[str], variables: Mapping[str, str]) -> None:
    done = subprocess.run(command, env=dict(variables), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        printed = f"{done.stdout}\n{done.stderr}".strip()[-_TAIL:]
        raise EngineError(f"{one.engine} {one.version}: `{' '.join(command)}` failed\n{printed}")
