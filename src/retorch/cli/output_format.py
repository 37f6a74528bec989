"""What ``convert`` writes: the kind of files, and how a Caffe2 net is to look."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, cast, get_args

from retorch.errors import UsageError
from retorch.files.formats import NAMES, Destination, destination, listed
from retorch.files.precision import Precision, precision

if TYPE_CHECKING:
    from retorch.caffe2.emit.net import EmitOptions
    from retorch.network import Format, Network

Init: TypeAlias = Literal["pb", "minidb"]


@dataclass(frozen=True, slots=True)
class Caffe2Style:
    """The options that only Caffe2 has, as they were given."""

    init: str = "pb"
    unpacked: bool = False
    release: str = "1.0"
    nnpack: bool = False
    in_place: bool = False
    brew: bool = False
    mkldnn: bool = False


@dataclass(frozen=True, slots=True)
class Style:
    """Where the output goes, as what, and, for Caffe2, its options; all of them usable together."""

    output: str
    destination: Destination
    caffe2: Caffe2Style
    weights: Precision = "float"

    @classmethod
    def of(cls, to: str, output: str, caffe2: Caffe2Style, weights: str = "float") -> Style:
        """The style that the options name; the kind by the ending of ``output`` where none is named.

        Raises:
            UsageError: a value that there is not, or options that contradict each other.
        """
        if to not in {"", *NAMES}:
            raise UsageError(f"--to {to}: there are {listed(NAMES)}")
        where = destination(output, to)
        kind = where.format.name
        if caffe2.init not in get_args(Init):
            raise UsageError(f"--init {caffe2.init}: there are pb and minidb")
        if _release(caffe2.release) is None:
            raise UsageError(f"--caffe2 {caffe2.release}: there are 1.0 and 1.10")
        if kind not in {"caffe2", "predictor"} and caffe2 != Caffe2Style():
            raise UsageError(f"{where.format.title} takes none of the options that say how Caffe2 files look")
        if kind == "predictor" and (caffe2.init, caffe2.unpacked) != ("pb", False):
            raise UsageError("a predictor container has no init net: --init and --unpacked say nothing about it")
        if caffe2.brew and caffe2.nnpack:
            raise UsageError("brew would not have picked NNPACK: --brew or --nnpack")
        if caffe2.brew and caffe2.mkldnn:
            raise UsageError("brew would not have picked MKL-DNN: --brew or --mkldnn")
        stored = precision(weights, kind)
        if stored != "float":
            from retorch.caffe2 import narrow_fill

            narrow_fill.check(stored, caffe2.init, brew=caffe2.brew, mkldnn=caffe2.mkldnn)
        return cls(output, where, caffe2, stored)

    @property
    def kind(self) -> Format:
        """The format's name."""
        return cast("Format", self.destination.format.name)

    @property
    def target(self) -> Path:
        """The folder or the file that is written."""
        return self.destination.path

    def replacing(self) -> AbstractContextManager[Path]:
        """A hidden place for all that is written: see :func:`retorch.output_files.replacing`."""
        from retorch.output_files import replacing

        return replacing(self.destination)

    def save(self, network: Network, place: Path) -> tuple[Path, ...]:
        """Write the network; its files."""
        packed = False if self.caffe2.unpacked else None
        init = cast("Init", self.caffe2.init)
        return network.save(place, self.kind, options=self.options(), packed=packed, init=init, weights=self.weights)

    def options(self) -> EmitOptions | None:
        """What Caffe2's files are emitted with; None for ONNX."""
        from retorch.caffe2.emit.net import EmitOptions

        if self.kind in ("onnx", "pytorch"):
            return None
        given = self.caffe2
        return EmitOptions(_release(given.release) or "1.0", given.nnpack, given.in_place, given.brew, given.mkldnn)


def _release(text: str) -> Literal["1.0", "1.10"] | None:
    """The release that a version of torch names: 1.0, 1.0.0, 1.10, 1.10.2."""
    releases: dict[str, Literal["1.0", "1.10"]] = {"1.0": "1.0", "1.10": "1.10"}
    return releases.get(".".join(text.split(".")[:2]))
