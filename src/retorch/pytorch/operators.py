"""What each ONNX operator is in PyTorch: an expression of its operands, which are names, numbers or attributes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

import onnx_ir as ir

from retorch.layers.base.layer import Array, Refusal
from retorch.pytorch.source import number

INT64, BOOL = 7, 9


class Node:
    """An operator with its operands as source text."""

    def __init__(self, node: ir.Node, text: Callable[[ir.Value], str]) -> None:
        self.node = node
        self.kind = node.op_type
        self._text = text

    def __getitem__(self, i: int) -> str:
        value = self.node.inputs[i]
        if value is None:
            raise Refusal(f"{self.kind} lacks its operand {i}")
        return self._text(value)

    def __len__(self) -> int:
        return len(self.node.inputs)

    def has(self, i: int) -> bool:
        """Whether operand ``i`` is given."""
        return i < len(self) and self.node.inputs[i] is not None

    def array(self, i: int) -> Array:
        """Operand ``i``, which is a constant."""
        value = self.node.inputs[i]
        if value is None or value.const_value is None:
            raise Refusal(f"{self.kind} takes an operand that is no constant")
        return value.const_value.numpy()

    def ints(self, i: int) -> list[int]:
        """Operand ``i`` as whole numbers."""
        return [int(v) for v in self.array(i).ravel()]

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute, or its default."""
        found = self.node.attributes.get(name)
        return default if found is None else cast("Any", found).value

    def shape(self, i: int = 0) -> list[int]:
        """The sizes of operand ``i``."""
        value = self.node.inputs[i]
        shape = None if value is None else value.shape
        if shape is None or not shape.is_static():
            raise Refusal(f"{self.kind} takes an operand of unknown sizes")
        return [int(cast("int", d)) for d in shape]

    def rank(self, i: int = 0) -> int:
        """The number of dimensions of operand ``i``."""
        value = self.node.inputs[i]
        if value is None or value.shape is None:
            raise Refusal(f"{self.kind} takes an operand of unknown rank")
        return len(value.shape)

    def is_float(self, i: int = 0) -> bool:
        """Whether operand ``i`` holds floats."""
        value = self.node.inputs[i]
        return value is not None and value.dtype == ir.DataType.FLOAT


Said: TypeAlias = Callable[[Node], str]


def infix(sign: str) -> Said:
    return lambda n: f"{n[0]} {sign} {n[1]}"


def method(name: str, *more: str) -> Said:
    return lambda n: f"{receiver(n)}.{name}({', '.join(more)})"


def function(name: str) -> Said:
    return lambda n: f"{name}({', '.join(n[i] for i in range(len(n)))})"


def receiver(n: Node, i: int = 0) -> str:
    """An operand that a method is called on."""
    text = n[i]
    return text if text.replace("_", "").replace(".", "").isalnum() and not text[0].isdigit() else f"({text})"


def one_or_list(values: Sequence[int]) -> str:
    """``3`` for ``[3, 3]``, else ``(3, 5)``."""
    return str(values[0]) if len(set(values)) == 1 else str(tuple(values))


def _axes(n: Node, i: int) -> list[int]:
    return n.ints(i) if n.has(i) else list(range(n.rank()))


def reduction(name: str) -> Said:
    def said(n: Node) -> str:
        axes = _axes(n, 1)
        keep = ", keepdim=True" if n.attribute("keepdims", 1) else ""
        return f"{receiver(n)}.{name}({one_or_list(axes) if len(axes) == 1 else tuple(axes)}{keep})"

    return said


def extreme(name: str) -> Said:
    """Of equal ones, the first gets the gradient."""

    def said(n: Node) -> str:
        axes = _axes(n, 1)
        if len(axes) > 1:
            return reduction("a" + name)(n)
        keep = ", keepdim=True" if n.attribute("keepdims", 1) else ""
        return f"{receiver(n)}.{name}({axes[0]}{keep})[0]"

    return said


def _norm(order: int) -> Said:
    def said(n: Node) -> str:
        axes = _axes(n, 1)
        keep = ", keepdim=True" if n.attribute("keepdims", 1) else ""
        return f"torch.norm({n[0]}, {order}, dim={tuple(axes) if len(axes) > 1 else axes[0]}{keep})"

    return said


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
    while len(pairs) > 2 and pairs[-2:] == [0, 0]:
        pairs = pairs[:-2]
    mode = n.attribute("mode", "constant")
    value = float(n.array(2).ravel()[0]) if n.has(2) else 0.0
    if mode != "constant":
        return f'F.pad({n[0]}, {tuple(pairs)}, mode="{"replicate" if mode == "edge" else mode}")'
    return f"F.pad({n[0]}, {tuple(pairs)}{f', value={number(value)}' if value else ''})"


