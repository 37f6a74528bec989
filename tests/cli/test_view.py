"""Netron is given the network, and a notebook a table."""

from __future__ import annotations

import sys
import urllib.request
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import retorch
from retorch.cli import main
from retorch.files.html_table import html_table

DIGITS = Path(__file__).parents[2] / "examples" / "digits" / "digits.t7"


class FakeNetron(ModuleType):
    """Remembers what it was asked to show, and what stood in the file."""

    def __init__(self) -> None:
        super().__init__("netron")
        self.calls: list[tuple[str, Any, bool]] = []
        self.operators: list[str] = []
        self.waited = 0

    def start(self, file: str, address: Any = None, browse: bool = True) -> tuple[str, int]:
        self.calls.append((Path(file).name, address, browse))
        network = retorch.Network.load(file)
        self.operators = [node.op_type for node in network.model.graph]
        return ("localhost", 8080)

    def wait(self) -> None:
        self.waited += 1


@pytest.fixture
def netron(monkeypatch: pytest.MonkeyPatch) -> FakeNetron:
    fake = FakeNetron()
    monkeypatch.setitem(sys.modules, "netron", fake)
    return fake


def test_a_torch7_file_is_shown_as_what_it_becomes(netron: FakeNetron, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", str(DIGITS), "--no-browser", "--port", "9999"]) == 0
    assert netron.calls == [("digits.onnx", ("localhost", 9999), False)]
    assert netron.operators.count("Conv") == 2
    assert netron.waited == 1
    assert "http://localhost:8080" in capsys.readouterr().out


def test_written_files_are_shown_as_they_are(netron: FakeNetron, tmp_path: Path) -> None:
    assert main(["convert", str(DIGITS), "-o", str(tmp_path / "out"), "--no-verify"]) == 0
    assert main(["view", str(tmp_path / "out")]) == 0
    assert main(["view", str(tmp_path / "out" / "predict_net.pb"), "--no-browser"]) == 0
    assert netron.calls == [("predict_net.pb", None, True), ("predict_net.pb", None, False)]


def test_an_empty_folder_and_a_missing_netron_are_told(
    netron: FakeNetron, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["view", str(tmp_path)]) == 2
    assert "no predict_net.pb" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "netron", None)
    assert main(["view", str(tmp_path)]) == 2
    assert "pip install 'retorch[view]'" in capsys.readouterr().err


def test_netron_itself_serves_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    netron = pytest.importorskip("netron")
    pages: list[str] = []

    def look() -> None:
        address = capsys.readouterr().out.partition(" at ")[2].partition(";")[0]
        with urllib.request.urlopen(address, timeout=30) as page:
            pages.append(page.read().decode())
        netron.stop()

    monkeypatch.setattr(netron, "wait", look)
    assert main(["view", str(DIGITS), "--no-browser"]) == 0
    assert "Netron" in pages[0]


def test_a_module_shows_itself_in_a_notebook() -> None:
    html = retorch.load(DIGITS)._repr_html_()
    assert "digits: 15 modules, 65,354 parameters" in html
    assert html.count("<tr>") == 16
    assert "modules[13]" in html
    assert '<td style="text-align:right">650</td>' in html


def test_a_network_shows_itself_in_a_notebook() -> None:
    html = retorch.convert(retorch.load(DIGITS), (1, 1, 32, 32), fold=False)._repr_html_()
    assert '<td style="text-align:left">data</td>' in html
    assert "N×1×32×32" in html
    assert ">Conv</td>" in html
    assert "×2" in html


def test_what_a_file_says_is_text_in_a_notebook_and_long_tables_are_cut() -> None:
    html = html_table("<b>", ("name", ">count"), [("<script>", i) for i in range(200)])
    assert "<script>" not in html
    assert "&lt;b&gt;" in html
    assert "… 140 more" in html
    assert html.count("<tr>") == 62
