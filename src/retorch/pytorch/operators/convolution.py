"""Convolutions, plain and transposed."""

from __future__ import annotations

from collections.abc import Mapping

from retorch.layers.base.layer import Refusal
from retorch.pytorch.operators.node import Node, Said, one_or_list, options
from retorch.pytorch.source import number


def padded(n: Node, value: float = 0.0) -> tuple[str, list[int]]:
    """The input padded by hand where both ends differ, and the padding that is left for the operator."""
    pads = n.attribute("pads", [0] * 2 * (n.rank() - 2))
    half = len(pads) // 2
    before, after = list(pads[:half]), list(pads[half:])
    if before == after:
        return n[0], before
    pairs = [p for b, a in zip(reversed(before), reversed(after), strict=True) for p in (b, a)]
    return f"F.pad({n[0]}, {tuple(pairs)}{f', value={number(value)}' if value else ''})", [0] * half


def _conv(n: Node) -> str:
    x, pads = padded(n)
    rank = n.rank() - 2
    more = options(
        stride=(one_or_list(n.attribute("strides", [1] * rank)), "1"),
        padding=(one_or_list(pads), "0"),
        dilation=(one_or_list(n.attribute("dilations", [1] * rank)), "1"),
        groups=(str(n.attribute("group", 1)), "1"),
    )
    return f"F.conv{rank}d({x}, {n[1]}{f', {n[2]}' if n.has(2) else ''}{more})"


def _conv_transpose(n: Node) -> str:
    rank = n.rank() - 2
    pads = n.attribute("pads", [0] * 2 * rank)
    if pads[:rank] != pads[rank:]:
        raise Refusal("crops the two ends of a transposed convolution differently")
    more = options(
        stride=(one_or_list(n.attribute("strides", [1] * rank)), "1"),
        padding=(one_or_list(pads[:rank]), "0"),
        output_padding=(one_or_list(n.attribute("output_padding", [0] * rank)), "0"),
        groups=(str(n.attribute("group", 1)), "1"),
        dilation=(one_or_list(n.attribute("dilations", [1] * rank)), "1"),
    )
    return f"F.conv_transpose{rank}d({n[0]}, {n[1]}{f', {n[2]}' if n.has(2) else ''}{more})"


OPERATORS: Mapping[str, Said] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
}
