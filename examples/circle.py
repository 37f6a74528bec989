"""From a `.t7` to PyTorch, trained there, back into a `.t7`, and from that to Caffe2 and ONNX.

``python -m examples.circle style -o out`` makes the bundled ``examples/style/style.t7`` anew. PyTorch is needed for it
(``retorch pytorch install``).
"""

from __future__ import annotations

import argparse
import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

import retorch
from examples import scenes
from examples.charnn.network import checkpoint as language_model
from examples.enet.network import enet
from examples.style.network import checkpoint as style_checkpoint
from examples.style.network import style_network
from retorch.engines import environments
from retorch.engines.caffe2_runtime import VERSIONS, Runtime
from retorch.errors import UsageError

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Example:
    """A network of the gallery.

    Attributes:
        name: of its package, and of its file there.
        start: what is saved before training: a network or a checkpoint.
        sizes: what it is converted for: a shape, or a list of shapes and arrays.
        steps: how many steps of training it has had.
    """

    name: str
    start: Callable[[], retorch.TorchObject | retorch.LuaTable]
    sizes: Any
    steps: int


def _romeo() -> retorch.LuaTable:
    return language_model((HERE / "charnn" / "romeo.txt").read_bytes())


EXAMPLES = {
    "charnn": Example("charnn", _romeo, [np.ones(2, np.int64), (2, 128), (2, 128)], 2000),
    "enet": Example("enet", lambda: enet(len(scenes.CLASSES)), (1, 3, 96, 128), 800),
    "style": Example("style", lambda: style_checkpoint(style_network()), (2, 3, 96, 96), 700),
}


def pytorch() -> Path:
    """An interpreter that has PyTorch. UsageError where there is none."""
    found = [*environments.named_interpreters("pytorch"), *environments.installed_interpreters("pytorch")]
    if not found:
        raise UsageError("PyTorch is not installed here", hint=environments.hint("pytorch"))
    return found[0]


def train(example: Example, folder: Path, steps: int) -> Path:
    """The network's twin, trained; ``start.t7`` and ``twin`` are left in the folder. Returns the trained ``.t7``."""
    folder.mkdir(parents=True, exist_ok=True)
    start, twin = folder / "start.t7", folder / "twin"
    retorch.write(start, example.start())
    retorch.convert(retorch.load(start), example.sizes, to="pytorch").save(twin)
    command = [str(pytorch()), "-m", f"examples.{example.name}.train", str(twin.resolve()), "--steps", str(steps)]
    subprocess.run(command, cwd=HERE.parent, env={**os.environ, "PYTHONPATH": str(HERE.parent)}, check=True)
    return put_back(start, twin / "model.safetensors", folder / f"{example.name}.t7")


def put_back(start: Path, weights: Path, target: Path) -> Path:
    """The file ``start`` with trained weights in it, as a new file."""
    obj = retorch.read(start, writable=True)
    retorch.load(obj).load_state_dict(load_file(weights))
    retorch.write(target, obj)
    return target


def check(example: Example, trained: Path, folder: Path) -> bool:
    """Whether the trained network computes the same in Caffe2, in every one that is here, and as ONNX."""
    net = retorch.load(trained)
    made = retorch.convert(net, example.sizes)
    made.save(folder / "caffe2", format="caffe2")
    made.save(folder / f"{example.name}.onnx")
    engines = ["embedded", *(f"caffe2-{version}" for version in VERSIONS if _installed(version))]
    reports = [
        retorch.verify(net, folder / "caffe2", engines=engines),
        retorch.verify(net, folder / f"{example.name}.onnx", engines=["embedded"]),
    ]
    for report in reports:
        print(report)
    return all(report.ok for report in reports)


def _installed(version: str) -> bool:
    """Whether that Caffe2 is here."""
    runtime = Runtime.find(version)
    if runtime is not None:
        runtime.close()
    return runtime is not None


def main(argv: Sequence[str] | None = None) -> int:
    """The whole circle; returns 0 where all agree, else 1."""
    asked = argparse.ArgumentParser("python -m examples.circle", description="Train an example of the gallery.")
    asked.add_argument("example", choices=list(EXAMPLES))
    asked.add_argument("-o", "--output", type=Path, required=True, help="folder for the results")
    asked.add_argument("--steps", type=int, help="by default as many as the bundled file has had")
    options = asked.parse_args(argv)
    example = EXAMPLES[options.example]
    trained = train(example, options.output, options.steps or example.steps)
    print(f"{trained}: trained, and written back for Torch")
    return 0 if check(example, trained, options.output) else 1


if __name__ == "__main__":
    raise SystemExit(main())
