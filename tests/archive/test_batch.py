"""Many files at once: every one has a row, whatever it does to the process that reads it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import retorch
from golden_cases import GOLDEN
from retorch.archive import Row
from retorch.archive.folder import OutputFolder
from retorch.caffe2 import files
from retorch.cli import main
from retorch.cli.batch_progress import View

distributed = pytest.importorskip("distributed")

DIGITS = GOLDEN / "digits" / "digits.t7"
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A small cluster, shared: each batch brings its own processes."""
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, memory_limit=0, dashboard_address=":0", silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as made,
    ):
        yield made


def linear(path: Path, name: str = "nn.Linear", scale: float = 1.0) -> Path:
    """A network of one layer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    retorch.write(path, retorch.TorchObject(name, {"weight": scale * np.ones((2, 3)), "bias": np.zeros(2)}))
    return path


def rows(out: Path) -> dict[str, Any]:
    """The table's rows by the end of their paths."""
    table = pd.read_parquet(out / "index.parquet")
    assert table["path"].is_unique
    return {Path(row.path).name: row for row in table.itertuples()}


def test_every_file_has_a_row_and_its_outcome(tmp_path: Path, client: Any) -> None:
    models = tmp_path / "models"
    linear(models / "good.bin")
    linear(models / "deep" / "strange.t7", "nn.Strange")
    retorch.write(models / "options.t7", {"learningRate": 0.1})
    (models / "cut.t7").write_bytes(DIGITS.read_bytes()[:5000])
    (models / "readme.txt").write_text("not a model")
    (models / "lfs.t7").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    (models / "annex.t7").symlink_to(".git/annex/objects/aa/bb/SHA256E-s1--00.t7")
    (models / "broken.t7").symlink_to("nowhere")
    (models / "empty.t7").touch()
    done = retorch.batch(models, tmp_path / "out", client, to=["caffe2", "onnx"])
    found = {name: row.outcome for name, row in rows(tmp_path / "out").items()}
    assert found == {
        "good.bin": "converted",
        "strange.t7": "refused",
        "options.t7": "no network",
        "cut.t7": "damaged",
        "readme.txt": "foreign",
        "lfs.t7": "pointer",
        "annex.t7": "pointer",
        "broken.t7": "unreadable",
        "empty.t7": "foreign",
    }
    assert done.total == done.done == 9
    assert done.outcomes["pointer"] == 2


def test_weights_in_fewer_bits(tmp_path: Path, client: Any) -> None:
    done = retorch.batch(DIGITS, tmp_path / "out", client, to=["caffe2", "onnx"], weights="half")
    assert done.outcomes == {"converted": 1}
    (record,) = (tmp_path / "out").rglob("retorch.json")
    assert json.loads(record.read_text())["weights"] == "half"
    assert files.read(record.parent).precisions
    with pytest.raises(retorch.errors.UsageError):
        retorch.batch(DIGITS, tmp_path / "other", client, to="pytorch", weights="half")


