"""The way to a process in which one file is done: limited, warm, and free to die."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict
from typing import Any, Final, TypeAlias

from retorch.archive.options import Limits, Options
from retorch.archive.process import means_no_memory
from retorch.archive.row import TargetResult, outcome_of
from retorch.archive.steps import Request
from retorch.errors import EngineError
from retorch.graph.session import THREADS

#: One file keeps to one core: there are as many at a time as there are cores.
_ENVIRONMENT: Final = {THREADS: "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
Columns: TypeAlias = dict[str, Any]


class Sandbox:
    """A warm process and its children."""

    def __init__(self, options: Options) -> None:
        """Start it.

        Raises:
            EngineError: it does not come up, as where a plugin cannot be loaded.
        """
        self._options = options
        self._noise = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the process)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "retorch.archive.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._noise,
            env=os.environ | _ENVIRONMENT,
        )
        self._tell(options.to_json())
        if self._hear() != b"ready\n":
            self.close()
            self._noise.seek(0)
            said = self._noise.read().decode(errors="replace").strip()
            raise EngineError(f"the process that does files does not start: {said.rpartition(chr(10))[2]}")

    def do(self, request: Request, limits: Limits) -> Columns | None:
        """Do one file: the columns of its row that became known. None where the warm process itself has died."""
        self._tell(
            {
                "path": str(request.path),
                "name": request.name,
                "source": request.source,
                "folder": str(request.folder),
                "shape": request.shape,
                "limits": asdict(limits),
            }
        )
        line = self._hear()
        return None if not line else columns(json.loads(line), self._options, limits)

    def close(self) -> None:
        """End it and its children."""
        self._process.communicate()

    def _tell(self, message: Columns) -> None:
        pipe = self._process.stdin
        try:
            if pipe is not None:
                pipe.write(json.dumps(message).encode() + b"\n")
                pipe.flush()
        except BrokenPipeError:  # it has died: that it does not answer says so
            return

    def _hear(self) -> bytes:
        pipe = self._process.stdout
        return b"" if pipe is None else pipe.readline()


def columns(answer: Columns, options: Options, limits: Limits) -> Columns:
    """The columns of a row, from what a process said while it did the file and from how it ended.

    Raises:
        OSError: the disk is full, which says nothing about the file.
    """
    found: Columns = {}
    targets: dict[str, Columns] = {}
    for update in answer["updates"]:
        if "target" in update:
            targets[update["target"]] = update["result"]
        else:
            found |= update
    stage, ended, _ = (found.pop(name, "") for name in ("stage", "ended", "done"))
    if "exit_code" in answer:
        ended, found["error"] = _death(answer, limits)
    if ended == "full":
        raise OSError(errno.ENOSPC, found["error"])
    if ended and stage in options.to:
        targets[stage] = asdict(TargetResult(ended, error=found["error"]))
    if ended or targets:
        found["outcome"] = ended or outcome_of({name: TargetResult(**made) for name, made in targets.items()})
    errors = (f"{name}: {made['error']}" for name, made in targets.items() if made["error"])
    found["error"] = found.get("error") or next(errors, "")
    return found | {"targets": targets}


def _death(answer: Columns, limits: Limits) -> tuple[str, str]:
    """What killed a process: an outcome, and that in words."""
    code = answer["exit_code"]
    if answer["late"] or code == -signal.SIGXCPU:
        return "time", f"takes more than {limits.seconds:g} s"
    said = answer["stderr"].strip()
    if means_no_memory(said):
        return "memory", "needs more memory than it may have"
    if code == -signal.SIGKILL:
        return "memory", "killed by the system, as it does where memory runs out"
    last = said.rpartition("\n")[2][:300]
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return "crash", f"{how}: {last}" if last else how
