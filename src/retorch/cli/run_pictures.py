"""``retorch run`` on pictures: pictures, labels, embeddings and distances out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retorch.cli.exit_codes import about
from retorch.cli.given_input import numbers
from retorch.cli.progress import progress
from retorch.cli.terminal import console, plain, print_json
from retorch.errors import UsageError
from retorch.files.atomic import replacing
from retorch.torch7 import read

if TYPE_CHECKING:
    from retorch.apply.picture_network import PictureNetwork
    from retorch.apply.preprocessing import Preprocessing
    from retorch.module import Module

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp"})
#: Lines with bars are not longer than this.
WIDTH = 80
#: Runs the network on one tensor: its only output.
Run = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class PictureOptions:
    """The options of ``retorch run`` that pictures have."""

    preprocess: str
    mean: str
    std: str
    top: float
    bgr: bool
    size: str
    tile: int | None
    labels: Path | None
    palette: Path | None = None

    def preparation(self, root: object) -> Preprocessing:
        """As the options say, else as the checkpoint says, else pixels from 0 to 1."""
        from retorch.apply.checkpoint import from_checkpoint
        from retorch.apply.preprocessing import PREPROCESSINGS, Preprocessing, named

        if self.mean or self.std or self.bgr or self.top != 1:
            if self.preprocess:
                raise UsageError("--preprocess names what --mean, --std, --range and --bgr say one by one")
            mean, std = numbers("--mean", self.mean) or (0.0,), numbers("--std", self.std) or (1.0,)
            return Preprocessing("the command line", mean, std, self.bgr, self.top)
        if self.preprocess:
            return named(self.preprocess)
        return from_checkpoint(root) or PREPROCESSINGS["unit"]

    def asked_size(self) -> tuple[int, int] | None:
        """``--size 480x640``, height first."""
        if not self.size:
            return None
        parts = self.size.lower().split("x")
        if len(parts) != 2 or not all(p.isascii() and p.isdigit() and int(p) for p in parts):
            raise UsageError(f"--size {self.size}: height and width joined by x", hint="for example --size 480x640")
        return int(parts[0]), int(parts[1])

    def class_names(self, root: object) -> tuple[list[str], str]:
        """The names of the classes, and whose they are: of ``--labels``, else of the checkpoint."""
        from retorch.apply.checkpoint import class_names

        if self.labels is None:
            return class_names(root)
        with about(self.labels):
            return self.labels.read_text(encoding="utf-8").splitlines(), str(self.labels)

    def colours(self) -> list[tuple[int, int, int]]:
        """The colours of ``--palette``: red, green and blue of a class on each line."""
        if self.palette is None:
            return []
        with about(self.palette):
            rows = [line.replace(",", " ").split() for line in self.palette.read_text(encoding="utf-8").splitlines()]
        for i, row in enumerate(rows, 1):
            if len(row) != 3 or not all(part.isascii() and part.isdigit() and int(part) < 256 for part in row):
                raise UsageError(f"--palette {self.palette}: line {i} is not three numbers from 0 to 255")
        return [(int(red), int(green), int(blue)) for red, green, blue in rows]


def is_picture(text: str) -> bool:
    """Whether an input is a picture, a folder of pictures, or a numbered sequence (``frames/%05d.png``)."""
    path = Path(text)
    return path.suffix.lower() in SUFFIXES or (path.is_dir() and any(_listed(path)))


def picture_network(
    network: Path, engine: str, at: str | None, load: Callable[[Path, str | None], Module], options: PictureOptions
) -> tuple[PictureNetwork, list[str]]:
    """The network as one that takes pictures, and what was assumed for that."""
    from retorch.apply.border import border_of
    from retorch.apply.picture_network import PictureNetwork, channels_of
    from retorch.files.artifacts import is_written

    with about(network):
        if is_written(network):
            from retorch.network import Network

            made = Network.load(network)
            shape = made.inputs[0].shape if len(made.inputs) == 1 else None
            prepared = options.preparation(None)
            taken = PictureNetwork(channels_of(shape), _fixed(shape), lambda _: _of_files(network, engine), prepared)
            taken.classes = options.class_names(None)[0]
            return taken, [f"pictures are prepared as {prepared.source}"]
        net = load(network, at)
        root = read(network)
        prepared = options.preparation(root)
        shape = _example(net)
        taken = PictureNetwork(channels_of(shape), None, _of_module(net, engine, shape), prepared, usual=_fixed(shape))
        taken.border = border_of(net.layer.raw)
        taken.classes, where = options.class_names(root)
        named = [f"classes are named by {where}"] if taken.classes and options.labels is None else []
        return taken, [*net.notes, f"pictures are prepared as {prepared.source}", *named]


def _example(net: Module) -> tuple[int, ...] | None:
    shape = net.input_shape()
    return shape if isinstance(shape, tuple) else None


def _fixed(shape: tuple[int | str | None, ...] | None) -> tuple[int, int] | None:
    sizes = [] if shape is None else [size for size in shape[-2:] if isinstance(size, int)]
    return (sizes[0], sizes[1]) if len(sizes) == 2 else None


def _of_files(path: Path, name: str) -> Run:
    from retorch.engines.choice import engine

    one = engine(name, path)
    return lambda x: one.run([x])[0]


def _of_module(net: Module, name: str, shape: tuple[int, ...] | None) -> Callable[[tuple[int, ...]], Run]:
    """Runs the network at a shape: the formulas as they are, else as it is converted for the shape."""
    lone = shape is not None and len(shape) == 3

    def at(sizes: tuple[int, ...]) -> Run:
        if name == "reference":
            return lambda x: _whole(net.forward(x[0] if lone else x), lone)
        from retorch.conversion import convert

        made = convert(net, sizes[1:] if lone else sizes)
        return lambda x: _whole(made.run(x[0] if lone else x)[0], lone)

    return at


def _whole(y: Any, lone: bool) -> Any:
    """The output of one picture: where a view counts on another size, it comes out as several."""
    if not lone and y.ndim > 1 and len(y) != 1:
        raise UsageError(f"at this size the network takes one picture for {len(y)}")
    return y


def run_pictures(
    network: PictureNetwork, inputs: list[str], output: str, options: PictureOptions, notes: list[str], as_json: bool
) -> None:
    """Run the network on each picture and write or print what it gives."""
    pairs = [pair for text in inputs for pair in _pairs(text, output)]
    if not output and len(pairs) <= 2:
        _print_results(network, [source for source, _ in pairs], options, notes, as_json)
        return
    if not output:
        raise UsageError(f"{len(pairs)} pictures", hint="-o FOLDER/ writes what the network makes of each")
    if len({target for _, target in pairs}) < len(pairs):
        raise UsageError(f"-o {output}: {len(pairs)} pictures need a folder", hint=f"-o {output}/")
    colours = options.colours()
    with progress() as watch:
        for done, (source, target) in enumerate(pairs, 1):
            many = len(pairs) > 1
            tiles = None if many else partial(watch, "tiles")
            y = network(_pixels(network, source), options.asked_size(), options.tile, tiles)
            _write(y, target, network, colours)
            if many:
                watch("pictures", done, len(pairs))
    notes = [*notes, *network.said]
    if as_json:
        print_json({"output": [str(target) for _, target in pairs], "notes": notes})
        return
    screen = console()
    for note in notes:
        screen.print(f"note: {plain(note)}")
    screen.print(f"wrote {plain(str(pairs[0][1]))}" + (f" and {len(pairs) - 1} more" if len(pairs) > 1 else ""))


def _pairs(text: str, output: str) -> Iterator[tuple[Path, Path]]:
    """Each picture that is meant, and where what comes of it goes: in a sequence under the same number."""
    from retorch.apply.sequences import check_pattern, numbered

    if "%" in output:
        check_pattern(output)
    sources = _folder(text) if Path(text).is_dir() else numbered(text) if is_sequence(text) else {1: Path(text)}
    for number, source in sources.items():
        if "%" in output:
            yield source, Path(output).parent / (Path(output).name % number)
        elif output.endswith(("/", "\\")) or Path(output).is_dir() or (output and not Path(output).suffix):
            yield source, Path(output) / f"{source.stem}.png"
        else:
            yield source, Path(output)


def is_sequence(text: str) -> bool:
    """Whether a name stands for numbered files."""
    return "%" in text and not Path(text).exists()


def _folder(folder: str) -> dict[int, Path]:
    return dict(enumerate(_listed(Path(folder)), 1))


def _listed(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES)


def _pixels(network: PictureNetwork, source: Path) -> Any:
    from retorch.apply.pictures import read_picture

    with about(source):
        return read_picture(source, 3 if network.preprocessing.lab else network.channels)


def _write(y: Any, target: Path, network: PictureNetwork, colours: list[tuple[int, int, int]]) -> None:
    import numpy as np

    from retorch.apply.pictures import picture_of, write_picture

    with about(target), replacing(target) as part:
        if target.suffix == ".npy":
            with part.open("wb") as file:
                np.save(file, y)
        elif target.suffix == ".npz":
            with part.open("wb") as file:
                np.savez(file, output_0=y)
        else:
            write_picture(part, picture_of(y, network.preprocessing, colours), suffix=target.suffix)


def _print_results(
    network: PictureNetwork, sources: list[Path], options: PictureOptions, notes: list[str], as_json: bool
) -> None:
    """The likeliest classes of one picture, or the distance of two."""
    from retorch.apply.pictures import likeliest, squared_distance

    outputs = [network(_pixels(network, source), options.asked_size(), options.tile) for source in sources]
    notes = [*notes, *network.said]
    if any(y.size != max(y.shape, default=1) for y in outputs):
        raise UsageError("the network gives no vector", hint="-o out.png or -o out.npy writes what it gives")
    if len(outputs) == 2:
        distance = squared_distance(*outputs)
        if as_json:
            print_json({"squared_distance": distance, "notes": notes})
        else:
            _say(notes)
            console().print(f"squared distance {distance:.4f}")
        return
    found = likeliest(outputs[0], network.classes)
    if as_json:
        labels = [{"index": f.index, "name": f.name, "probability": f.probability} for f in found]
        print_json({"labels": labels, "notes": notes})
        return
    _say(notes)
    screen = console()
    width = min(screen.width, WIDTH)
    wide = min(max(len(label.name) for label in found), max(width - 20, 10))
    longest = max(min(30, width - wide - 11), 0)
    for label in found:
        name = label.name if len(label.name) <= wide else f"{label.name[: wide - 1]}…"
        bar = "█" * round(longest * label.probability)
        screen.print(f"{plain(name):<{wide}}  {label.probability:6.1%}  {bar}".rstrip())


def _say(notes: list[str]) -> None:
    for note in notes:
        console(error=True).print(f"note: {plain(note)}")
