"""Nothing is lost: workers, the client and the scheduler of a cluster are killed while a batch runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import retorch

pytest.importorskip("distributed")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

FILES = 120
WORKER = ["dask_worker", "--nthreads", "1", "--nworkers", "1", "--no-nanny", "--memory-limit", "0", "--no-dashboard"]


def start(*arguments: str) -> subprocess.Popen[bytes]:
    """A process of its own group, so that killing it leaves the test alone."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([sys.executable, "-m", *arguments], start_new_session=True, **quiet)


def kill(process: subprocess.Popen[bytes]) -> None:
    """What the system does where memory runs out: only this process, not what it has started."""
    if process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
    process.wait()


def begin_scheduler(file: Path) -> tuple[subprocess.Popen[bytes], str]:
    """A scheduler, which writes ``file``, and its address."""
    process = start("distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
    while not file.exists():
        assert process.poll() is None
        time.sleep(0.1)
    time.sleep(0.5)
    return process, pd.read_json(file, typ="series")["address"]


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """The address of a scheduler."""
    process, address = begin_scheduler(tmp_path / "scheduler.json")
    yield address
    kill(process)


def networks(folder: Path) -> dict[str, float]:
    """Networks of one layer that differ in a weight; which stands in their names."""
    made: dict[str, float] = {}
    folder.mkdir()
    for i in range(FILES):
        weight = np.full((2, 3), float(i))
        path = folder / f"{i}.t7"
        retorch.write(path, retorch.TorchObject("nn.Linear", {"weight": weight, "bias": np.zeros(2)}))
        made[str(path)] = float(i)
    return made


def test_killed_workers_and_clients_lose_nothing(tmp_path: Path, scheduler: str) -> None:
    made = networks(tmp_path / "in")
    out = tmp_path / "out"
    command = ["retorch.cli", "batch", str(tmp_path / "in"), "-o", str(out), "--scheduler", scheduler, "--resume"]
    workers = [start(f"distributed.cli.{WORKER[0]}", scheduler, *WORKER[1:]) for _ in range(2)]
    client = start(*command)
    deadline = time.monotonic() + 300
    clients_killed = workers_killed = 0
    while client.poll() is None or clients_killed < 2:
        assert time.monotonic() < deadline
        done = len(list(out.glob("*/row.json")))
        if done > FILES // 4 * (clients_killed + 1) and clients_killed < 2:
            kill(client)
            clients_killed += 1
            client = start(*command)
        if done > FILES // 6 * (workers_killed + 1) and workers_killed < 4:
            kill(workers[workers_killed % 2])
            workers[workers_killed % 2] = start(f"distributed.cli.{WORKER[0]}", scheduler, *WORKER[1:])
            workers_killed += 1
        time.sleep(0.05)
    for worker in workers:
        kill(worker)
    assert (client.returncode, clients_killed, workers_killed) == (0, 2, 4)
    table = pd.read_parquet(out / "index.parquet")
    assert sorted(table["path"]) == sorted(made)
    assert set(table["outcome"]) == {"converted"}
    x = np.ones((1, 3), np.float32)
    for row in table.itertuples():
        y = retorch.Network.load(out / row.artifacts / "caffe2").run(x)[0]
        np.testing.assert_allclose(y, np.full((1, 2), 3 * made[row.path]))
    assert {p.name for p in out.iterdir() if p.is_dir() and p.suffix == ""} == {".batch", *table["artifacts"]}
    assert [p.name for p in (out / ".batch").iterdir() if p.is_dir()] == []


def test_a_killed_scheduler_ends_the_batch_and_another_goes_on(tmp_path: Path) -> None:
    made = networks(tmp_path / "in")
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "retorch",
        "batch",
        str(tmp_path / "in"),
        "-o",
        str(out),
        "--resume",
        "--scheduler",
    ]
    process, address = begin_scheduler(tmp_path / "first.json")
    worker = start(f"distributed.cli.{WORKER[0]}", address, *WORKER[1:])
    client = subprocess.Popen([*command, address], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while len(list(out.glob("*/row.json"))) < FILES // 4:
        assert time.monotonic() < deadline
        assert client.poll() is None
        time.sleep(0.02)
    kill(process)
    said = client.communicate(timeout=120)[1]
    kill(worker)
    assert client.returncode == 3
    assert "error: the scheduler is gone" in said
    assert "Traceback" not in said
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/row.json")}
    assert len(before) < FILES

    process, address = begin_scheduler(tmp_path / "second.json")
    worker = start(f"distributed.cli.{WORKER[0]}", address, *WORKER[1:])
    subprocess.run([*command, address], stdout=subprocess.DEVNULL, check=True, timeout=120)
    kill(worker)
    kill(process)
    table = pd.read_parquet(out / "index.parquet")
    assert sorted(table["path"]) == sorted(made)
    assert set(table["outcome"]) == {"converted"}
    assert all(path.stat().st_mtime_ns == time_ns for path, time_ns in before.items())
