"""The command line as a person meets it: what it prints, what it writes, how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import retorch
from golden_cases import GOLDEN, check
from retorch.cli import main

DIGITS = GOLDEN / "digits" / "digits.t7"


def unknown_layers(folder: Path) -> Path:
    """A network with two layers that nobody knows."""
    path = folder / "strange.t7"
    source = retorch.read(GOLDEN / "Double_1.t7")
    modules = list(source["modules"].sequence())
    strange = [retorch.TorchObject(name, {"weight": modules[0]["weight"]}) for name in ("my.Layer", "your.Layer")]
    retorch.write(path, retorch.TorchObject("nn.Sequential", {"modules": [strange[0], modules[0], strange[1]]}))
    return path


def test_convert_writes_three_verified_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(DIGITS), "-o", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "Same: embedded" in out
    assert "1x1x32x32" in out
    assert {"init_net.pb", "predict_net.pb", "predict_net.pbtxt"} <= {p.name for p in (tmp_path / "out").iterdir()}


def test_what_was_written_names_its_source_and_its_layers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(GOLDEN / "Double_1.t7"), "-o", str(tmp_path), "--input", "3x4"]) == 0
    record = json.loads((tmp_path / "retorch.json").read_text())
    assert [(m["path"], m["operators"], m["blobs"]) for m in record["layers"]] == [
        ("modules[1]", ["FC"], ["fc1"]),
        ("modules[2]", ["Tanh"], ["tanh1"]),
    ]
    assert record["inputs"] == [{"name": "data", "dtype": "float32", "shape": ["N", 4]}]
    assert record["max_error"] <= record["tolerance"]
    capsys.readouterr()
    assert main(["verify", str(tmp_path)]) == 0
    assert "Same: embedded" in capsys.readouterr().out


def test_convert_to_onnx_by_the_file_name(tmp_path: Path) -> None:
    target = tmp_path / "digits.onnx"
    assert main(["convert", str(DIGITS), "-o", str(target), "--input", "2x1x32x32"]) == 0
    assert target.stat().st_size > 100_000


@pytest.mark.parametrize(
    ("output", "written"),
    [
        ("new", "new/model.onnx"),
        ("new/folder", "new/folder/model.onnx"),
        ("new.v2/", "new.v2/model.onnx"),
        ("resnet-1.0", "resnet-1.0/model.onnx"),
        ("new/net.onnx", "new/net.onnx"),
    ],
)
def test_convert_to_onnx_makes_the_folder(tmp_path: Path, output: str, written: str) -> None:
    network = str(GOLDEN / "Double_1.t7")
    assert main(["convert", network, "-o", f"{tmp_path}/{output}", "--to", "onnx", "--input", "3x4"]) == 0
    assert (tmp_path / written).is_file()
    assert main(["verify", str(tmp_path / written)]) == 0
    assert main(["verify", network, str((tmp_path / written).parent)]) == 0


def test_tables_nest_on_the_command_line(tmp_path: Path) -> None:
    network, given = str(GOLDEN / "MixtureTable_1.t7"), str(GOLDEN / "MixtureTable_1.npz")
    assert main(["convert", network, "-o", str(tmp_path / "out"), "--input", "{2x3,{2x4, 2x4, 2x4}}"]) == 0
    for what, which in ((network, "reference"), (network, "embedded"), (str(tmp_path / "out"), "embedded")):
        assert main(["run", what, "--input", given, "-o", str(tmp_path / "y.npz"), "--engine", which]) == 0
        check([np.load(given)["output_0"]], [np.load(tmp_path / "y.npz")["output_0"]])
    assert main(["verify", network, str(tmp_path / "out"), "--inputs", given]) == 0


@pytest.mark.parametrize("shapes", ["{1x2", "{1x2}}", "1x2}", "{1x2}{1x3}", "{a}", "}{"])
def test_braces_that_do_not_match(shapes: str, tmp_path: Path) -> None:
    assert main(["convert", str(GOLDEN / "MixtureTable_1.t7"), "-o", str(tmp_path / "out"), "--input", shapes]) == 2


def test_errors_name_what_they_are_about_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "missing"
    assert main(["verify", str(DIGITS), str(missing)]) == 3
    assert capsys.readouterr().err.count(str(missing)) == 1


def test_verify_notices_another_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = retorch.read(GOLDEN / "Double_1.t7")
    assert main(["convert", str(GOLDEN / "Double_1.t7"), "-o", str(tmp_path), "--input", "3x4"]) == 0
    weight = source["modules"][1]["weight"]
    changed = retorch.TorchObject("nn.Linear", {"weight": weight + 1, "bias": source["modules"][1]["bias"]})
    other = retorch.TorchObject("nn.Sequential", {"modules": [changed, source["modules"][2]]})
    retorch.write(tmp_path / "other.t7", other)
    assert main(["verify", str(tmp_path / "other.t7"), str(tmp_path), "--layers"]) == 1
    assert "To blame: modules[1] nn.Linear (fc1)" in capsys.readouterr().out


def test_run_by_reference_and_by_files_agree(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    network, given = str(GOLDEN / "Double_1.t7"), str(tmp_path / "x.npz")
    assert main(["convert", network, "-o", str(tmp_path / "out"), "--input", "3x4"]) == 0
    assert main(["run", network, "--input", given, "-o", str(tmp_path / "a.npz")]) == 0
    assert main(["run", str(tmp_path / "out"), "--input", given, "-o", str(tmp_path / "b.npz")]) == 0
    reference = ["--engine", "reference"]
    assert main(["run", str(tmp_path / "out"), "--input", given, "-o", str(tmp_path / "c.npz"), *reference]) == 0
    assert main(["run", network, "--input", given, "-o", str(tmp_path / "d.npz"), "--engine", "embedded"]) == 0
    a, b, c, d = (np.load(tmp_path / f"{name}.npz")["output_0"] for name in "abcd")
    np.testing.assert_allclose(a, b, atol=1e-6)
    np.testing.assert_array_equal(a, c)
    np.testing.assert_array_equal(b, d)


def test_inspect_as_json_names_every_layer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(DIGITS), "--json"]) == 0
    network = json.loads(capsys.readouterr().out)["network"]
    layers = {layer["path"]: layer for layer in network["layers"]}
    assert layers["modules[1]"]["class"] == "nn.SpatialConvolution"
    assert layers["modules[13]"]["parameters"]["weight"] == [10, 64]
    assert network["problems"] == []


def test_unknown_layers_are_all_listed_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = unknown_layers(tmp_path)
    assert main(["convert", str(path), "-o", str(tmp_path / "out"), "--input", "3x4"]) == 3
    message = capsys.readouterr().err
    assert message.startswith(f"error: {path}: ")
    assert "modules[1] my.Layer" in message
    assert "modules[3] your.Layer" in message
    assert "hint:" in message
    assert not (tmp_path / "out").exists()


def test_a_plugin_teaches_a_class(tmp_path: Path) -> None:
    plugin = tmp_path / "my_layers.py"
    plugin.write_text(
        "import numpy as np\n"
        "from retorch import Layer, layer\n\n\n"
        '@layer("my.Layer", "your.Layer", kind="double")\n'
        "class Double(Layer):\n"
        '    """2x"""\n\n'
        '    ignored = frozenset({"weight"})\n\n'
        "    def forward(self, x):\n"
        "        return 2 * x\n\n"
        "    def lower(self, op, x):\n"
        "        return op.Mul(x, 2.0)\n"
    )
    command = [sys.executable, "-m", "retorch.cli", "convert", str(unknown_layers(tmp_path))]
    options = ["-o", str(tmp_path / "out"), "--input", "3x4", "--plugin", str(plugin)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Same: embedded" in done.stdout


BAD_INPUT = [
    ("a truncated file", lambda p: p.write_bytes(DIGITS.read_bytes()[:5000])),
    ("a text file", lambda p: p.write_text("not a network\n")),
    ("an empty file", lambda p: p.write_bytes(b"")),
    ("an HTML page", lambda p: p.write_text("<!DOCTYPE html><html><body>404</body></html>")),
    ("a directory", lambda p: p.mkdir()),
    ("a missing file", lambda p: None),
]


@pytest.mark.parametrize(("what", "make"), BAD_INPUT, ids=[what for what, _ in BAD_INPUT])
def test_bad_input_is_one_clear_error(what: str, make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.t7"
    make(path)
    assert main(["convert", str(path), "-o", str(tmp_path / "out")]) == 3
    errors = capsys.readouterr().err.splitlines()
    assert errors[0].startswith(f"error: {path}: "), errors
    assert len(errors) <= 2
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written_is_one_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    target = tmp_path / "file" / "out"
    assert main(["convert", str(GOLDEN / "Double_1.t7"), "-o", str(target), "--input", "3x4"]) in (2, 3)
    assert capsys.readouterr().err.startswith(f"error: {target}")


@pytest.mark.parametrize(
    "arguments",
    [
        ["convert", str(DIGITS)],
        ["convert", str(DIGITS), "-o", "out", "--input", "3xx4"],
        ["convert", str(DIGITS), "-o", "out", "--at", "nowhere"],
        ["convert", str(DIGITS), "-o", "out", "--to", "keras"],
        ["nonsense"],
    ],
)
def test_unusable_arguments_exit_with_2(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", "nowhere"],
        ["convert", "nowhere", "-o", "out"],
        ["convert", "nowhere.onnx", "-o", "out"],
        ["convert", str(DIGITS), "-o", "out", "--plugin", "nowhere"],
        ["verify", "nowhere", "out"],
        ["verify", str(DIGITS), "nowhere"],
        ["verify", "nowhere"],
        ["run", "nowhere", "--input", "x.npz", "-o", "y.npz"],
        ["run", str(DIGITS), "--input", "nowhere", "-o", "y.npz"],
        ["export", "nowhere"],
        ["clean", "nowhere", "-o", "out"],
        ["check", "nowhere"],
        ["sample", "nowhere"],
        ["view", "nowhere", "--no-browser"],
    ],
)
def test_a_missing_file_ends_every_command_alike(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 3
    named = next(word for word in arguments if word.startswith("nowhere"))
    assert f"{named}: no such file or folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_inspect_and_help_import_neither_onnx_nor_onnxruntime() -> None:
    script = (
        "import sys; from retorch.cli import main; code = main(sys.argv[1:]); "
        "heavy = {'onnx', 'onnx_ir', 'onnxruntime'} & set(sys.modules); sys.exit(code or len(heavy))"
    )
    for arguments in (["--help"], ["inspect", str(DIGITS)]):
        done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted as Linux lists them")
def test_inspect_starts_no_threads() -> None:
    script = "import os, sys; from retorch.cli import main; main(sys.argv[1:]); print(*os.listdir('/proc/self/task'))"
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    command = [sys.executable, "-c", script, "inspect", str(DIGITS)]
    done = subprocess.run(command, capture_output=True, env=environment, text=True, check=True)
    assert len(done.stdout.splitlines()[-1].split()) == 1


def test_a_view_that_drops_a_batch_of_one_leaves_the_batch_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", str(GOLDEN / "net_densenet.t7"), "-o", str(tmp_path)]) == 0
    assert "batches of two and more" in " ".join(capsys.readouterr().out.split())
    network = retorch.Network.load(tmp_path)
    sizes = json.loads((tmp_path / "retorch.json").read_text())["inputs"][0]["shape"]
    assert sizes[0] == "N"
    x = np.random.default_rng(0).standard_normal((3, *sizes[1:])).astype(np.float32)
    expected = retorch.load(GOLDEN / "net_densenet.t7").forward(x)
    np.testing.assert_allclose(network.run(x)[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("case", "shapes"),
    [("MM_1", ["2x3x4"]), ("MM_1", ["2x3x4", "2x4x5", "2x5x6"]), ("CAddTable_1", ["3x4"]), ("net_lenet", ["1x3"])],
)
def test_an_input_that_does_not_fit_is_one_clear_error(
    case: str, shapes: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [word for shape in shapes for word in ("--input", shape)]
    assert main(["convert", str(GOLDEN / f"{case}.t7"), "-o", str(tmp_path / "out"), *options]) == 3
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert "nn." in message
    assert not (tmp_path / "out").exists()