def test_a_row_says_what_the_file_holds(tmp_path: Path, client: Any) -> None:
    path = linear(tmp_path / "net.t7")
    retorch.batch(path, tmp_path / "out", client, to=["caffe2", "onnx"])
    row = rows(tmp_path / "out")["net.t7"]
    content = path.read_bytes()
    assert (row.bytes, row.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert row.dialect == "binary, little-endian, 8-byte long"
    assert [dict(item) for item in row.classes] == [{"class": "nn.Linear", "count": 1}]
    assert (row.parameters, row.multiply_adds, row.input) == (8, 6, "1x3")
    assert row.caffe2_outcome == row.onnx_outcome == "converted"
    assert max(row.caffe2_max_error, row.onnx_max_error) < 1e-6
    folder = tmp_path / "out" / row.sha256[:16]
    assert folder == tmp_path / "out" / row.artifacts
    x = np.array([[1.0, 2.0, 3.0]], np.float32)
    for written in (folder / "caffe2", folder / "onnx" / "model.onnx"):
        np.testing.assert_allclose(retorch.Network.load(written).run(x)[0], [[6.0, 6.0]])
    assert json.loads((folder / "row.json").read_text())["path"] == str(path)


def test_refusals_name_class_and_reason(tmp_path: Path, client: Any) -> None:
    linear(tmp_path / "in" / "a.t7", "nn.Strange")
    linear(tmp_path / "in" / "b.t7", "nn.Strange", 2.0)
    retorch.batch(tmp_path / "in", tmp_path / "out", client)
    refused = rows(tmp_path / "out")["a.t7"].refusals
    assert [(r["path"], r["class"]) for r in refused] == [("", "nn.Strange")]
    text = (tmp_path / "out" / "refused.md").read_text()
    assert "`nn.Strange`" in text
    assert "In 2 files; alone in the way in 2." in text


def test_equal_content_is_done_once(tmp_path: Path, client: Any) -> None:
    first = linear(tmp_path / "in" / "first.t7")
    for i in range(12):
        shutil.copy(first, tmp_path / "in" / f"copy{i}.t7")
    retorch.batch(tmp_path / "in", tmp_path / "out", client)
    found = rows(tmp_path / "out")
    assert {row.outcome for row in found.values()} == {"converted"}
    assert len(found) == 13
    assert sum(pd.isna(row.same_as) for row in found.values()) == 1
    assert len({row.artifacts for row in found.values()}) == 1


def test_a_content_that_another_task_finished_meanwhile_keeps_the_name_of_this_file(tmp_path: Path) -> None:
    """Two tasks do one content where the second sees the claim of the first before anything is written in it."""
    out = OutputFolder(tmp_path)
    rows = [Row(path=f"{name}.t7", outcome="converted", sha256="ab" * 32) for name in ("first", "second")]
    first, second = (out.commit(out.staging(row.sha256, row.path), row) for row in rows)
    assert (first.path, first.same_as) == ("first.t7", "")
    assert (second.path, second.same_as) == ("second.t7", "first.t7")


def test_classes_are_read_as_others(tmp_path: Path, client: Any) -> None:
    odd = retorch.read(linear(tmp_path / "other" / "odd.t7", "my.Linear"))
    (tmp_path / "in").mkdir()
    retorch.write(tmp_path / "in" / "odd.t7", retorch.TorchObject("nn.Sequential", {"modules": [odd]}))
    retorch.batch(tmp_path / "in", tmp_path / "refused", client)
    row = rows(tmp_path / "refused")["odd.t7"]
    assert row.outcome == "refused"
    assert "`--alias my.Linear=nn.Linear`" in row.hint
    retorch.batch(tmp_path / "in", tmp_path / "out", client, aliases={"my.Linear": "nn.Linear"})
    assert rows(tmp_path / "out")["odd.t7"].outcome == "converted"


def test_members_of_archives_are_files(tmp_path: Path, client: Any) -> None:
    good = linear(tmp_path / "good.t7")
    readme = tmp_path / "readme.txt"
    readme.write_text("hello")
    with tarfile.open(tmp_path / "in.tar.gz", "w:gz") as tar:
        tar.add(good, "inside/one.t7")
        tar.add(readme, "readme.txt")
    with zipfile.ZipFile(tmp_path / "models", "w") as archive:
        archive.write(linear(tmp_path / "other.t7", scale=3.0), "two.t7")
        archive.write(tmp_path / "in.tar.gz", "nested.tar.gz")
    retorch.batch([tmp_path / "in.tar.gz", tmp_path / "models"], tmp_path / "out", client)
    table = pd.read_parquet(tmp_path / "out" / "index.parquet")
    assert dict(zip(table["path"], table["outcome"], strict=True)) == {
        f"{tmp_path}/in.tar.gz!inside/one.t7": "converted",
        f"{tmp_path}/in.tar.gz!readme.txt": "foreign",
        f"{tmp_path}/models!two.t7": "converted",
        f"{tmp_path}/models!nested.tar.gz!inside/one.t7": "converted",
        f"{tmp_path}/models!nested.tar.gz!readme.txt": "foreign",
    }
    assert not list((tmp_path / "out").glob(".batch/incoming/*"))


def test_lists_globs_and_urls_name_files(tmp_path: Path, client: Any) -> None:
    linear(tmp_path / "a" / "one.t7")
    linear(tmp_path / "b" / "two.t7", scale=2.0)
    linear(tmp_path / "c" / "three.t7", scale=3.0)
    (tmp_path / "list.txt").write_text("# a list\na/one.t7\n\nb\n")
    sources = [tmp_path / "list.txt", tmp_path / "c" / "*.t7", (tmp_path / "a").as_uri()]
    retorch.batch(sources, tmp_path / "out", client)
    table = pd.read_parquet(tmp_path / "out" / "index.parquet")
    assert sorted(Path(path).name for path in table["path"]) == ["one.t7", "one.t7", "three.t7", "two.t7"]
    assert set(table["outcome"]) == {"converted"}


def test_a_fetched_archive_is_unpacked(tmp_path: Path, client: Any) -> None:
    with tarfile.open(tmp_path / "models.tar", "w") as tar:
        tar.add(linear(tmp_path / "net.t7"), "net.t7")
    url = (tmp_path / "models.tar").as_uri()
    retorch.batch(url, tmp_path / "out", client)
    assert rows(tmp_path / "out")["models.tar!net.t7"].outcome == "converted"


def test_shapes_are_given_by_name(tmp_path: Path, client: Any) -> None:
    retorch.write(tmp_path / "tanh.t7", retorch.TorchObject("nn.Tanh", {}))
    linear(tmp_path / "strange" / "tanh.t7")
    retorch.batch(tmp_path / "tanh.t7", tmp_path / "out", client, inputs={"tanh": (2, 5)})
    row = rows(tmp_path / "out")["tanh.t7"]
    assert (row.outcome, row.input, row.input_why) == ("converted", "2x5", "given")


PLUGIN = """
import os, signal, time
import numpy as np
from retorch import Layer, layer

class Deed(Layer):
    def lower(self, op, x):
        return op.Neg(x)

@layer("my.Crash", kind="crash")
class Crash(Deed):
    def forward(self, x):
        os.kill(os.getpid(), signal.SIGSEGV)

@layer("my.Killed", kind="killed")
class Killed(Deed):
    def forward(self, x):
        os.kill(os.getpid(), signal.SIGKILL)

@layer("my.Hang", kind="hang")
class Hang(Deed):
    def forward(self, x):
        time.sleep(1000)

@layer("my.Glutton", kind="glutton")
class Glutton(Deed):
    def forward(self, x):
        return np.ones(1 << 30)

@layer("my.Bug", kind="bug")
class Bug(Deed):
    def forward(self, x):
        raise AssertionError("a bug")

@layer("my.Wrong", kind="wrong")
class Wrong(Deed):
    def forward(self, x):
        return x + 1
"""


def test_one_file_cannot_hurt_another(tmp_path: Path, client: Any) -> None:
    plugin = tmp_path / "plugin.py"
    plugin.write_text(PLUGIN)
    deeds = {
        "Crash": "crash",
        "Killed": "memory",
        "Hang": "time",
        "Glutton": "memory",
        "Bug": "bug",
        "Wrong": "different",
    }
    for i in range(20):
        linear(tmp_path / "in" / f"good{i}.t7", scale=i + 1.0)
    for name in deeds:
        layers = [retorch.read(tmp_path / "in" / "good0.t7"), retorch.TorchObject(f"my.{name}", {})]
        retorch.write(tmp_path / "in" / f"{name}.t7", retorch.TorchObject("nn.Sequential", {"modules": layers}))
    retorch.batch(tmp_path / "in", tmp_path / "out", client, plugins=[plugin], max_memory="512M", time_limit=5)
    found = {name.removesuffix(".t7"): row for name, row in rows(tmp_path / "out").items()}
    assert {name: found[name].outcome for name in deeds} == deeds
    assert {found[f"good{i}"].outcome for i in range(20)} == {"converted"}
    assert "SIGSEGV" in found["Crash"].error
    assert "more than 5 s" in found["Hang"].error
    assert found["Bug"].error == "AssertionError: a bug"
    assert found["Crash"].parameters == 8, "what was known before the crash stays known"


def test_a_batch_that_holds_rows_is_resumed_or_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], client: Any
) -> None:
    linear(tmp_path / "in" / "a.t7")
    address = ["--scheduler", client.scheduler.address]
    command = ["batch", str(tmp_path / "in"), "-o", str(tmp_path / "out"), *address]
    assert main(command) == 0
    assert main(command) == 2
    assert "--resume goes on with it" in capsys.readouterr().err
    written = (tmp_path / "out" / rows(tmp_path / "out")["a.t7"].artifacts / "row.json").stat().st_mtime_ns
    linear(tmp_path / "in" / "b.t7", scale=2.0)
    assert main([*command, "--resume"]) == 0
    found = rows(tmp_path / "out")
    assert set(found) == {"a.t7", "b.t7"}
    assert (tmp_path / "out" / found["a.t7"].artifacts / "row.json").stat().st_mtime_ns == written
    assert main([*command, "--resume", "--to", "onnx"]) == 2
    assert "other options" in capsys.readouterr().err


