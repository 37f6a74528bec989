"""Layers of other installed packages: found where a class has no rule, and not looked for where every class has one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from retorch.torch7 import TorchObject, write

LAYERS = '''
from retorch.layers import Layer, layer

@layer("nn.Twice")
class Twice(Layer):
    """``y = 2·x``"""

    def forward(self, x):
        return 2 * x
'''

RUN = """
import sys
import numpy as np
import retorch
y = retorch.load(sys.argv[1]).forward(np.ones((1, 2), np.float32))
print(y.tolist(), "importlib.metadata" in sys.modules)
"""


def run(file: Path, packages: Path) -> str:
    """What a network in a file makes of two ones, with the packages of a folder installed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(packages), *sys.path])}
    command = [sys.executable, "-c", RUN, file]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def installed(folder: Path) -> Path:
    """A package that offers a layer under the entry point ``retorch.layers``."""
    (folder / "twice_layers.py").write_text(LAYERS)
    described = folder / "twice-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: twice\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text("[retorch.layers]\ntwice = twice_layers\n")
    return folder


def test_an_installed_package_teaches_a_class(tmp_path: Path) -> None:
    file = tmp_path / "twice.t7"
    write(file, TorchObject("nn.Twice", {"output": np.zeros(0)}))
    assert run(file, installed(tmp_path)).startswith("[[2.0, 2.0]]")


def test_packages_are_not_asked_for_classes_that_are_known(tmp_path: Path) -> None:
    file = tmp_path / "identity.t7"
    write(file, TorchObject("nn.Identity", {"output": np.zeros(0)}))
    assert run(file, installed(tmp_path)) == "[[1.0, 1.0]] False"
