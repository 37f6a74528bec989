"""An engine by its name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from retorch.engines.caffe2_runtime import VERSIONS, Runtime
from retorch.engines.embedded import Embedded
from retorch.engines.interface import Case, Engine
from retorch.engines.real_caffe2 import RealCaffe2
from retorch.engines.real_pytorch import RealPyTorch
from retorch.engines.reference import Reference
from retorch.engines.torch7 import RealTorch
from retorch.errors import UsageError
from retorch.files.artifacts import onnx_file, python_file


def _installed(version: str) -> bool:
    runtime = Runtime.find(version)
    if runtime is not None:
        runtime.close()
    return runtime is not None


def each_engine(names: str | Sequence[str]) -> list[str]:
    """The names, or the only one, with ``caffe2-all`` replaced by every version that is installed.

    Raises:
        UsageError: none is.
    """
    names = [names] if isinstance(names, str) else names
    if "caffe2-all" not in names:
        return list(names)
    versions = [version for version in VERSIONS if _installed(version)]
    if not versions:
        Runtime.require(VERSIONS[0])
    found = [one for name in names for one in ([f"caffe2-{a}" for a in versions] if name == "caffe2-all" else [name])]
    return list(dict.fromkeys(found))


def engine(name: str, path: Path, case: Case | None = None, source: str | os.PathLike[str] | None = None) -> Engine:
    """The engine of that name on the files at ``path``.

    Args:
        name: ``embedded``, ``caffe2`` (the newest installed), ``caffe2-1.0.0`` for one version, ``pytorch`` and
            ``pytorch-1.10`` likewise, ``reference``, ``torch7`` (or ``lua``).
        path: a folder of Caffe2 files, or an ``.onnx`` file, or PyTorch source, or a folder with one.
        case: the Torch network, for the last three; and what was read from the files.
        source: the Torch7 file, for ``torch7``.

    Raises:
        UsageError: no engine of that name, or it is not installed, or it was given what it cannot run.
    """
    if name == "embedded":
        if python_file(path) is not None:
            raise UsageError("onnxruntime does not run PyTorch source", hint="use --engine pytorch")
        return Embedded(path, None if case is None else case.network)
    if name == "caffe2" or name.startswith("caffe2-"):
        if onnx_file(path) is not None:
            raise UsageError("the real Caffe2 runs Caffe2 files, not ONNX", hint="use --engine embedded")
        return RealCaffe2(path, Runtime.require(name.partition("-")[2] or None))
    if name.partition("-")[0] == "pytorch" and case is not None:
        return RealPyTorch(path, case, name.partition("-")[2])
    if name == "reference" and case is not None:
        return Reference(case)
    if name in {"torch7", "lua"} and case is not None and source is not None:
        return RealTorch(case, Path(source))
    raise UsageError(
        f"there is no engine {name!r} here",
        hint="embedded, caffe2, caffe2-1.0.0, caffe2-1.10.2, caffe2-all, pytorch, reference, torch7",
    )