def _gather(n: Node) -> str:
    axis = n.attribute("axis", 0) % n.rank()
    if n.node.inputs[1] is not None and n.node.inputs[1].const_value is not None and n.array(1).ndim == 0:
        return f"{receiver(n)}.select({axis}, {int(n.array(1))})"
    return f"{receiver(n)}[{':, ' * axis}{n[1]}]"


def _gemm(n: Node) -> str:
    if n.attribute("transA", 0) or n.attribute("alpha", 1.0) != 1 or n.attribute("beta", 1.0) != 1:
        raise Refusal("holds a Gemm that nn.Linear does not say")
    weight = n[1] if n.attribute("transB", 0) else f"{receiver(n, 1)}.t()"
    return f"F.linear({n[0]}, {weight}{f', {n[2]}' if n.has(2) else ''})"


def _padded(n: Node, value: float = 0.0) -> tuple[str, list[int]]:
    """The input padded by hand where both ends differ, and the padding that is left for the operator."""
    pads = n.attribute("pads", [0] * 2 * (n.rank() - 2))
    half = len(pads) // 2
    before, after = list(pads[:half]), list(pads[half:])
    if before == after:
        return n[0], before
    pairs = [p for b, a in zip(reversed(before), reversed(after), strict=True) for p in (b, a)]
    return f"F.pad({n[0]}, {tuple(pairs)}{f', value={number(value)}' if value else ''})", [0] * half


def _options(**given: tuple[str, str]) -> str:
    return "".join(f", {name}={value}" for name, (value, default) in given.items() if value != default)


