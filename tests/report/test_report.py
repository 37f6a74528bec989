"""The page says what was found, complete in one file, and works in a browser."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from browser import picture, use

import retorch
from building import sequential, torch_object
from golden_cases import GOLDEN, Case
from retorch.caffe2 import files
from retorch.cli import main
from retorch.report import Subject, gather, write_report
from retorch.report.drawing import draw
from retorch.report.render import render
from retorch.verification import verify

DIGITS = Path(__file__).parents[2] / "examples" / "digits" / "digits.t7"


def converted(file: Path, folder: Path, *, fold: bool = False) -> retorch.Module:
    net = retorch.load(file)
    case = Case(file)
    example = case.nested("input") if file.with_suffix(".npz").exists() else (1, 1, 32, 32)
    retorch.convert(net, example, fold=fold).save(folder, format="caffe2")
    return net


def written_page(file: Path, folder: Path, *, sabotage: str = "") -> Path:
    net = converted(file, folder / "out")
    if sabotage:
        stored = files.read(folder / "out")
        params = dict(stored.params)
        params[sabotage] = params[sabotage] + np.float32(9)
        files.write(folder / "out", files.Caffe2Net(stored.predict, params, stored.inputs))
    report = verify(net, folder / "out", layers=True)
    assert report.ok is not bool(sabotage)
    page = folder / "page.html"
    write_report(page, Subject(net, folder / "out", file), report)
    return page


class Links(HTMLParser):
    """What a page would load, and the identities in it."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "data", "action") and not str(value).startswith("data:"):
                self.loads.append(f"{tag} {name}={value}")
            if name == "id":
                self.ids.append(str(value))


def test_the_page_is_complete_in_itself(tmp_path: Path) -> None:
    text = written_page(DIGITS, tmp_path).read_text(encoding="utf-8")
    links = Links()
    links.feed(text)
    assert links.loads == []
    assert len(links.ids) == len(set(links.ids))
    assert "url(http" not in text
    assert "@import" not in text


def test_the_verdict_comes_first_and_the_source_is_named(tmp_path: Path) -> None:
    text = written_page(DIGITS, tmp_path).read_text(encoding="utf-8")
    assert text.index("✔ Same") < text.index("Witnesses") < text.index("Architecture")
    assert "e7b57da4f667d0411f2120fe93188f2333a4600bad0c464848c6fda5ac107590" in text
    assert "binary, little-endian, 8-byte long" in text


def test_names_from_a_file_are_text_and_not_markup(tmp_path: Path) -> None:
    net = sequential(torch_object("nn.ReLU"))
    retorch.convert(net, (1, 2), fold=False).save(tmp_path / "out", format="caffe2")
    report = verify(net, tmp_path / "out")
    page = tmp_path / "page.html"
    write_report(page, Subject(net, tmp_path / "out", None, {"<b>option</b>": "<script>alert(1)</script>"}), report)
    text = page.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_costs_and_parameters_are_those_of_the_layers(tmp_path: Path) -> None:
    net = converted(DIGITS, tmp_path)
    facts = gather(Subject(net, tmp_path, DIGITS), verify(net, tmp_path, layers=True))
    by_path = {layer.path: layer for layer in facts.layers}
    first, last = by_path["modules[1]"], by_path["modules[13]"]
    # 16 channels of 28x28 by 5x5 kernels over one channel; 64 inputs to 10 outputs
    assert (first.cost, first.parameters, first.shape) == (16 * 28 * 28 * 25, 16 * 25 + 16, "1×16×28×28")
    assert (last.cost, last.parameters, last.shape) == (640, 650, "1×10")
    assert (first.operators, first.blobs) == (("Conv",), ("conv1",))
    counts = first.histograms[0].counts
    assert sum(counts) == 16 * 25


