"""SpyNet as an object: a folder of levels and an engine, frames in, flow out."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from examples.spynet import levels, pyramid
from examples.spynet.pyramid import Array, Floats, LevelNetwork
from retorch.caffe2.emit.net import EmitOptions
from retorch.errors import UsageError


class SpyNet:
    """The pyramid in a folder of ``modelL1_F.t7`` …; a context manager, which stops the engine at its end."""

    def __init__(
        self,
        models: str | Path,
        *,
        family: str | None = None,
        engine: str = "embedded",
        levels: int | None = None,
        nnpack: bool = False,
        cache: str | Path | None = None,
    ) -> None:
        """Choose the models and how they run.

        Args:
            models: the folder of levels.
            family: "F", "C", "K", "3" or "4"; None where the folder holds one set only.
            engine: "embedded" (onnxruntime), or "caffe2", "caffe2-1.0.0", "caffe2-1.10.2" (the real one).
            levels: how many levels to use; None picks by the frames' size, as the original does.
            nnpack: ask Caffe2 for its NNPACK engine, which is many times faster on 7×7 convolutions.
            cache: the folder for converted levels; None is the user's cache.

        Raises:
            UsageError: an engine that is not there, a number of levels that is none.
        """
        if levels is not None and not 1 <= levels <= pyramid.MOST_LEVELS:
            raise UsageError(f"a pyramid has 1 to {pyramid.MOST_LEVELS} levels, not {levels}")
        self.models = Path(models)
        self.family = family
        self.level_count = levels
        self.options = EmitOptions(nnpack=nnpack, in_place=nnpack)
        self._cache = Path(cache) if cache is not None else None
        self._engine = _engine(engine)
        self._networks: dict[int, list[LevelNetwork]] = {}

    def flow(self, frame1: Array, frame2: Array) -> Floats:
        """Where the pixels of the first frame are in the second.

        Args:
            frame1: (H, W, 3), RGB, bytes or floats in 0…1, of any size from one pixel up.
            frame2: the same size.

        Returns:
            (2, H, W) float32: u to the right and v down, in pixels.

        Raises:
            UsageError: frames that do not fit each other, levels that are missing.
        """
        same_size(frame1, frame2)
        found = self.flows(frame1, frame2)[-1]
        return pyramid.restored(found, *frame1.shape[:2])

    def flows(self, frame1: Array, frame2: Array) -> list[Floats]:
        """The flow of every level, coarsest first, at the size of that level."""
        same_size(frame1, frame2)
        first, second = pyramid.prepared(frame1), pyramid.prepared(frame2)
        return pyramid.flows(first, second, self.networks(self.count(*frame1.shape[:2])))

    def count(self, height: int, width: int) -> int:
        """How many levels frames of this size take."""
        return self.level_count or pyramid.levels_for(height, width)

    def files(self, count: int) -> list[Path]:
        """The ``.t7`` files of levels 1 … count. UsageError where one is missing."""
        return levels.find(self.models, count, self.family)

    def networks(self, count: int) -> list[LevelNetwork]:
        """The networks of levels 1 … count, converted and ready to run."""
        if count not in self._networks:
            cache = self._cache or levels.default_cache()
            folders = [levels.converted(path, cache, self.options) for path in self.files(count)]
            self._networks[count] = [self._network(folder) for folder in folders]
        return self._networks[count]

    def _network(self, folder: Path) -> LevelNetwork:
        return lambda stack: self._engine.run(folder, stack)

    def run_file(self, path: str | Path, frame1: Array, frame2: Array) -> Floats:
        """The flow by a network that holds the whole pyramid, as :mod:`examples.spynet.whole` writes it."""
        same_size(frame1, frame2)
        return self._engine.run(Path(path), pyramid.channels(frame1)[None], pyramid.channels(frame2)[None])[0]

    def close(self) -> None:
        """Stop the engine."""
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


#: The parameter ``levels`` hides the module of that name.
_engine = levels.engine


def same_size(frame1: Array, frame2: Array) -> None:
    """UsageError where the frames differ in size."""
    if frame1.shape != frame2.shape:
        one, two = (f"{frame.shape[1]} × {frame.shape[0]}" if frame.ndim == 3 else "none" for frame in (frame1, frame2))
        raise UsageError(f"the frames differ in size: {one} and {two}", hint="bring them to one size first")
