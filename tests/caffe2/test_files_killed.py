"""SIGKILL while a network is written: the folder holds the old files or the new ones, never a mix or half a file."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from google.protobuf import text_format

from retorch.caffe2 import files
from retorch.caffe2.proto.caffe2_pb2 import NetDef
from retorch.errors import UsageError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the exchange of two folders is Linux's")

WRITE = """
import os, signal, sys
from pathlib import Path
import numpy as np
from retorch.caffe2.files import Caffe2Net, write
from retorch.caffe2.proto.caffe2_pb2 import NetDef

def generation(folder, number):
    net = NetDef(name=f"g{number}", external_input=["data", "w"], external_output=["y"])
    net.op.add(type="Sum", input=["data", "w"], output=["y"])
    write(folder, Caffe2Net(net, {"w": np.full(20_000, number, np.float32)}, ("data",)))
"""

# Kills itself before its n-th line of the writing code, for every n until the write gets through.
LINE_BY_LINE = (
    WRITE
    + """
def die_at(line):
    left = line
    def trace(frame, event, argument):
        nonlocal left
        if not frame.f_code.co_filename.endswith(("file_set.py", "atomic.py", "files.py", "shutil.py")):
            return None
        left -= event == "line"
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace
    sys.settrace(trace)

folder, line = Path(sys.argv[1]), 0
status = 1
while status != 0:
    line += 1
    child = os.fork()
    if child == 0:
        die_at(line)
        generation(folder, line + 1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    print(line, status, flush=True)
    sys.stdin.readline()
"""
)

ENDLESS = (
    WRITE
    + """
print("ready", flush=True)
number = 0
while True:
    number += 1
    generation(sys.argv[1], number)
"""
)


def start(script: str, folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", script, folder], stdin=pipe, stdout=pipe, env=environment, text=True)


def generation(folder: Path) -> int:
    """The one generation that all three files and all weights are of."""
    assert (folder / "labels.txt").read_text() == "cat"
    net = files.read(folder)
    text = text_format.Parse((folder / "predict_net.pbtxt").read_text(), NetDef())
    weights = net.params["w"]
    found = {int(weights.min()), int(weights.max()), int(net.predict.name[1:]), int(text.name[1:])}
    assert len(found) == 1
    assert weights.size == 20_000
    return found.pop()


# Where two folders cannot change places.
ONE_BY_ONE = """
from retorch.files import file_set
file_set._exchange = lambda one, other: False
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file of the user's and generation 1 of the network."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "labels.txt").write_text("cat")
    script = WRITE + "generation(sys.argv[1], 1)"
    with start(script, out) as writer:
        assert writer.wait() == 0
    assert generation(out) == 1
    return out


def test_killed_before_any_line(folder: Path) -> None:
    survived = {1}
    with start(LINE_BY_LINE, folder) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        for answer in writer.stdout:
            line, status = map(int, answer.split())
            found = generation(folder)
            assert found in {max(survived), line + 1}  # what was there, or what this one wrote
            survived.add(found)
            if status == 0:
                assert found == line + 1
            writer.stdin.write("\n")
            writer.stdin.flush()
    assert line > 100  # the moments that were tried
    assert len(survived) > 3  # some died after the exchange
    assert [entry.name for entry in folder.parent.iterdir()] == ["out"]  # what the killed ones left is gone


def test_without_the_exchange_a_killed_set_is_incomplete_and_never_a_mix(folder: Path, tmp_path: Path) -> None:
    complete = shutil.copytree(folder, tmp_path / "complete")
    whole = incomplete = 0
    with start(ONE_BY_ONE + LINE_BY_LINE, folder) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        for _ in writer.stdout:
            if all((folder / name).exists() for name in ("init_net.pb", "predict_net.pb", "predict_net.pbtxt")):
                assert generation(folder) > 0
                whole += 1
            else:
                incomplete += 1
                with contextlib.suppress(UsageError):  # "the other half is missing"
                    net = files.read(folder)
                    assert {net.params["w"].min(), net.params["w"].max()} == {int(net.predict.name[1:])}
                shutil.copytree(complete, folder, dirs_exist_ok=True)  # or every later kill would be counted as well
            writer.stdin.write("\n")
            writer.stdin.flush()
    assert generation(folder) > 1
    assert whole > 50
    assert 0 < incomplete < 20  # source lines during which a file is missing


def test_killed_at_any_moment(folder: Path) -> None:
    for attempt in range(5):
        with start(ENDLESS, folder) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            time.sleep(0.02 + 0.0037 * attempt)
            writer.send_signal(signal.SIGKILL)
        assert generation(folder) > 0
