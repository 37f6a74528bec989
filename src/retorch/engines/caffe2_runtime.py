"""The real Caffe2, in a process of its own: the witness that needs an interpreter of its time.

A ``Runtime`` keeps one worker (``caffe2_worker.py``) running in the old interpreter and hands it one net after the
other; a net costs milliseconds. When Caffe2 takes its process down, as it does on some nets, the call raises
EngineError with
what it last printed, and the next call starts a new worker.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import struct
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from retorch.caffe2 import files, pairs
from retorch.engines import environments
from retorch.errors import EngineError, UsageError

WORKER = Path(__file__).with_name("caffe2_worker.py")
VERSIONS = tuple(one.version for one in environments.environments("caffe2"))
_TAIL = 2000  # bytes of standard error that an EngineError carries


class _Worker:
    """One running process and its pipes."""

    def __init__(self, python: Path, start_timeout: float) -> None:
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the process)
        try:
            self.process: subprocess.Popen[bytes] = subprocess.Popen(
                [str(python), "-u", str(WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
            )
        except OSError as error:
            self.errors.close()
            raise EngineError(
                f"{python}: cannot be started: {error.strerror}", hint=environments.hint("caffe2")
            ) from error
        os.set_blocking(self.pipe(self.process.stdin), False)  # so that a worker that hangs is seen by its deadline
        self.seen = 0  # where the standard error of earlier runs ends
        try:
            self.version = str(self.receive(time.monotonic() + start_timeout)[0]["version"])
        except EngineError:
            self.stop()
            raise

    def pipe(self, stream: IO[bytes] | None) -> int:
        if stream is None:
            raise EngineError("the real Caffe2 has no pipe")
        return stream.fileno()

    def send(self, request: dict[str, Any], arrays: Mapping[str, NDArray[Any]], deadline: float) -> None:
        """Writes one request; EngineError where the worker is gone or takes it too slowly."""
        self.seen = self.errors.seek(0, os.SEEK_END)
        contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
        request["arrays"] = [
            {"name": name, "dtype": array.dtype.str, "shape": array.shape} for name, array in contiguous.items()
        ]
        header = json.dumps(request).encode()
        chunks = [struct.pack("<q", len(header)) + header, *(array.tobytes() for array in contiguous.values())]
        fileno = self.pipe(self.process.stdin)
        for chunk in chunks:
            left = memoryview(chunk)
            while left:
                self.wait(fileno, deadline, writing=True)
                try:
                    left = left[os.write(fileno, left) :]
                except BrokenPipeError as error:
                    raise self.died() from error

    def receive(self, deadline: float) -> tuple[dict[str, Any], list[NDArray[Any]]]:
        """Reads one answer and its arrays; EngineError where the worker dies or the time is up."""
        answer: dict[str, Any] = json.loads(self.read(struct.unpack("<q", self.read(8, deadline))[0], deadline))
        arrays: list[NDArray[Any]] = []
        for entry in answer["arrays"]:
            dtype, shape = np.dtype(entry["dtype"]), tuple(entry["shape"])
            data = self.read(math.prod(shape) * dtype.itemsize, deadline)
            arrays.append(np.frombuffer(data, dtype).reshape(shape))
        return answer, arrays

    def read(self, size: int, deadline: float) -> bytearray:
        data = bytearray()
        fileno = self.pipe(self.process.stdout)
        while len(data) < size:
            self.wait(fileno, deadline, writing=False)
            part = os.read(fileno, min(size - len(data), 1 << 20))
            if not part:
                raise self.died()
            data += part
        return data

    def wait(self, fileno: int, deadline: float, *, writing: bool) -> None:
        left = max(0.0, deadline - time.monotonic())
        ready = select.select([] if writing else [fileno], [fileno] if writing else [], [], left)
        if not any(ready):
            raise EngineError(f"the real Caffe2 took too long and was stopped{self.tail()}")

    def died(self) -> EngineError:
        """The error for a process that has gone, with its exit code and its last words."""
        code = self.process.wait()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return EngineError(f"the real Caffe2 died ({how}){self.tail()}")

    def tail(self) -> str:
        size = self.errors.seek(0, os.SEEK_END)
        self.errors.seek(max(self.seen, size - _TAIL))
        text = self.errors.read().decode(errors="replace").strip()
        return f": {text}" if text else ""

    def stop(self) -> None:
        """Ends the process and closes the pipes."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        self.errors.close()


