"""Sets up the real Caffe2: one old Python environment per age, each with the torch wheel that still carries Caffe2.

    python tools/caffe2_env.py            both ages
    python tools/caffe2_env.py 1.10.2     one of them

The environments live in ``$RETORCH_CAFFE2_HOME`` (default ``~/.cache/retorch``) as ``caffe2-1.10.2`` and
``caffe2-1.0.0``, where ``retorch.engines.caffe2_runtime`` looks for them. Running it again does nothing. It prints one
line per step and exits with 1 when an age could not be set up. Interpreters are looked for on the PATH and under pyenv.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Age:
    """One Caffe2: the torch version that carries it, the Pythons its wheels are for, and what it needs beside it."""

    version: str
    pythons: tuple[str, ...]
    requirements: tuple[str, ...]


AGES = (
    Age("1.10.2", ("3.9",), ("torch==1.10.2", "numpy<1.24", "protobuf<3.21", "future", "six")),
    # pip has to stay below 22 there: newer ones no longer run under these Pythons.
    Age("1.0.0", ("3.6", "3.7"), ("torch==1.0.0", "numpy<1.17", "protobuf<3.18", "future", "six")),
)

PROBE = "from caffe2.python import core, workspace; import torch; print(torch.__version__)"


def home() -> Path:
    """The folder that holds the environments."""
    return Path(os.environ.get("RETORCH_CAFFE2_HOME") or Path.home() / ".cache" / "retorch")


def works(python: Path, version: str) -> bool:
    """Whether ``python`` exists, imports Caffe2 and is of that version (wheels append ``+cpu`` and the like)."""
    if not python.exists():
        return False
    done = subprocess.run([str(python), "-c", PROBE], capture_output=True, text=True)
    return done.returncode == 0 and done.stdout.strip().split("+")[0] == version


def is_python(candidate: Path, version: str) -> bool:
    """Whether ``candidate`` runs and is that minor version: a pyenv shim exists for versions that are switched off."""
    probe = [str(candidate), "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"]
    done = subprocess.run(probe, capture_output=True, text=True)
    return done.returncode == 0 and done.stdout.strip() == version


def interpreter(versions: tuple[str, ...]) -> Path | None:
    """The first interpreter of one of these minor versions, on the PATH or under pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for version in versions:
        found = shutil.which(f"python{version}")
        candidates = [Path(found)] if found else []
        candidates += sorted(pyenv.glob(f"{version}.*/bin/python{version}"), reverse=True)
        for candidate in candidates:
            if is_python(candidate, version):
                return candidate
    return None


def run(command: list[str], environment: dict[str, str]) -> None:
    """Runs one step silently; raises ``CalledProcessError`` with what it printed where it fails."""
    subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def install(age: Age, base: Path, folder: Path) -> None:
    """Builds the environment in ``folder``; raises ``CalledProcessError`` where a step fails."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as empty:
        # Machine-wide pip constraints are for today's Pythons and would override these pins.
        environment = {**os.environ, "XDG_CONFIG_DIRS": empty}
        environment.pop("PIP_CONSTRAINT", None)
        run([str(base), "-m", "venv", str(folder)], environment)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--no-cache-dir"]
        run([*pip, "pip<22", "wheel<0.38", "setuptools<60"], environment)
        run([*pip, *age.requirements], environment)


def set_up(age: Age) -> bool:
    """Makes sure that one age is there; says on standard output what it did."""
    folder = home() / f"caffe2-{age.version}"
    python = folder / "bin" / "python"
    if works(python, age.version):
        print(f"caffe2 {age.version}: ready in {folder}", flush=True)
        return True
    base = interpreter(age.pythons)
    if base is None:
        needed = " or ".join(age.pythons)
        print(f"caffe2 {age.version}: no Python {needed} on the PATH or under pyenv (pyenv install {age.pythons[0]})")
        return False
    print(f"caffe2 {age.version}: installing {age.requirements[0]} with {base} into {folder}", flush=True)
    try:
        install(age, base, folder)
    except subprocess.CalledProcessError as error:
        print(f"caffe2 {age.version}: failed: {' '.join(error.cmd)}\n{str(error.output).strip()[-2000:]}", flush=True)
        return False
    ready = works(python, age.version)
    print(f"caffe2 {age.version}: {'ready' if ready else 'installed, but does not import'} in {folder}", flush=True)
    return ready


def main(arguments: list[str]) -> int:
    """Sets up the named ages, or all; returns the exit code."""
    names = arguments or [age.version for age in AGES]
    unknown = set(names) - {age.version for age in AGES}
    if unknown:
        print(f"unknown age {', '.join(sorted(unknown))}: there are {', '.join(age.version for age in AGES)}")
        return 2
    results = [set_up(age) for age in AGES if age.version in names]
    return 0 if all(results) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
