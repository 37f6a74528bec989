"""``python -m examples.spynet MODELS FRAME1 FRAME2 -o OUT``: the flow between two pictures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from examples.spynet import levels, whole
from examples.spynet.application import SpyNet
from examples.spynet.colors import longest
from examples.spynet.flofile import write_flo
from examples.spynet.pictures import flow_picture, overview, read_frame
from examples.spynet.pyramid import Array
from examples.spynet.sequence import flow_of_sequence
from retorch.apply.pictures import write_picture
from retorch.cli.progress import progress
from retorch.errors import RetorchError, UsageError

#: How far the whole network may be from the levels one by one, in pixels: float32 rounds in another order there.
TOLERANCE = 1e-2
DONE, DIFFERS, UNUSABLE, UNREADABLE = 0, 1, 2, 3


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    families = "; ".join(f"{key} {name}" for key, name in levels.FAMILIES.items())
    made = argparse.ArgumentParser("python -m examples.spynet", description="Optical flow with SpyNet.")
    made.add_argument("models", type=Path, help="folder of modelL1_F.t7 … modelL6_F.t7")
    made.add_argument("frames", type=Path, nargs="*", metavar="frame", help="two pictures of one size")
    made.add_argument("-o", "--output", type=Path, required=True, help="folder for the results")
    made.add_argument("--set", choices=list(levels.FAMILIES), help=f"set of models: {families}")
    made.add_argument("--engine", default="embedded", help="embedded, caffe2, caffe2-1.0.0 or caffe2-1.10.2")
    made.add_argument("--nnpack", action="store_true", help="let Caffe2 use NNPACK for its convolutions")
    made.add_argument("--levels", type=int, help="how many levels; by default the size of the frames decides")
    made.add_argument("--video", metavar="PATTERN", help="a sequence instead of two frames: in/%%04d.png")
    made.add_argument("--to", choices=["onnx", "caffe2"], help="also write the whole pyramid as one network")
    made.add_argument("--size", metavar="WxH", help="frames' size for --to, where no frames are given: 512x384")
    made.add_argument("--max-flow", type=float, metavar="PX", help="length of flow that has the full colour")
    made.add_argument("--cache", type=Path, help="folder for converted levels")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 done, 1 numbers differ, 2 unusable arguments, 3 unreadable files."""
    asked = parser().parse_args(argv)
    try:
        return _run(asked)
    except (RetorchError, OSError) as error:
        told = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
        print(f"error: {told}", file=sys.stderr)
        if isinstance(error, RetorchError) and error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return UNUSABLE if isinstance(error, UsageError) else UNREADABLE


def _run(asked: argparse.Namespace) -> int:
    _check(asked)
    asked.output.mkdir(parents=True, exist_ok=True)
    with SpyNet(
        asked.models,
        family=asked.set,
        engine=asked.engine,
        levels=asked.levels,
        nnpack=asked.nnpack,
        cache=asked.cache,
    ) as spynet:
        if asked.video:
            return _video(spynet, asked)
        if not asked.frames:
            _write_whole(spynet, asked, *_size(asked.size))
            return DONE
        return _pair(spynet, asked)


def _check(asked: argparse.Namespace) -> None:
    """UsageError for arguments that do not go together."""
    if asked.video and (asked.frames or asked.to):
        raise UsageError("--video takes its frames from its pattern, and goes with neither frames nor --to")
    if asked.frames and len(asked.frames) != 2:
        raise UsageError(f"a flow takes two frames, not {len(asked.frames)}")
    if not asked.video and not asked.frames and not (asked.to and asked.size):
        raise UsageError("nothing to do", hint="give two frames, or --video in/%04d.png, or --to onnx --size 512x384")
    if asked.frames and asked.size:
        raise UsageError("--size is for --to without frames; frames have a size")
    if asked.to == "onnx" and asked.frames and asked.engine != "embedded":
        raise UsageError("the real Caffe2 runs Caffe2 files, not ONNX", hint="--to caffe2, or --engine embedded")
    if asked.max_flow is not None and not 0 < asked.max_flow < np.inf:
        raise UsageError(f"--max-flow {asked.max_flow}: a length is more than 0")


def _size(text: str) -> tuple[int, int]:
    """``512x384`` as height and width."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise UsageError(f"--size {text}: not a width and a height", hint="for example --size 512x384")
    width, height = map(int, parts)
    return height, width


def _pair(spynet: SpyNet, asked: argparse.Namespace) -> int:
    frames = [read_frame(path) for path in asked.frames]
    flow = spynet.flow(frames[0], frames[1])
    write_flo(asked.output / "flow.flo", flow)
    write_picture(asked.output / "flow.png", flow_picture(flow, asked.max_flow))
    write_picture(asked.output / "overview.png", overview(frames[0], frames[1], flow, asked.max_flow))
    height, width = flow.shape[1:]
    count = spynet.count(height, width)
    print(f"{asked.output}: flow.flo flow.png overview.png")
    print(f"{width} × {height} pixels, {count} levels, flow up to {longest(flow):.3g} px")
    if not asked.to:
        return DONE
    return _compare(spynet, _write_whole(spynet, asked, height, width), frames, flow)


def _compare(spynet: SpyNet, path: Path, frames: Sequence[Array], flow: Array) -> int:
    """The one network, read back from disk, against the levels one by one."""
    apart = float(np.abs(spynet.run_file(path, frames[0], frames[1]) - flow).max())
    print(f"{path}: within {apart:.1e} px of the levels one by one")
    if apart <= TOLERANCE:
        return DONE
    print(f"error: {path}: that is more than {TOLERANCE} px", file=sys.stderr)
    return DIFFERS


def _write_whole(spynet: SpyNet, asked: argparse.Namespace, height: int, width: int) -> Path:
    count = spynet.count(height, width)
    network = whole.build(spynet.files(count), height, width)
    path: Path = asked.output / ("spynet.onnx" if asked.to == "onnx" else "caffe2")
    if asked.to == "caffe2":
        path.mkdir(exist_ok=True)
    network.save(path, format=asked.to, options=spynet.options)
    print(f"{path}: {count} levels in one network for frames of {width} × {height}")
    return path


def _video(spynet: SpyNet, asked: argparse.Namespace) -> int:
    with progress() as watch:
        made = flow_of_sequence(spynet, asked.video, asked.output, asked.max_flow, partial(watch, "pairs"))
    print(f"{asked.output}: {len(made)} flows, {made[0].name} … {made[-1].name}, each with a picture")
    return DONE


if __name__ == "__main__":
    raise SystemExit(main())
