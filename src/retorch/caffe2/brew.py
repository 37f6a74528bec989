"""A net as ``model_helper``, ``brew`` and ``mobile_exporter`` of Caffe2 would have written it.

``brew`` has helpers for some operators, which add arguments of their own (``order``, flags of cuDNN) and the engine
CUDNN; CPUs pass over both. The table below says what each helper writes, in its order. All else is written as
``model.net.Operator(inputs, outputs, **arguments)`` would write it. ``docs/brew.md`` lists which calls these are, and
where what comes out still differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from retorch.caffe2.files import Caffe2Net
from retorch.caffe2.proto.caffe2_pb2 import Argument, NetDef, OperatorDef
from retorch.files.protobuf import Array

#: An argument of a helper: integers (a list, or one) or a string.
Setting: TypeAlias = tuple[str, int | Sequence[int] | str]
Rule: TypeAlias = "Callable[[OperatorDef, Arguments], OperatorDef]"
#: What an operator says, by name.
Arguments: TypeAlias = Mapping[str, Argument]

_ORDER: Setting = ("order", "NCHW")
_USE: Setting = ("use_cudnn", 1)
_SEARCH: Setting = ("cudnn_exhaustive_search", 0)
_CONV_SEARCH: Setting = ("exhaustive_search", 0)
_ENGINE = "CUDNN"


def as_brew(net: Caffe2Net) -> Caffe2Net:
    """The same net in other words: same operators in the same order, with brew's arguments, blobs and inputs.

    ``params`` come in the order of ``model.GetAllParams()``: means and variances last.
    """
    predict, params = NetDef(name=net.predict.name), dict(net.params)
    names: dict[str, str] = {}
    for op in net.predict.op:
        rule = _RULES.get(op.type, _plain)
        made = rule(op, {arg.name: arg for arg in op.arg})
        made.name = ""  # brew sets it, to nothing: a field that is there
        _complete(made, params)
        _rename_slope(made, params, names)
        predict.op.append(made)
    for op in predict.op:
        op.input[:] = [names.get(name, name) for name in op.input]
    read = dict.fromkeys(name for op in predict.op for name in op.input)
    used = [name for name in read if name in params]
    predict.external_input.extend([*net.inputs, *used])
    predict.external_output.extend(net.predict.external_output)
    computed = _computed(predict.op)
    ordered = [name for name in used if name not in computed] + [name for name in used if name in computed]
    return replace(net, predict=predict, params={name: params[name] for name in ordered})


def _computed(ops: Iterable[OperatorDef]) -> set[str]:
    """What model_helper calls computed parameters: the means and variances of batch normalization."""
    return {name for op in ops if op.type == "SpatialBN" for name in op.input[3:5]}


def _complete(op: OperatorDef, params: dict[str, Array]) -> None:
    """brew's transposed convolution has a bias always."""
    if op.type == "ConvTranspose" and op.engine and len(op.input) == 2:
        bias = f"{op.output[0]}_b"
        params[bias] = np.zeros(params[op.input[1]].shape[1], np.float32)
        op.input.append(bias)


def _rename_slope(op: OperatorDef, params: dict[str, Array], names: dict[str, str]) -> None:
    """brew calls the slopes of PRelu by its output."""
    if op.type != "PRelu" or op.input[1] in names:
        return
    slope = f"{op.output[0]}_slope"
    if op.input[1] in params and slope not in params:
        params[slope] = params.pop(op.input[1])
        names[op.input[1]] = slope


def _operator(op: OperatorDef, settings: Sequence[Setting | Argument], engine: str = "") -> OperatorDef:
    """The operator with other arguments."""
    made = OperatorDef(type=op.type, input=op.input, output=op.output)
    made.arg.extend(item if isinstance(item, Argument) else _argument(*item) for item in settings)
    if engine:
        made.engine = engine
    return made


def _argument(name: str, value: int | Sequence[int] | str) -> Argument:
    if isinstance(value, str):
        return Argument(name=name, s=value.encode())
    return Argument(name=name, i=value) if isinstance(value, int) else Argument(name=name, ints=value)


def _plain(op: OperatorDef, args: Arguments) -> OperatorDef:
    return _operator(op, list(args.values()))


def _given(args: Arguments, *names: str) -> list[Argument]:
    return [args[name] for name in names if name in args]


