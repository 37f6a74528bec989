"""A warm process that is forked for each file: ``python -m retorch.archive.zygote``.

Starting Python and importing onnx and onnxruntime takes a second, forking a process that has done so a few
milliseconds. One line of JSON comes in for each file, one goes out when it is done.

A child that has done a file well does the next ones too, up to ``_MOST_FILES``, as a fork costs most at the first
touch of every page. Whatever goes wrong in a child that has done others before is tried again in a new one, and only
that counts: no file can spoil the result of another.
"""

from __future__ import annotations

import gc
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from retorch.archive.options import Limits, Options, shape_from_json
from retorch.archive.process import die_with_parent, limit
from retorch.archive.steps import Request, Update, run
from retorch.layers.base.layer import import_families
from retorch.layers.plugins import load_plugins
from retorch.torch7 import TorchObject, write

#: Files that one child does before it is replaced.
_MOST_FILES = 64
#: A child that holds this many MB afterwards is replaced.
_MOST_MB = 512
_TAIL = 2000
_BROKEN = 70


@dataclass(slots=True)
class _Child:
    """A process that does files, one at a time."""

    pid: int
    requests: BinaryIO
    answers: int
    noise: int
    served: int = 0
    unread: bytes = field(default=b"")

    def end(self) -> int:
        """Kill it and everything that it started; its wait status."""
        for kill, target in ((os.killpg, self.pid), (os.kill, self.pid)):
            try:
                kill(target, signal.SIGKILL)
            except ProcessLookupError:  # gone by itself
                continue
        status = os.waitpid(self.pid, 0)[1]
        self.requests.close()
        os.close(self.answers)
        return os.waitstatus_to_exitcode(status)

    def said(self) -> str:
        """The end of what it wrote to standard error."""
        size = os.fstat(self.noise).st_size
        text = os.pread(self.noise, _TAIL, max(0, size - _TAIL)).decode(errors="replace")
        os.close(self.noise)
        return text


def _fork(options: Options) -> _Child:
    down_read, down_write = os.pipe()
    up_read, up_write = os.pipe()
    noise = os.memfd_create("stderr")
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        os.dup2(noise, 1)
        os.dup2(noise, 2)
        for descriptor in (down_write, up_read, 0):
            os.close(descriptor)
        die_with_parent()
        _serve_files(os.fdopen(down_read, "rb"), up_write, options)
    os.close(down_read)
    os.close(up_write)
    return _Child(pid, os.fdopen(down_write, "wb"), up_read, noise)


def _serve_files(requests: BinaryIO, answers: int, options: Options) -> None:
    """The life of a child; it never returns into the code of its parent."""

    pipe = os.fdopen(answers, "wb")

    def send(update: Update) -> None:
        pipe.write(json.dumps(update, default=str).encode() + b"\n")
        pipe.flush()

    code = _BROKEN
    try:
        for line in requests:
            asked = json.loads(line)
            limits = Limits(**asked["limits"])
            limit(limits.memory, limits.seconds)
            run(_request(asked, options), send)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _request(asked: dict[str, Any], options: Options) -> Request:
    shape = None if asked["shape"] is None else shape_from_json(asked["shape"])
    return Request(Path(asked["path"]), asked["name"], asked["source"], Path(asked["folder"]), options, shape)


class _Gone(Exception):  # noqa: N818 - whoever asked is gone, which is no error
    pass


class Zygote:
    """Does files in children of its own."""

    def __init__(self, requests: BinaryIO, options: Options) -> None:
        self._requests = requests
        self._options = options
        self._child: _Child | None = None

    def do(self, line: bytes) -> dict[str, Any]:
        """One file: what became known, and how its process ended."""
        asked = json.loads(line)
        used = self._child is not None
        answer = self._try(line, asked["limits"]["seconds"])
        if used and _is_bad(answer):
            self.close()
            _empty(Path(asked["folder"]))
            answer = self._try(line, asked["limits"]["seconds"])
        if _is_bad(answer):
            self.close()
        return answer

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.end()
            os.close(self._child.noise)
            self._child = None

    def _try(self, line: bytes, seconds: float) -> dict[str, Any]:
        child = self._child = self._child or _fork(self._options)
        child.requests.write(line)
        child.requests.flush()
        child.served += 1
        updates: list[Update] = []
        deadline = time.monotonic() + seconds
        for update in self._answers(child, deadline):
            updates.append(update)
            if update.get("done"):
                if child.served >= _MOST_FILES or update["peak_mb"] > _MOST_MB:
                    self.close()
                return {"updates": updates}
        late = time.monotonic() >= deadline
        exit_code = child.end()
        self._child = None
        return {"updates": updates, "late": late, "exit_code": exit_code, "stderr": child.said()}

    def _answers(self, child: _Child, deadline: float) -> Iterator[Update]:
        """What the child says, until it is silent for ever or the time is up."""
        poll = select.poll()
        poll.register(child.answers, select.POLLIN)
        poll.register(self._requests, select.POLLHUP)
        while (left := deadline - time.monotonic()) > 0:
            for descriptor, _ in poll.poll(left * 1000):
                if descriptor != child.answers:
                    raise _Gone
                part = os.read(child.answers, 1 << 16)
                if not part:
                    return
                *lines, child.unread = (child.unread + part).split(b"\n")
                yield from map(json.loads, lines)


def _is_bad(answer: dict[str, Any]) -> bool:
    """Whether something went wrong that an earlier file in the same process might have caused."""
    if "exit_code" in answer:
        return True
    updates: list[Update] = answer["updates"]
    results = [update["result"]["outcome"] for update in updates if "result" in update]
    return "different" in results or any(update.get("ended") in {"memory", "bug"} for update in updates)


def _empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _warm_up(options: Options) -> None:
    """Convert a small network, so that what is made at the first use is there in every child, and all layers."""
    import_families()
    fields = {"weight": np.ones((1, 2)), "bias": np.zeros(1)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.t7"
        write(path, TorchObject("nn.Linear", fields))
        run(Request(path, "net", "net.t7", Path(folder), options), lambda update: None)


def main() -> None:
    """Serve standard input. The first line holds the options, which say what to have ready."""
    requests, answers = sys.stdin.buffer, os.dup(1)
    os.dup2(2, 1)
    options = Options.from_json(json.loads(requests.readline()))
    load_plugins([Path(plugin) for plugin in options.plugins], options.aliases)
    _warm_up(options)
    gc.collect()
    gc.freeze()
    zygote = Zygote(requests, options)
    try:
        os.write(answers, b"ready\n")
        while line := requests.readline():
            os.write(answers, json.dumps(zygote.do(line)).encode() + b"\n")
    except (_Gone, BrokenPipeError):
        return
    finally:
        zygote.close()


if __name__ == "__main__":
    main()
