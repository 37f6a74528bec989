"""``retorch caffe2 install`` and ``retorch pytorch install``: environments made from the installed package."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from retorch.cli import main
from retorch.engines import environments
from retorch.engines.environments import Environment
from retorch.errors import EngineError, UsageError

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RETORCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RETORCH_CAFFE2_PYTHON", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def made_up(**different: object) -> Environment:
    """An environment that needs no network: pip is in every new one."""
    settings: dict[str, object] = {
        "engine": "caffe2",
        "version": "9.9",
        "pythons": (HERE,),
        "packages": ("pip",),
        "probe": "print('9.9+cpu')",
    }
    return Environment(**(settings | different))  # type: ignore[arg-type]


def test_an_environment_is_made_once(home: Path) -> None:
    said: list[str] = []
    environments.install(made_up(), said.append)
    assert [line.split(" with ")[0].split(" in ")[0] for line in said] == [
        "caffe2 9.9: installing pip",
        "caffe2 9.9: ready",
    ]
    assert made_up().python == home / "caffe2-9.9" / "bin" / "python"
    environments.install(made_up(), said.append)
    assert said[2:] == [f"caffe2 9.9: ready in {home / 'caffe2-9.9'}"]


def test_a_step_that_fails_says_what_it_printed(home: Path) -> None:
    with pytest.raises(EngineError, match=r"-m pip install .* failed\n"):
        environments.install(made_up(packages=("--no-such-option",)), lambda line: None)


def test_what_cannot_be_imported_is_not_called_ready(home: Path) -> None:
    with pytest.raises(EngineError, match="cannot be imported"):
        environments.install(made_up(probe="import nothing_of_the_kind"), lambda line: None)


def test_a_python_that_is_not_there_is_named(home: Path) -> None:
    with pytest.raises(UsageError, match=r"no Python 3\.99 on the PATH") as caught:
        environments.install(made_up(pythons=("3.99",)), lambda line: None)
    assert "3.99" in (caught.value.hint or "")


def test_the_command_names_the_versions_there_are(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["caffe2", "install", "2.0"]) == 2
    assert capsys.readouterr().err == "error: 2.0: there are 1.10.2, 1.0.0\n"


def test_where_an_engine_is_missing_the_hint_is_a_command_of_the_package(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digits = str(Path(__file__).parents[1] / "golden" / "digits" / "digits.t7")
    assert main(["convert", digits, "-o", "out", "--no-verify"]) == 0
    assert main(["verify", "out", "--engine", "caffe2"]) == 2
    assert "hint: `retorch caffe2 install` sets it up" in capsys.readouterr().err