def test_what_flows_is_what_the_graph_says(tmp_path: Path) -> None:
    branch = [torch_object("nn.Tanh"), torch_object("nn.Sigmoid")]
    net = sequential(
        torch_object("nn.ReLU"), torch_object("nn.ConcatTable", modules=branch), torch_object("nn.CAddTable")
    )
    retorch.convert(net, (2, 3), fold=False).save(tmp_path, format="caffe2")
    facts = gather(Subject(net, tmp_path), verify(net, tmp_path, layers=True))
    names = {i: layer.typename for i, layer in enumerate(facts.layers)} | {-1: "input", len(facts.layers): "output"}
    assert sorted((names[a], names[b]) for a, b in facts.flows) == [
        ("input", "nn.ReLU"),
        ("nn.CAddTable", "output"),
        ("nn.ReLU", "nn.Sigmoid"),
        ("nn.ReLU", "nn.Tanh"),
        ("nn.Sigmoid", "nn.CAddTable"),
        ("nn.Tanh", "nn.CAddTable"),
    ]


@pytest.mark.parametrize("name", ["net_hourglass", "net_densenet", "net_crnn_like", "net_siamese", "SharedWeights_1"])
def test_every_operator_belongs_to_one_layer(name: str, tmp_path: Path) -> None:
    net = converted(GOLDEN / f"{name}.t7", tmp_path)
    facts = gather(Subject(net, tmp_path), verify(net, tmp_path, layers=True))
    named = sum(int(kind.partition("×")[2] or 1) for layer in facts.layers for kind in layer.operators)
    assert named == len(files.read(tmp_path).predict.op)
    assert [
        i for i, layer in enumerate(facts.layers) if layer.operators and all(i not in flow for flow in facts.flows)
    ] == []


#: What a reader does: sorts by parameters, by class and back; searches; chooses; zooms, moves, clicks a box.
USE = """
const column = (i) => [...document.querySelectorAll("#table tbody tr")]
  .filter((row) => row.style.display !== "none").map((row) => row.cells[i].textContent);
const heads = document.querySelectorAll("#table th button");
const found = { before: column(0) };
heads[7].click(); found.heaviest = column(1)[0];
found.sorted = document.querySelectorAll("#table th")[7].getAttribute("aria-sort");
heads[7].click(); found.lightest = column(7)[0];
heads[2].click(); found.classes = column(2);
heads[0].click(); found.after = column(0);
const search = document.getElementById("search");
search.value = "linear fc2"; search.dispatchEvent(new Event("input")); found.searched = column(1);
found.count = document.getElementById("count").value;
search.value = ""; search.dispatchEvent(new Event("input"));
const choice = document.getElementById("class");
choice.value = "nn.ReLU"; choice.dispatchEvent(new Event("input")); found.relus = column(1);
choice.value = ""; choice.dispatchEvent(new Event("input"));
const only = document.getElementById("suspects");
only.click(); found.suspects = column(1); only.click();
const graph = document.getElementById("graph");
const width = () => graph.getAttribute("viewBox").split(" ").map(Number);
const start = width()[2];
document.getElementById("closer").click(); found.closer = width()[2] < start;
graph.focus(); const y = width()[1];
graph.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown" })); found.moved = width()[1] > y;
graph.dispatchEvent(new KeyboardEvent("keydown", { key: "0" })); found.whole = width().slice(0, 2);
document.querySelector(".box[data-row]").dispatchEvent(new MouseEvent("click", { bubbles: true }));
found.here = document.querySelectorAll("tr.here").length;
return found;
"""


def test_a_layer_run_ten_times_has_its_operators_ten_times(tmp_path: Path) -> None:
    net = converted(GOLDEN / "net_crnn_like.t7", tmp_path)
    facts = gather(Subject(net, tmp_path), verify(net, tmp_path, layers=True))
    recurrent = [layer for layer in facts.layers if layer.path.startswith("modules[10].")]
    found = {layer.typename: layer.operators for layer in recurrent if layer.operators}
    assert found["nn.LinearNoBias"] == ("FC ×10",)
    assert found["nn.Tanh"] == ("Tanh ×10",)


