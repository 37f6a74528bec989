"""A file imports the families of layers that it holds, and the index that says which is what the decorators say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def run(code: str) -> list[str]:
    """The words that a new interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_the_index_is_what_the_decorators_say() -> None:
    written = (ROOT / "src" / "retorch" / "layers" / "base" / "index.py").read_text(encoding="utf-8")
    code = "import sys; sys.path.append('tools'); import layer_index; print(layer_index.index(), end='')"
    made = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert made == written, "run `python tools/layer_index.py`"


def test_a_network_imports_its_own_families_only() -> None:
    file = "examples/digits/digits.t7"
    code = f"import sys, retorch; retorch.load({file!r}); print(*sys.modules)"
    families = {name.removeprefix("retorch.layers.") for name in run(code) if name.startswith("retorch.layers.")}
    assert {"activation", "convolution.spatial", "linear", "pooling.window"} <= families
    assert not families & {"loss", "spatial_transformer", "projects.stereo", "recurrent.torch_rnn", "upsampling"}


def test_a_class_is_known_without_the_index() -> None:
    """As while a layer is being written: all families are asked."""
    code = """
from retorch.layers.base import index, layer
index.MODULES.clear()
print(layer.rule("nn.SpatialUpSamplingNearest").__name__, layer.rule("nn.Nobodys"))
"""
    assert run(code) == ["SpatialUpSamplingNearest", "None"]


def test_a_class_of_a_family_that_is_not_imported_yet_is_taken_too() -> None:
    code = """
from retorch.layers import Layer, layer
try:
    @layer("nn.ReLU")
    class Mine(Layer):
        pass
except ValueError as error:
    print(error)
"""
    assert run(code) == "nn.ReLU is already ReLU".split()


def test_a_class_has_one_rule() -> None:
    code = """
from retorch.layers.base.layer import Layer, layer
made = [type("Same", (Layer,), {"__module__": f"retorch.layers.{file}"}) for file in ("one", "two")]
layer("nn.Same")(made[0])
try:
    layer("nn.Same")(made[1])
except ValueError as error:
    print(error)
"""
    assert run(code) == "nn.Same is already Same".split()


def test_every_class_is_listed_whichever_was_imported_first() -> None:
    code = """
from retorch.layers.base import index, layer
layer.rule("nn.Linear")
print(set(index.MODULES) <= set(layer.registered()), len(layer.registered()) > 400)
"""
    assert run(code) == ["True", "True"]
