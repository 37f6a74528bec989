"""Which two files make up a Caffe2 network: they are told apart, and find each other, by their names."""

from __future__ import annotations

from pathlib import Path

from retorch.caffe2 import container, messages
from retorch.errors import FormatError, MissingFileError, UsageError
from retorch.files.artifacts import CAFFE2, MINIDB

#: How the two halves of a network are told apart by name: in the predict net's, in the init net's.
_HALVES = (
    ("predict_net", "init_net"),
    ("predict_net", "exec_net"),
    ("pred_net", "init_net"),
    ("predict", "init"),
    ("Predict", "Init"),
    ("pred", "init"),
)


def locate(path: Path) -> tuple[Path, Path]:
    """The predict net and the init net that ``path`` names (see ``read``): the same file for a predictor container."""
    if path.is_dir():
        return _in_folder(path)
    if not path.exists():
        raise MissingFileError(path)
    if _is_container(path):
        return path, path
    for predict, init in _pairs(path):
        if predict.exists() and init.exists():
            return predict, init
    if path.suffix in MINIDB:
        raise FormatError(f"{path}: not a predictor container")
    if path.suffix not in CAFFE2:
        raise UsageError(
            f"{path}: not a Caffe2 network", hint="name its folder, its predict_net.pb or .pbtxt, or its minidb"
        )
    if path.suffix == ".pb" and container.is_table_alone(path):
        raise FormatError(
            f"{path}: the table of a predictor container (MetaNetDef), without its weights",
            hint="the container is one file, a minidb: name that",
        )
    other = next(half.name for half in _pairs(path)[0] if half != path)
    raise UsageError(f"{path}: the other half of the network is missing", hint=f"expected {other}")


def _in_folder(folder: Path) -> tuple[Path, Path]:
    found: dict[Path, Path] = {}  # by init net, as a predict net often lies there in two forms
    halves: dict[Path, Path] = {}
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".pb", *messages.TEXT_FORMS))
    there = {path.name for path in paths if path.exists()}  # a link may lead nowhere
    for path in paths:
        named = _named_half(path.stem)
        for predict, init in _pairs(path) if named else []:
            if predict.name in there and init.name in there:
                found.setdefault(init, predict)
            halves.setdefault(*((predict, init) if predict.name in there else (init, predict)))
    others = sorted(path for path in folder.iterdir() if path.suffix in MINIDB)
    found.update({path: path for path in others if _is_container(path)})
    if not found:
        half, other = next(iter(halves.items()), (None, None))
        if half is not None and other is not None:
            raise UsageError(f"{folder}: holds {half.name} but not its other half", hint=f"expected {other.name}")
        raise UsageError(f"{folder}: holds no Caffe2 network", hint="expected init_net.pb and predict_net.pb")
    if len(found) > 1:
        names = ", ".join(sorted(predict.name for predict in found.values()))
        raise UsageError(f"{folder}: holds several networks: {names}", hint="name one of these files")
    return next((predict, init) for init, predict in found.items())


def _is_container(path: Path) -> bool:
    try:
        return path.is_file() and container.is_container(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error


def _named_half(name: str) -> bool:
    """Whether the name of a file says that it is one half of a network."""
    return any(half in name for pair in _HALVES for half in pair)


def _pairs(path: Path) -> list[tuple[Path, Path]]:
    """The pairs of files that ``path`` may be half of: (predict, init), the likeliest first."""
    name, suffix = path.stem, path.suffix
    others = [suffix, *(other for other in (".pb", *messages.TEXT_FORMS) if other != suffix)]
    pairs: list[tuple[Path, Path]] = []
    for predict, init in _HALVES:
        if predict in name:
            pairs += [(path, path.with_name(name.replace(predict, init) + other)) for other in others]
        elif init in name:
            pairs += [(path.with_name(name.replace(init, predict) + other), path) for other in others]
    if name.endswith("_init"):
        return [*((path.with_name(name.removesuffix("_init") + other), path) for other in others), *pairs]
    return [*pairs, *((path, path.with_name(f"{name}_init{other}")) for other in others)]
