"""Every operator of both real Caffe2s is read, or refused for a reason that the documentation gives."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest

from caffe2.nets import row
from retorch.caffe2.parse.net import RULES, parse
from retorch.caffe2.parse.refused import GROUPS, Group
from retorch.engines.caffe2_runtime import Runtime
from retorch.errors import ConversionError, UnsupportedError

#: The operators of each version, as that version lists them.
LISTED = Path(__file__).parent / "registered.txt"
PAGE = Path(__file__).parent.parent.parent / "docs" / "caffe2.md"
LISTER = "from caffe2.python import workspace; print(*workspace.RegisteredOperators())"
#: Those of builds with OpenCV.
ELSEWHERE = {"ImageInput", "VideoInput"}


def registered(version: str | None = None) -> set[str]:
    """The names of a version's operators, or of both."""
    lines = [line.split() for line in LISTED.read_text().splitlines()]
    return {name for name, *versions in lines if version is None or version in versions}


def paragraph(group: Group) -> str:
    """What the documentation says of a group."""
    names = ", ".join(f"`{name}`" for name in sorted(group.operators))
    return f"- **{group.reason[0].upper()}{group.reason[1:]}.** {group.why} {names}."


@pytest.mark.caffe2
def test_the_list_is_that_of_the_real_caffe2(caffe2: Runtime) -> None:
    done = subprocess.run([caffe2.python, "-I", "-c", LISTER], capture_output=True, text=True, check=True, timeout=120)
    assert set(done.stdout.split()) == registered(caffe2.version)


def test_every_operator_is_read_or_refused_with_a_reason() -> None:
    # An engine is another way to calculate an operator of the same name.
    names = {name.partition("_ENGINE_")[0] for name in registered()}
    refused = {name for group in GROUPS for name in group.operators}
    assert {name for name in names - set(RULES) - refused if "Gradient" not in name} == set()


def test_nothing_is_read_and_refused_or_refused_twice() -> None:
    refused = [name for group in GROUPS for name in group.operators]
    assert set(refused) & set(RULES) == set()
    assert [name for name, times in Counter(refused).items() if times > 1] == []


def test_nothing_is_refused_that_there_is_not() -> None:
    names = {name.partition("_ENGINE_")[0] for name in registered()}
    assert {name for group in GROUPS for name in group.operators} - names == ELSEWHERE


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.reason)
def test_the_documentation_lists_what_is_refused(group: Group) -> None:
    assert paragraph(group) in PAGE.read_text()


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.reason)
def test_an_operator_is_refused_by_its_reason(group: Group) -> None:
    with pytest.raises(UnsupportedError) as caught:
        parse(row(f"{group.operators[0]} X -> Y", X=(2, 3)).net())
    assert [problem.reason for problem in caught.value.problems] == [group.reason]


def test_a_gradient_is_a_training_operator() -> None:
    with pytest.raises(UnsupportedError) as caught:
        parse(row("ReluGradient Y G -> X", Y=(2, 3), G=(2, 3)).net())
    assert "training" in caught.value.problems[0].reason


@pytest.mark.parametrize("engine", ["DNNLOWP", "DNNLOWP_ACC16", "CUDNN,DNNLOWP", "FAKE_FP16"])
def test_engines_that_calculate_other_numbers_are_refused(engine: str) -> None:
    net = row("FC X w b -> Y", X=(2, 3), w=(4, 3), b=(4,)).net()
    net.predict.op[0].engine = engine
    with pytest.raises(UnsupportedError) as caught:
        parse(net)
    assert "fewer bits" in caught.value.problems[0].reason


def test_a_net_that_leaves_nothing_behind_has_no_outputs() -> None:
    net = row("EnforceFinite X -> Y", X=(2, 3)).net()
    del net.predict.op[0].output[:]
    del net.predict.external_output[:]
    with pytest.raises(ConversionError, match="no outputs"):
        parse(net)
