"""``--input``: one meaning in every command. A shape, a file of arrays, or a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from retorch.cli.arguments import arrays, example, nested
from retorch.errors import MissingFileError, UsageError

if TYPE_CHECKING:
    from retorch.graph.lowering import Example
    from retorch.layers.base.layer import Array
    from retorch.module import Module
    from retorch.network import Network

_ARRAYS = {".npz", ".npy"}

Input = Annotated[
    list[str] | None,
    typer.Option("--input", "--inputs", help="A shape (1x3x224x224, {1x3,{1x4}}), x.npz, x.npy, or a picture."),
]
Image = Annotated[Path | None, typer.Option(help="A picture as the input; --input takes it too.")]
Mean = Annotated[str, typer.Option(help="Subtracted from the picture's channels, as 0.485,0.456,0.406.")]
Std = Annotated[str, typer.Option(help="Divided into the picture's channels.")]
Bgr = Annotated[bool, typer.Option("--bgr", help="The picture's channels with blue first.")]
Top = Annotated[float, typer.Option("--range", help="The brightest pixel: 1 or 255.")]


@dataclass(frozen=True, slots=True)
class Given:
    """What ``--input`` says: shapes, or a file; neither where it is not there.

    ``mean``, ``std``, ``bgr`` and ``top`` are how a picture is prepared, as they were given.
    """

    shapes: tuple[str, ...] = ()
    file: Path | None = None
    mean: str = ""
    std: str = ""
    bgr: bool = False
    top: float = 1.0

    @classmethod
    def of(
        cls,
        texts: list[str] | None,
        image: Path | None = None,
        mean: str = "",
        std: str = "",
        bgr: bool = False,
        top: float = 1.0,
    ) -> Given:
        """What the options say.

        Raises:
            UsageError: several that exclude each other.
            MissingFileError: a file that is not there.
        """
        words = [*(texts or []), *([str(image)] if image else [])]
        files = [word for word in words if not _is_shape(word)]
        if files and len(words) > 1:
            raise UsageError(f"--input {files[0]}: a file stands alone", hint="one .npz holds several arrays")
        if (mean or std or bgr or top != 1) and (not files or Path(files[0]).suffix in _ARRAYS):
            raise UsageError("--mean, --std, --range and --bgr prepare a picture", hint="--input cat.png")
        file = Path(files[0]) if files else None
        if file is not None and str(file) != "-" and not file.exists():
            raise MissingFileError(file)
        return cls(tuple(words) if not files else (), file, mean, std, bgr, top)

    def __bool__(self) -> bool:
        return bool(self.shapes) or self.file is not None

    @property
    def is_picture(self) -> bool:
        """Whether the file is a picture, by its first bytes where its name does not say."""
        if self.file is None or self.file.suffix in _ARRAYS or not self.file.is_file():
            return False
        with self.file.open("rb") as stream:
            head = stream.read(12)
        signatures = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*")
        return head.startswith(signatures) or head[8:12] == b"WEBP"

    def example(self, net: Module) -> Example | None:
        """The input for a conversion; None where it is to be worked out."""
        if self.shapes:
            return example(list(self.shapes))
        if self.file is None:
            return None
        return self._picture(_one(net.input_shape())) if self.is_picture else nested(self.file)

    def nested(self, net: Module, seed: int) -> Any:
        """The input as the network takes it; random where only its shape is known."""
        from retorch.graph.lowering import specs
        from retorch.verification.inputs import nest, random_trial

        if self.file is not None:
            return self.example(net)
        found, nesting = specs(cast("Example", example(list(self.shapes)) if self.shapes else net.input_shape()))
        return nest(nesting, random_trial(net, [spec.shape for spec in found], nesting, seed).tensors)

    def tensors(self, network: Network, net: Module | None, seed: int) -> list[Array] | None:
        """The tensors in order, for a network that was written; None for random ones of the shapes that it says."""
        from retorch.graph.lowering import specs
        from retorch.verification.compare import example_shapes
        from retorch.verification.inputs import noise, random_trial

        if self.file is not None:
            return [self._picture(_one(example_shapes(network)))] if self.is_picture else arrays(self.file)
        if not self.shapes:
            return None
        shapes = [spec.shape for spec in specs(example(list(self.shapes)))[0]]
        if net is None:
            return noise(shapes, seed)
        return list(random_trial(net, shapes, network.input_nesting, seed).tensors)

    def _picture(self, shape: tuple[int, ...]) -> Array:
        from retorch.apply.pictures import picture_tensor
        from retorch.apply.preprocessing import Preprocessing

        mean, std = numbers("--mean", self.mean) or (0.0,), numbers("--std", self.std) or (1.0,)
        return picture_tensor(self.file or Path(), shape, Preprocessing("as given", mean, std, self.bgr, self.top))


def _is_shape(text: str) -> bool:
    """Whether this is meant as a shape: it begins with a number, or has braces, and names no place."""
    return "{" in text or "}" in text or (text[:1].isnumeric() and not set("./\\") & set(text))


def _one(shapes: Any) -> tuple[int, ...]:
    """The shape of the only input."""
    if isinstance(shapes, tuple):
        return cast("tuple[int, ...]", shapes)
    if len(shapes) == 1:
        return _one(shapes[0])
    raise UsageError(f"a picture is one input, and the network takes {len(shapes)}", hint="--input x.npz")


def numbers(option: str, text: str) -> tuple[float, ...]:
    """``0.485,0.456,0.406`` as numbers.

    Raises:
        UsageError: anything else.
    """
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise UsageError(f"{option} {text}: numbers joined by commas") from None