def _ints(args: Arguments, name: str) -> list[int]:
    return list(args[name].ints) if name in args else []


def _sizes(kind: str, sizes: Sequence[int], default: int, suffixes: str = "hw") -> list[Setting]:
    """One number where all are equal, none where it is the default; else one argument for each."""
    if all(size == default for size in sizes):
        return []
    if len(set(sizes)) == 1:
        return [(kind, sizes[0])]
    return [(f"{kind}_{suffix}", size) for suffix, size in zip(suffixes, sizes, strict=True)]


def _steps(args: Arguments) -> list[Setting]:
    """Stride, padding and dilation as a person writes them: what is the default is not there."""
    strides, pads, dilations = (_ints(args, name) for name in ("strides", "pads", "dilations"))
    if len(strides) == 2:
        return [*_sizes("stride", strides, 1), *_sizes("pad", pads, 0, "tlbr"), *_sizes("dilation", dilations, 1)]
    lists: list[tuple[str, list[int], int]] = [("strides", strides, 1), ("pads", pads, 0), ("dilations", dilations, 1)]
    return [(name, sizes) for name, sizes, default in lists if any(size != default for size in sizes)]


def _kernel(args: Arguments) -> list[Setting]:
    kernels = _ints(args, "kernels")
    return _sizes("kernel", kernels, 0) if len(kernels) == 2 else [("kernels", kernels)] if kernels else []


def _conv(op: OperatorDef, args: Arguments) -> OperatorDef:
    """``brew.conv``, or ``brew.conv_nd`` in other than two dimensions."""
    return _operator(op, [*_kernel(args), _ORDER, *_steps(args), _CONV_SEARCH, *_given(args, "group")], _ENGINE)


def _conv_transpose(op: OperatorDef, args: Arguments) -> OperatorDef:
    """``brew.conv_transpose``, which takes one size of a square kernel, and no groups."""
    kernels, adjs = _ints(args, "kernels"), _ints(args, "adjs")
    if len(kernels) != 2 or kernels[0] != kernels[1] or "group" in args:
        return _plain(op, args)
    return _operator(op, [*_kernel(args), _ORDER, *_steps(args), *_sizes("adj", adjs, 0), _CONV_SEARCH], _ENGINE)


def _pool(op: OperatorDef, args: Arguments) -> OperatorDef:
    """``brew.max_pool`` and ``brew.average_pool``."""
    rest = _given(args, "global_pooling", "count_include_pad")
    return _operator(op, [_ORDER, _SEARCH, *_kernel(args), *_steps(args), *rest], _ENGINE)


def _cudnn(op: OperatorDef, args: Arguments) -> OperatorDef:
    """``brew.relu``, ``brew.tanh``, ``brew.transpose``."""
    return _operator(op, [_ORDER, _SEARCH, *args.values()], _ENGINE)


def _softmax(op: OperatorDef, args: Arguments) -> OperatorDef:
    axis = [] if "axis" in args and args["axis"].i == 1 else _given(args, "axis")
    return _operator(op, [_ORDER, _SEARCH, *axis], _ENGINE)


def _flags(op: OperatorDef, args: Arguments) -> OperatorDef:
    """``brew.fc``, ``brew.sum``, ``brew.spatial_bn``: the flags become arguments, and no engine is picked."""
    return _operator(op, [_ORDER, _USE, _SEARCH, *args.values()])


def _lrn(op: OperatorDef, args: Arguments) -> OperatorDef:
    made = _operator(op, [_ORDER, _SEARCH, *args.values()])
    made.output.append(f"_{made.output[0]}_scale")
    return made


def _concat(op: OperatorDef, args: Arguments) -> OperatorDef:
    """``brew.concat`` with the axis, which it takes for none where it is 0."""
    return _operator(op, [_USE, _SEARCH, *args.values()]) if args["axis"].i else _plain(op, args)


_RULES: Mapping[str, Rule] = {
    "AveragePool": _pool,
    "Concat": _concat,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "FC": _flags,
    "LRN": _lrn,
    "MaxPool": _pool,
    "Relu": _cudnn,
    "Softmax": _softmax,
    "SpatialBN": _flags,
    "Sum": _flags,
    "Tanh": _cudnn,
    "Transpose": _cudnn,
}
