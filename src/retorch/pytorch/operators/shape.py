"""Views, reorderings, selections and padding."""

from __future__ import annotations

from collections.abc import Mapping

from retorch.layers.base.layer import Refusal
from retorch.pytorch.operators.node import Node, Said, receiver
from retorch.pytorch.source import number


def _reshape(n: Node) -> str:
    wanted = n.ints(1)
    x = receiver(n)
    kept = [f"{x}.shape[{i}]" if d == 0 else str(d) for i, d in enumerate(wanted)]
    if wanted[:1] == [0] and -1 not in wanted:
        kept[0] = "-1" if 0 not in n.shape() else kept[0]
    if wanted == [0, -1]:
        return f"{x}.flatten(1)"
    return f"{x}.reshape({', '.join(kept)})"


def _transpose(n: Node) -> str:
    return f"{receiver(n)}.permute({', '.join(map(str, n.attribute('perm')))})"


def _squeeze(n: Node) -> str:
    text = receiver(n)
    for axis in sorted(n.ints(1), reverse=True):
        text += f".squeeze({axis})"
    return text


def _unsqueeze(n: Node) -> str:
    text = receiver(n)
    for axis in sorted(n.ints(1)):
        text += f".unsqueeze({axis})"
    return text


def _slice(n: Node) -> str:
    starts, ends = n.ints(1), n.ints(2)
    axes = n.ints(3) if n.has(3) else list(range(len(starts)))
    steps = n.ints(4) if n.has(4) else [1] * len(starts)
    text, sizes = receiver(n), n.shape()
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 0:
            if (start, end) != (-1, -(2**63)) and not (start >= sizes[axis] - 1 and end < -sizes[axis]):
                raise Refusal("takes a slice backwards from the middle")
            text += f".flip({axis})"
            text += f"[{':, ' * axis}::{-step}]" if step != -1 else ""
            continue
        if 0 <= start < end <= sizes[axis] and step == 1:
            text += f".narrow({axis}, {start}, {end - start})"
            continue
        first, last = str(start) if start else "", str(end) if end < 2**31 else ""
        text += f"[{':, ' * axis}{first}:{last}{f':{step}' if step != 1 else ''}]"
    return text


def _pad(n: Node) -> str:
    pads, rank = n.ints(1), n.rank()
    pairs = [p for axis in reversed(range(rank)) for p in (pads[axis], pads[axis + rank])]
    mode = n.attribute("mode", "constant")
    # PyTorch repeats what is at the edges of all dimensions of an image or a volume, and of no fewer
    fewest = 2 if mode == "constant" else 2 * max(1, rank - 2)
    while len(pairs) > fewest and pairs[-2:] == [0, 0]:
        pairs = pairs[:-2]
    value = float(n.array(2).ravel()[0]) if n.has(2) else 0.0
    if mode != "constant":
        return f'F.pad({n[0]}, {tuple(pairs)}, mode="{"replicate" if mode == "edge" else mode}")'
    return f"F.pad({n[0]}, {tuple(pairs)}{f', value={number(value)}' if value else ''})"


def _gather(n: Node) -> str:
    axis = n.attribute("axis", 0) % n.rank()
    if n.node.inputs[1] is not None and n.node.inputs[1].const_value is not None and n.array(1).size == 1:
        if n.array(1).ndim == 0:
            return f"{receiver(n)}.select({axis}, {int(n.array(1))})"
        # one index in a list keeps the dimension, which a number would take away
        return f"{receiver(n)}[{':, ' * axis}{n.array(1).tolist()}]"
    # PyTorch 1.10 takes no int32 as an index
    given = n.node.inputs[1]
    index = n[1] if given is not None and given.const_value is not None else f"{n[1]}.long()"
    return f"{receiver(n)}[{':, ' * axis}{index}]"


def _split(n: Node) -> str:
    axis = n.attribute("axis", 0)
    return f"{receiver(n)}.chunk({n.attribute('num_outputs')}, {axis})"


def _depth_to_space(n: Node) -> str:
    r = n.attribute("blocksize")
    if n.attribute("mode", "DCR") == "CRD":
        return f"F.pixel_shuffle({n[0]}, {r})"
    _, c, h, w = n.shape()
    block = f"{receiver(n)}.reshape(-1, {r}, {r}, {c // r // r}, {h}, {w}).permute(0, 3, 4, 1, 5, 2)"
    return f"{block}.reshape(-1, {c // r // r}, {h * r}, {w * r})"


OPERATORS: Mapping[str, Said] = {
    "Compress": lambda n: f"{receiver(n)}[{n[1]}]",
    "Concat": lambda n: f"torch.cat(({', '.join(n[i] for i in range(len(n)))},), {n.attribute('axis')})".replace(
        ",),", ")," if len(n) > 1 else ",),"
    ),
    "DepthToSpace": _depth_to_space,
    "Expand": lambda n: f"{receiver(n)}.expand({', '.join('-1' if d == 1 else str(d) for d in n.ints(1))})",
    "Gather": _gather,
    "GatherElements": lambda n: f"{receiver(n)}.gather({n.attribute('axis', 0)}, {n[1]})",
    "Identity": lambda n: n[0],
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": lambda n: f"{receiver(n)}.repeat({', '.join(map(str, n.ints(1)))})",
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