def test_two_batches_do_not_write_into_one_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from retorch.archive.folder import OutputFolder

    linear(tmp_path / "a.t7")
    with OutputFolder(tmp_path / "out").locked():
        assert main(["batch", str(tmp_path / "a.t7"), "-o", str(tmp_path / "out")]) == 2
    assert "another batch writes here" in capsys.readouterr().err


def test_lines_of_json(tmp_path: Path, capsys: pytest.CaptureFixture[str], client: Any) -> None:
    linear(tmp_path / "in" / "a.t7")
    linear(tmp_path / "in" / "b.t7", "nn.Strange")
    command = ["batch", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--json", "--scheduler"]
    assert main([*command, client.scheduler.address]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {Path(line["path"]).name: line["outcome"] for line in lines} == {"a.t7": "converted", "b.t7": "refused"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([".", "-o", "out", "--to", "tensorflow"], "--to tensorflow"),
        ([".", "-o", "out", "--max-memory", "lots"], "--max-memory lots"),
        ([".", "-o", "out", "--max-memory", "1M"], "at least 256M"),
        ([".", "-o", "out", "--time-limit", "0"], "more than 0"),
        ([".", "-o", "out", "--reports", "--no-verify"], "verification"),
        ([".", "-o", "out", "--scheduler", "tcp://127.0.0.1:1"], "cannot be reached"),
        ([".", "-o", "out", "--scheduler", "tcp://127.0.0.1:1", "--workers", "2"], "--workers"),
    ],
)
def test_arguments_that_cannot_be_used(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["batch", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_batch_on_this_machine_alone(tmp_path: Path) -> None:
    for i in range(3):
        linear(tmp_path / "in" / f"{i}.t7", scale=i + 1.0)
    command = [sys.executable, "-m", "retorch.cli", "batch", str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    done = subprocess.run([*command, "--workers", "2"], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "converted" in done.stdout
    assert "3 files, 3 of them now" in done.stdout
    assert set(rows(tmp_path / "out")) == {"0.t7", "1.t7", "2.t7"}


def test_a_batch_that_is_over_has_nothing_under_way(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path)
    folder.begin("{}", resume=False)
    folder.staging("ab" * 32, "task")
    folder.end()
    assert folder.under_way() == []


def test_the_live_view_fits_a_terminal(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path)
    folder.begin("{}", resume=False)
    screen = Console(width=80, height=24, force_terminal=True, color_system=None)
    view = View()
    view.begun(folder, 9, 2)
    for outcome in ("converted", "converted", "needs input"):
        view.recorded(Row(path="net.t7", outcome=outcome))
    with screen.capture() as shown:
        screen.print(view.draw())
    head, bar, outcomes = shown.get().splitlines()
    assert head.startswith("5 of 9 files, ")
    assert head.endswith(" left")
    assert set(bar.strip()) <= set("━╺╸")
    assert outcomes.split("  ") == ["converted 2", "needs input 1"]