class Runtime:
    """One interpreter that has Caffe2; a context manager, which stops the worker at its end."""

    def __init__(self, python: str | Path, *, timeout: float = 600.0) -> None:
        """``timeout`` is in seconds, for one run or for the start of the worker."""
        self.python = Path(python)
        self.timeout = timeout
        self._worker: _Worker | None = None

    @classmethod
    def find(cls, version: str | None = None) -> Runtime | None:
        """The first runtime there is, or the first whose version begins with ``version`` ("1.10", "1.0.0"); else None.

        Those that ``RETORCH_CAFFE2_PYTHON`` names are tried first, and raise EngineError where they cannot be used.
        An installed one that cannot be used is one that is not there: its installation was cut off.
        """
        for python in environments.named_interpreters("caffe2"):
            runtime = cls(python)
            if runtime._is(version):
                return runtime
        for python in environments.installed_interpreters("caffe2"):
            with contextlib.suppress(EngineError):
                runtime = cls(python)
                if runtime._is(version):
                    return runtime
        return None

    def _is(self, version: str | None) -> bool:
        """Whether this one works and is of that version; a worker of another one is stopped."""
        fits = f"{self.version}.".startswith("" if version is None else f"{version}.")
        if not fits:
            self.close()
        return fits

    @classmethod
    def require(cls, version: str | None = None) -> Runtime:
        """Like ``find``; UsageError with a hint where there is none."""
        runtime = cls.find(version)
        if runtime is None:
            raise UsageError(
                f"the real Caffe2{f' {version}' if version else ''} is not installed", hint=environments.hint("caffe2")
            )
        return runtime

    @property
    def version(self) -> str:
        """The version of the torch wheel that carries this Caffe2: 1.10.2."""
        return self._running().version

    def process_id(self) -> int:
        """The worker's process, which is started where none runs."""
        return self._running().process.pid

    def _running(self) -> _Worker:
        if self._worker is None or self._worker.process.poll() is not None:
            self.close()
            self._worker = _Worker(self.python, self.timeout)
        return self._worker

    def run(
        self,
        paths: str | Path | tuple[Path, Path],
        inputs: Mapping[str, NDArray[Any]] | Sequence[NDArray[Any]],
        outputs: Sequence[str] | None = None,
        *,
        predictor: bool = False,
    ) -> list[NDArray[Any]]:
        """Runs the net at ``paths`` (as ``files.read`` takes it, or the predict and the init net) in a fresh workspace.

        ``inputs`` are by blob, or in the order of the net's data blobs. Returns the arrays of the blobs ``outputs``,
        which may be any that the net makes; None means the declared ones. ``predictor`` goes through
        ``workspace.Predictor``, which knows the declared ones only. EngineError for whatever Caffe2 does not like.
        """
        predict, init = paths if isinstance(paths, tuple) else pairs.locate(Path(paths))
        if not isinstance(inputs, Mapping):
            names = files.read(predict).fed(len(inputs))
            if len(names) != len(inputs):
                raise UsageError(f"{predict}: takes {len(names)} inputs ({', '.join(names)}), not {len(inputs)}")
            inputs = dict(zip(names, inputs, strict=True))
        request = {
            "predict": str(predict),
            "init": str(init),
            "outputs": outputs and list(outputs),
            "predictor": predictor,
        }
        worker = self._running()
        deadline = time.monotonic() + self.timeout
        try:
            worker.send(request, inputs, deadline)
            answer, arrays = worker.receive(deadline)
        except (EngineError, KeyboardInterrupt):  # what is left in the pipes would answer the next call
            self.close()
            raise
        if "error" in answer:
            raise EngineError(f"Caffe2 {worker.version}: {answer['error']}")
        return arrays

    def close(self) -> None:
        """Stops the worker; the next call starts another."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
