"""Broken Caffe2 files, ONNX files and records: each is read to a network, or is one error of ours.

``python tests/fuzz/readers.py KIND --count 100000 --seed 1`` runs it at length and prints one line of result; the kinds
are those of ``KINDS``. ``check`` is what the tests use. Checked for each: no exception but ours, not above two
seconds, and, in long runs, memory under the limit that :func:`retorch.limits.limit_memory` sets.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from mutations import MUTATIONS

import retorch
from building import sequential, torch_object
from retorch import limits
from retorch.cli import inspect_network
from retorch.errors import RetorchError
from retorch.files import record
from retorch.files.digests import digests
from retorch.files.record import Record

HANGING = 600
"""Seconds of the clock after which a check is given up: many, as the machine may be busy with other things."""
SLOWEST = 2.0
"""Seconds that one input may take."""
MEMORY = 1 << 30
"""Bytes that may be in use in a long run."""
Files = dict[str, bytes]


def _network() -> retorch.Network:
    rng = np.random.default_rng(0)

    def array(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    convolution = torch_object(
        "nn.SpatialConvolution", nInputPlane=2, nOutputPlane=3, kW=3, kH=3, weight=array(3, 2, 3, 3), bias=array(3)
    )
    norm = torch_object(
        "nn.SpatialBatchNormalization",
        weight=array(3),
        bias=array(3),
        running_mean=array(3),
        running_var=np.abs(array(3)) + 1,
    )
    pool = torch_object("nn.SpatialMaxPooling", kW=2, kH=2, dW=2, dH=2)
    linear = torch_object("nn.Linear", weight=array(4, 27), bias=array(4))
    view = torch_object("nn.View", size=(27,), numInputDims=3)
    net = sequential(convolution, norm, torch_object("nn.ReLU"), pool, view, linear, torch_object("nn.LogSoftMax"))
    return retorch.convert(net, (1, 2, 8, 8), fold=False)


def _written(save: Callable[[retorch.Network, Path], Any]) -> Files:
    with tempfile.TemporaryDirectory() as folder:
        save(_network(), Path(folder))
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir()) if path.is_file()}


def _text_only(folder: Path) -> None:
    """Both nets as text."""
    from google.protobuf import text_format

    from retorch.caffe2.proto.caffe2_pb2 import NetDef

    _network().save(folder / "x", "caffe2", packed=False)
    init = NetDef.FromString((folder / "x" / "init_net.pb").read_bytes())
    (folder / "init_net.pbtxt").write_text(text_format.MessageToString(init))
    (folder / "predict_net.pbtxt").write_bytes((folder / "x" / "predict_net.pbtxt").read_bytes())


def _with_record(net: retorch.Network, folder: Path) -> None:
    (target,) = net.save(folder / "m.onnx", "onnx")[:1]
    layers = net.layer_records()
    inputs = ({"name": "data", "dtype": "float32", "shape": ["N", 2, 8, 8]},)
    Record("m.t7", "0" * 64, "", digests([target]), inputs, layers, 1e-4, 1e-7, ("embedded",), ("a note",)).write(
        target
    )


def _small(net: retorch.Network, target: Path, weights: str) -> None:
    """Every weight in fewer bits, though all are of small tensors."""
    with mock.patch("retorch.caffe2.narrow_fill.LEAST", 1), mock.patch("retorch.graph.narrow_weights.LEAST", 1):
        net.save(target, weights=weights)


#: By kind: what is broken, the files that whole networks are made of, and which of them are broken.
KINDS: dict[str, tuple[Callable[[], Files], tuple[str, ...]]] = {
    "pb": (lambda: _written(lambda net, at: net.save(at / "", "caffe2")), ("init_net.pb", "predict_net.pb")),
    "unpacked": (lambda: _written(lambda net, at: net.save(at, "caffe2", packed=False)), ("init_net.pb",)),
    "pbtxt": (lambda: _written(lambda _, at: _text_only(at)), ("init_net.pbtxt", "predict_net.pbtxt")),
    "minidb": (lambda: _written(lambda net, at: net.save(at, "caffe2", init="minidb")), ("init_net.minidb",)),
    "predictor": (lambda: _written(lambda net, at: net.save(at / "m.minidb", "predictor")), ("m.minidb",)),
    "onnx": (lambda: _written(lambda net, at: net.save(at / "m.onnx", "onnx")), ("m.onnx",)),
    "half": (lambda: _written(lambda net, at: _small(net, at, "half")), ("init_net.pb",)),
    "int8": (lambda: _written(lambda net, at: _small(net, at, "int8")), ("init_net.pb",)),
    "half_onnx": (lambda: _written(lambda net, at: _small(net, at / "m.onnx", "half")), ("m.onnx",)),
    "int8_onnx": (lambda: _written(lambda net, at: _small(net, at / "m.onnx", "int8")), ("m.onnx",)),
    "record": (lambda: _written(_with_record), ("m.onnx.json",)),
}


class Originals:
    """The whole files of a kind, and their broken copies."""

    def __init__(self, kind: str) -> None:
        make, self.names = KINDS[kind]
        self.files = make()
        if kind == "pbtxt":
            self.files.pop("x", None)
        self.kind = kind
        self.pool = [self.files[name] for name in self.names]

    def mutant(self, number: int, seed: int) -> tuple[str, bytes]:
        """The ``number``-th broken file of a seed: its name and its bytes."""
        rng = random.Random(f"{self.kind}/{seed}/{number}")
        name = rng.choice(self.names)
        raw = self.files[name]
        for _ in range(rng.choice([1, 1, 1, 2, 4])):
            raw = rng.choice(MUTATIONS)(rng, raw, self.pool) or b"\0"
        return name, raw


class TooSlowError(BaseException):
    """An input that nobody waits for any longer."""


def _stop(*_: object) -> None:
    raise TooSlowError


def check(originals: Originals, folder: Path, name: str, raw: bytes) -> str | None:
    """What is wrong about reading a broken file among the others of its network, None where nothing is."""
    (folder / name).write_bytes(raw)
    started = time.process_time()
    signal.signal(signal.SIGALRM, _stop)
    signal.setitimer(signal.ITIMER_REAL, HANGING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _read(originals.kind, folder, name)
    except RetorchError:
        pass
    except (Exception, TooSlowError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        (folder / name).write_bytes(originals.files[name])
    taken = time.process_time() - started
    return f"{taken:.2f} s" if taken > SLOWEST else None


def _read(kind: str, folder: Path, name: str) -> None:
    target = folder / "m.onnx" if kind == "record" else folder / name if len(list(folder.iterdir())) == 1 else folder
    if kind == "record":
        Record.read(target)
        record.passed_over(target)
        with contextlib.suppress(RetorchError):
            record.source_of(target)
        return
    inspect_network.show(target, as_json=True)
    network = retorch.Network.load(target)
    _ = [*map(str, network.inputs), *map(str, network.outputs)]
    _ = network.input_nesting, network.output_nesting


def lay_out(originals: Originals, folder: Path) -> None:
    """The whole files, in a folder."""
    for name, raw in originals.files.items():
        (folder / name).write_bytes(raw)


def main() -> int:
    """Run a range of numbers; the exit code says whether anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    limits.limit_memory(MEMORY)
    originals, wrong, started = Originals(asked.kind), 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        lay_out(originals, Path(folder))
        for number in range(asked.count):
            name, raw = originals.mutant(number, asked.seed)
            fault = check(originals, Path(folder), name, raw)
            if fault is not None:
                wrong += 1
                print(f"{asked.kind} seed {asked.seed} number {number}: {fault}", flush=True)
            if number % 5000 == 4999:
                print(f"# {number + 1} done, {wrong} wrong, {time.monotonic() - started:.0f} s", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{asked.kind}: {asked.count} files of seed {asked.seed}, {wrong} wrong, {peak} MB at most", flush=True)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