def _conv(n: Node) -> str:
    x, pads = _padded(n)
    rank = n.rank() - 2
    more = _options(
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
    more = _options(
        stride=(one_or_list(n.attribute("strides", [1] * rank)), "1"),
        padding=(one_or_list(pads[:rank]), "0"),
        output_padding=(one_or_list(n.attribute("output_padding", [0] * rank)), "0"),
        groups=(str(n.attribute("group", 1)), "1"),
        dilation=(one_or_list(n.attribute("dilations", [1] * rank)), "1"),
    )
    return f"F.conv_transpose{rank}d({n[0]}, {n[1]}{f', {n[2]}' if n.has(2) else ''}{more})"


def _max_pool(n: Node) -> str:
    kernel = n.attribute("kernel_shape")
    x, pads = _padded(n, float("-inf"))
    if any(2 * p > k for p, k in zip(pads, kernel, strict=True)):
        pairs = tuple(p for b in reversed(pads) for p in (b, b))
        x, pads = f"F.pad({x}, {pairs}, value={number(float('-inf'))})", [0] * len(pads)
    more = _options(
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
    stride = _options(stride=(one_or_list(strides), one_or_list(kernel)))
    if even and all(2 * p <= k for p, k in zip(pads, kernel, strict=False)):
        whole = "" if counted or not any(pads) else ", count_include_pad=False"
        padding = _options(padding=(one_or_list(pads[:half]), "0"))
        return f"F.avg_pool{half}d({n[0]}, {one_or_list(kernel)}{stride}{padding}{whole})"
    x, _ = _padded(n)
    if even:
        pairs = tuple(p for b in reversed(pads[:half]) for p in (b, b))
        x = f"F.pad({n[0]}, {pairs})"
    pooled = f"F.avg_pool{half}d({x}, {one_or_list(kernel)}{stride})"
    if counted:
        return pooled
    ones = x.replace(n[0], f"torch.ones_like({n[0]})", 1)
    return f"{pooled} / F.avg_pool{half}d({ones}, {one_or_list(kernel)}{stride})"


def _resize(n: Node) -> str:
    sizes, out = n.shape()[2:], n.node.outputs[0].shape
    scales = [float(v) for v in n.array(2).ravel()[2:]] if n.has(2) and n.array(2).size else []
    if n.attribute("mode") == "nearest":
        if not scales or any(s != int(s) for s in scales):
            raise Refusal("holds a nearest resize to a size that is no multiple")
        return f"F.interpolate({n[0]}, scale_factor={one_or_list([int(s) for s in scales])})"
    corners = n.attribute("coordinate_transformation_mode", "half_pixel") == "align_corners"
    if out is None:
        raise Refusal("resizes to sizes that are not known")
    wanted = tuple(int(cast("int", d)) for d in out)[2:]
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(sizes)]
    return f'F.interpolate({n[0]}, {wanted}, mode="{mode}", align_corners={corners})'


def _cast(n: Node) -> str:
    kind = {1: "float()", INT64: "long()", 6: "int()", BOOL: "bool()", 11: "double()"}[int(n.attribute("to"))]
    return f"{receiver(n)}.{kind}"


def _clip(n: Node) -> str:
    limits = [n[i] if n.has(i) else None for i in (1, 2)]
    named = zip(("min", "max"), limits, strict=True)
    return f"{receiver(n)}.clamp({', '.join(f'{name}={v}' for name, v in named if v is not None)})"


def _arg_max(n: Node) -> str:
    keep = ", keepdim=True" if n.attribute("keepdims", 1) else ""
    return f"{receiver(n)}.argmax({n.attribute('axis', 0)}{keep})"


def _split(n: Node) -> str:
    axis = n.attribute("axis", 0)
    return f"{receiver(n)}.chunk({n.attribute('num_outputs')}, {axis})"


def _batch_norm(n: Node) -> str:
    more = _options(eps=(number(n.attribute("epsilon", 1e-5)), "1e-05"))
    return f"F.batch_norm({n[0]}, {n[3]}, {n[4]}, {n[1]}, {n[2]}{more})".replace("eps=1e-5", "eps=1e-05")


def _softmax(name: str) -> Said:
    return lambda n: f"{receiver(n)}.{name}({n.attribute('axis', -1)})"


def _depth_to_space(n: Node) -> str:
    r = n.attribute("blocksize")
    if n.attribute("mode", "DCR") == "CRD":
        return f"F.pixel_shuffle({n[0]}, {r})"
    _, c, h, w = n.shape()
    block = f"{receiver(n)}.reshape(-1, {r}, {r}, {c // r // r}, {h}, {w}).permute(0, 3, 4, 1, 5, 2)"
    return f"{block}.reshape(-1, {c // r // r}, {h * r}, {w * r})"


def _nested(name: str) -> Said:
    def said(n: Node) -> str:
        text = n[0]
        for i in range(1, len(n)):
            text = f"torch.{name}({text}, {n[i]})"
        return text

    return said


def _lrn(n: Node) -> str:
    more = "".join(
        f", {name}={number(value)}"
        for name, value, default in (
            ("alpha", n.attribute("alpha", 1e-4), 1e-4),
            ("beta", n.attribute("beta", 0.75), 0.75),
            ("k", n.attribute("bias", 1.0), 1.0),
        )
        if abs(value - default) > 1e-9
    )
    return f"F.local_response_norm({n[0]}, {n.attribute('size')}{more})"


def _cells(n: Node) -> str:
    """A recurrent operator, by the function of its name in the library."""
    given = [n[0], n[1], n[2], n[3]]
    states = [(name, n[i]) for i, name in ((5, "h"), (6, "c")) if n.has(i)]
    if n.has(4):
        raise Refusal(f"cannot be said in PyTorch: its operator {n.kind} takes lengths")
    if n.kind == "GRU" and n.attribute("linear_before_reset", 0):
        states.append(("reset_after", "True"))
    if n.kind == "RNN" and n.attribute("activations", ["Tanh"])[0] == "Relu":
        states.append(("function", "torch.relu"))
    return f"{n.kind.lower()}({', '.join([*given, *(f'{name}={value}' for name, value in states)])})"


def _where(n: Node) -> str:
    # torch.where takes no numbers before PyTorch 1.12
    if _is_number(n[2]):
        return f"{receiver(n, 1)}.masked_fill(~{receiver(n)}, {n[2]})"
    if _is_number(n[1]):
        return f"{receiver(n, 2)}.masked_fill({n[0]}, {n[1]})"
    return f"torch.where({n[0]}, {n[1]}, {n[2]})"


def _is_number(text: str) -> bool:
    return text.lstrip("-")[:1].isdigit()


OPERATORS: Mapping[str, Said] = {
    "Abs": method("abs"),
    "Add": infix("+"),
    "And": infix("&"),
    "ArgMax": _arg_max,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Ceil": method("ceil"),
    "Clip": _clip,
    "Compress": lambda n: f"{receiver(n)}[{n[1]}]",
    "Concat": lambda n: f"torch.cat(({', '.join(n[i] for i in range(len(n)))},), {n.attribute('axis')})".replace(
        ",),", ")," if len(n) > 1 else ",),"
    ),
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Cos": method("cos"),
    "DepthToSpace": _depth_to_space,
    "Div": infix("/"),
    "Elu": lambda n: f"F.elu({n[0]}{_options(alpha=(number(n.attribute('alpha', 1.0)), '1.0'))})",
    "Equal": infix("=="),
    "Exp": method("exp"),
    "Expand": lambda n: f"{receiver(n)}.expand({', '.join('-1' if d == 1 else str(d) for d in n.ints(1))})",
    "Floor": method("floor"),
    "Gather": _gather,
    "GRU": _cells,
    "GatherElements": lambda n: f"{receiver(n)}.gather({n.attribute('axis', 0)}, {n[1]})",
    "Gemm": _gemm,
    "Greater": infix(">"),
    "GridSample": lambda n: f"F.grid_sample({n[0]}, {n[1]}, align_corners={bool(n.attribute('align_corners', 0))})",
    "Identity": lambda n: n[0],
    "InstanceNormalization": lambda n: (
        f"F.instance_norm({n[0]}, weight={n[1]}, bias={n[2]}, eps={number(n.attribute('epsilon', 1e-5))})"
    ),
    "LSTM": _cells,
    "LRN": _lrn,
    "LeakyRelu": lambda n: (
        f"F.leaky_relu({n[0]}{_options(negative_slope=(number(n.attribute('alpha', 0.01)), '0.01'))})"
    ),
    "Less": infix("<"),
    "LessOrEqual": infix("<="),
    "Log": method("log"),
    "LogSoftmax": _softmax("log_softmax"),
    "MatMul": infix("@"),
    "Max": _nested("maximum"),
    "MaxPool": _max_pool,
    "Min": _nested("minimum"),
    "Mul": infix("*"),
    "Neg": lambda n: f"-{receiver(n)}",
    "Not": lambda n: f"~{receiver(n)}",
    "PRelu": lambda n: f"torch.where({n[0]} > 0, {n[0]}, {n[0]} * {n[1]})",
    "Pad": _pad,
    "Pow": lambda n: f"{receiver(n)}.pow({n[1]})",
    "RNN": _cells,
    "ReduceL1": _norm(1),
    "ReduceL2": _norm(2),
    "ReduceMax": extreme("max"),
    "ReduceMean": reduction("mean"),
    "ReduceMin": extreme("min"),
    "ReduceSum": reduction("sum"),
    "Relu": method("relu"),
    "Reshape": _reshape,
    "Resize": _resize,
    "Shrink": lambda n: (
        f"F.softshrink({n[0]}, {number(n.attribute('lambd', 0.5))})"
        if n.attribute("bias", 0.0)
        else f"F.hardshrink({n[0]}, {number(n.attribute('lambd', 0.5))})"
    ),
    "Sigmoid": method("sigmoid"),
    "Sign": method("sign"),
    "Sin": method("sin"),
    "Slice": _slice,
    "Softmax": _softmax("softmax"),
    "Softplus": lambda n: f"F.softplus({n[0]})",
    "Softsign": lambda n: f"F.softsign({n[0]})",
    "Split": _split,
    "Sqrt": method("sqrt"),
    "Squeeze": _squeeze,
    "Sub": infix("-"),
    "Sum": lambda n: " + ".join(n[i] for i in range(len(n))),
    "Tanh": method("tanh"),
    "ThresholdedRelu": lambda n: f"F.threshold({n[0]}, {number(n.attribute('alpha', 1.0))}, 0.0)",
    "Tile": lambda n: f"{receiver(n)}.repeat({', '.join(map(str, n.ints(1)))})",
    "TopK": lambda n: f"{receiver(n)}.topk({n.ints(1)[0]}, {n.attribute('axis', -1)})",
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}


def said(node: ir.Node, text: Callable[[ir.Value], str]) -> str:
    """An operator as an expression.

    Raises:
        Refusal: PyTorch's word for it is not known here.
    """
    found = OPERATORS.get(node.op_type)
    if found is None:
        raise Refusal(f"cannot be said in PyTorch: its operator {node.op_type}")
    return found(Node(node, text))
