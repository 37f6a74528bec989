"""Poolings, with the padding spelled out where PyTorch's own has another meaning."""

from __future__ import annotations

from collections.abc import Mapping

from retorch.pytorch.operators.convolution import padded
from retorch.pytorch.operators.node import Node, Said, one_or_list, options
from retorch.pytorch.source import number


def _max_pool(n: Node) -> str:
    kernel = n.attribute("kernel_shape")
    x, pads = padded(n, float("-inf"))
    if any(2 * p > k for p, k in zip(pads, kernel, strict=True)):
        pairs = tuple(p for b in reversed(pads) for p in (b, b))
        x, pads = f"F.pad({x}, {pairs}, value={number(float('-inf'))})", [0] * len(pads)
    more = options(
        stride=(one_or_list(n.attribute("strides", [1] * len(kernel))), one_or_list(kernel)),
        padding=(one_or_list(pads), "0"),
        dilation=(one_or_list(n.attribute("dilations", [1] * len(kernel))), "1"),
    )
    return f"F.max_pool{len(kernel)}d({x}, {one_or_list(kernel)}{more})"


def _average_pool(n: Node) -> str:
    kernel, counted = n.attribute("kernel_shape"), n.attribute("count_include_pad", 0)
    pads = n.attribute("pads", [0] * 2 * len(kernel))
    half = len(kernel)
    even = pads[:half] == pads[half:]
    strides = n.attribute("strides", [1] * half)
    stride = options(stride=(one_or_list(strides), one_or_list(kernel)))
    if even and all(2 * p <= k for p, k in zip(pads, kernel, strict=False)):
        whole = "" if counted or not any(pads) else ", count_include_pad=False"
        padding = options(padding=(one_or_list(pads[:half]), "0"))
        return f"F.avg_pool{half}d({n[0]}, {one_or_list(kernel)}{stride}{padding}{whole})"
    x, _ = padded(n)
    if even:
        pairs = tuple(p for b in reversed(pads[:half]) for p in (b, b))
        x = f"F.pad({n[0]}, {pairs})"
    pooled = f"F.avg_pool{half}d({x}, {one_or_list(kernel)}{stride})"
    if counted:
        return pooled
    ones = x.replace(n[0], f"torch.ones_like({n[0]})", 1)
    return f"{pooled} / F.avg_pool{half}d({ones}, {one_or_list(kernel)}{stride})"


OPERATORS: Mapping[str, Said] = {
    "AveragePool": _average_pool,
    "MaxPool": _max_pool,
}