def test_sorting_filtering_zooming_and_choosing_work_in_a_browser(tmp_path: Path) -> None:
    page = written_page(DIGITS, tmp_path)
    told = use(page, USE)
    assert told["before"] == told["after"] == [str(i) for i in range(1, 15)]
    assert told["heaviest"] == "modules[10]"
    assert told["sorted"] == "descending"
    assert told["lightest"] == ""
    assert told["classes"] == sorted(told["classes"])
    assert told["searched"] == ["modules[13]"]
    assert told["count"] == "1 layer"
    assert told["relus"] == ["modules[3]", "modules[7]", "modules[11]"]
    assert told["suspects"] == []
    assert (told["closer"], told["moved"], told["whole"], told["here"]) == (True, True, [-16, -16], 1)


def test_a_wrong_layer_is_marked_in_the_browser(tmp_path: Path) -> None:
    page = written_page(DIGITS, tmp_path, sabotage="conv2_w")
    told = use(
        page,
        """
        document.getElementById("suspects").click();
        const rows = [...document.querySelectorAll("#table tbody tr")].filter((row) => row.style.display !== "none");
        return {
          verdict: document.querySelector(".verdict strong").textContent,
          wrong: rows.filter((row) => row.dataset.verdict === "wrong").map((row) => row.cells[1].textContent),
          off: rows.filter((row) => row.dataset.verdict === "off").length,
          boxes: document.querySelectorAll(".box.wrong").length,
        };
        """,
    )
    assert told["verdict"] == "✘ Different"
    assert told["wrong"] == ["modules[5]"]
    assert told["off"] >= 1
    assert told["boxes"] == 1


def test_what_was_folded_is_shown_as_both(tmp_path: Path) -> None:
    net = converted(DIGITS, tmp_path, fold=True)
    facts = gather(Subject(net, tmp_path), verify(net, tmp_path, layers=True))
    assert [facts.layers[i].merged_into for i in (0, 1, 4, 5)] == [1, None, 5, None]
    titles = [box.title for box in draw(facts).boxes]
    assert titles.count("Convolution + BatchNormalization") == 2
    assert "see modules[2]" in render(facts, ".html")


def test_a_phone_needs_no_sideways_scrolling(tmp_path: Path) -> None:
    page = written_page(DIGITS, tmp_path)
    assert use(page, "return document.documentElement.scrollWidth <= innerWidth", width=500) is True


def test_the_page_can_be_pictured(tmp_path: Path) -> None:
    page = written_page(GOLDEN / "net_hourglass.t7", tmp_path)
    picture(page, tmp_path / "page.png")
    assert (tmp_path / "page.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_verify_and_convert_write_reports_by_suffix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["convert", str(DIGITS), "-o", str(out), "--report", str(tmp_path / "first.html")]) == 0
    assert "✔ Same" in (tmp_path / "first.html").read_text(encoding="utf-8")
    assert main(["verify", str(out), "--report", str(tmp_path / "r.json")]) == 0
    assert main(["verify", str(out), "--report", str(tmp_path / "r.md")]) == 0
    told = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert told["ok"] is True
    assert [layer["path"] for layer in told["layers"]] == [f"modules[{i}]" for i in range(1, 15)]
    markdown = (tmp_path / "r.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \d+ \| modules", markdown, re.MULTILINE)
    assert len(rows) == 14
    capsys.readouterr()
    assert main(["verify", str(out), "--report", str(tmp_path / "r.pdf")]) == 2
    assert "a report is .html, .json, .md" in capsys.readouterr().err


def test_without_jinja2_the_way_out_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert main(["verify", str(DIGITS), str(tmp_path), "--report", str(tmp_path / "r.html")]) == 2
    said = capsys.readouterr().err
    assert "pip install 'retorch[report]'" in said


def test_json_holds_no_number_that_json_lacks(tmp_path: Path) -> None:
    net = sequential(torch_object("nn.MulConstant", constant_scalar=2.0))
    retorch.convert(net, (1, 2), fold=False).save(tmp_path / "out", format="caffe2")
    x = np.array([[np.inf, 1.0]], np.float32)
    report = verify(net, tmp_path / "out", inputs=[x])
    write_report(tmp_path / "r.json", Subject(net, tmp_path / "out"), report)

    def refuse(name: str) -> None:
        raise AssertionError(name)

    told = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert told["witnesses"][0]["trial"] == "the given input"
