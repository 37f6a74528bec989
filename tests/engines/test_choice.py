"""Every engine that has a name is there, or what is said instead tells how to install it."""

from __future__ import annotations

from pathlib import Path

import pytest

import retorch
from golden_cases import GOLDEN, check
from golden_cases import Case as Golden
from retorch.cli.engine_names import NAMES
from retorch.engines.choice import each_engine, engine
from retorch.engines.interface import Case, Engine
from retorch.errors import UsageError

LINEAR = Golden(GOLDEN / "Linear_1.t7")
#: Engines that come with retorch; the others are installed by commands of their own.
ALWAYS = {"embedded", "reference"}


@pytest.fixture
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with no engine but retorch's own."""
    monkeypatch.setenv("RETORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("RETORCH_CAFFE2_PYTHON", raising=False)
    monkeypatch.delenv("RETORCH_PYTORCH_PYTHON", raising=False)
    monkeypatch.chdir(tmp_path)


def chosen(name: str, folder: Path) -> Engine:
    """The engine of that name on a linear layer, written as what that engine runs."""
    net = retorch.load(LINEAR.path)
    made = retorch.convert(net, (3, 6), to="pytorch" if name == "pytorch" else "caffe2")
    made.save(folder / "written")
    case = Case(net, made, made.input_nesting, [])
    (first, *_) = each_engine(name)
    return engine(first, folder / "written", case, LINEAR.path)


def test_a_name_that_is_none_is_told_all_names(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        chosen("abacus", tmp_path)
    assert sorted((caught.value.hint or "").split(", ")) == sorted(NAMES)


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_an_engine_or_says_how_to_install_it(name: str, tmp_path: Path) -> None:
    if name in ALWAYS:
        one = chosen(name, tmp_path)
        check(LINEAR.flat("output"), one.run(LINEAR.flat("input")))
        one.close()
        return
    with pytest.raises(UsageError, match="is not installed") as caught:
        chosen(name, tmp_path)
    command = {"torch7": "on PATH"}.get(name, f"`retorch {name.partition('-')[0]} install`")
    assert command in (caught.value.hint or "")
