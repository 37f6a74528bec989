"""Rows for operators with weights and windows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from caffe2.emit_cases import Array, Row, c, d, f, w


def lrn(size: int, alpha: float) -> Callable[[Array], Array]:
    """ONNX's formula with its defaults for beta and bias, channel by channel in float64."""

    def formula(x: Array) -> Array:
        x = x.astype(np.float64)
        sums = np.stack(
            [(x[:, max(0, c - (size - 1) // 2) : c + size // 2 + 1] ** 2).sum(1) for c in range(x.shape[1])], 1
        )
        return x / (1 + alpha / size * sums) ** 0.75

    return formula


def transposed(x: Array, kernel: Array, bias: Array, stride: int, dilation: int, more: tuple[int, int]) -> Array:
    """A transposed convolution in float64: every element adds its multiple of the kernel to the result."""
    reach = (kernel.shape[2] - 1) * dilation + 1
    sizes = [(n - 1) * stride + reach + extra for n, extra in zip(x.shape[2:], more, strict=True)]
    y = np.zeros((len(x), kernel.shape[1], *sizes)) + bias[:, None, None]
    for row, column in np.ndindex(*x.shape[2:]):
        part = np.einsum("ni,iokl->nokl", x[:, :, row, column].astype(np.float64), kernel)
        top, left = row * stride, column * stride
        y[:, :, top : top + reach : dilation, left : left + reach : dilation] += part
    return y


def instances(x: Array, gain: Array, bias: Array) -> Array:
    """Instance normalisation in float64."""
    x = x.astype(np.float64)
    deviation = np.sqrt(x.var((2, 3), keepdims=True) + 1e-5)
    return (x - x.mean((2, 3), keepdims=True)) / deviation * gain[:, None, None] + bias[:, None, None]


ROWS = [
    # 1000 in float32 is known to 6e-5 only, so that is how well its deviations of 16 can be known
    Row("InstanceNormalization", [d(2, 3, 80, 70, scale=16.0, shift=1000.0), w(3), w(3)], formula=instances),
    Row("Conv", [d(2, 3, 9, 8), w(4, 3, 3, 3), w(4)], "Conv", {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
    Row("Conv", [d(2, 3, 9, 8), w(4, 3, 3, 3)], "Conv", {"dilations": [2, 3]}),
    Row("Conv", [d(2, 4, 9, 8), w(6, 2, 3, 1), w(6)], "Conv", {"group": 2, "kernel_shape": [3, 1]}),
    Row("Conv", [d(2, 4, 9, 8), w(4, 1, 3, 3), w(4)], "Conv", {"group": 4, "dilations": [2, 2]}),
    Row("Conv", [d(2, 3, 11), w(4, 3, 4), w(4)], "Conv", {"pads": [2, 1], "dilations": [2], "strides": [3]}),
    Row("Conv", [d(2, 3, 5, 6, 7), w(4, 3, 2, 3, 2), w(4)], "Conv", {"pads": [1, 0, 2, 0, 1, 1], "strides": [2, 1, 2]}),
    Row("Conv", [d(2, 4, 5, 6, 7), w(4, 2, 2, 2, 2)], "Conv", {"group": 2, "dilations": [1, 2, 3]}),
    Row("Conv", [d(1, 2, 8, 8), d(3, 2, 3, 3)], "Conv", fixed=True),
    Row(
        "ConvTranspose",
        [d(2, 3, 5, 4), w(3, 4, 3, 3), w(4)],
        "ConvTranspose",
        {"strides": [2, 3], "pads": [1, 0, 0, 2]},
    ),
    Row(
        "ConvTranspose", [d(2, 3, 5, 4), w(3, 4, 3, 2)], "ConvTranspose", {"strides": [2, 2], "output_padding": [1, 1]}
    ),
    Row(
        "ConvTranspose",
        [d(2, 3, 5, 4), w(3, 4, 3, 3), w(4)],
        "ConvTranspose",
        {"dilations": [2, 3], "pads": [1, 1, 2, 2]},
    ),
    Row(
        "ConvTranspose",
        [d(2, 3, 5, 4), w(3, 4, 3, 3), w(4)],
        "ConvTranspose",
        {"dilations": [3, 3], "strides": [2, 2], "output_padding": [2, 1]},
        formula=lambda x, kernel, bias: transposed(x, kernel, bias, 2, 3, (2, 1)),
    ),
    Row(
        "ConvTranspose",
        [d(2, 4, 5, 4), w(4, 3, 3, 3), w(6)],
        "Split ConvTranspose ConvTranspose Concat",
        {"group": 2, "strides": [2, 1], "output_padding": [1, 0]},
    ),
    Row("ConvTranspose", [d(2, 4, 5, 4), w(4, 1, 3, 3)], "Split" + 4 * " ConvTranspose" + " Concat", {"group": 4}),
    Row(
        "ConvTranspose",
        [d(2, 3, 7), w(3, 4, 3), w(4)],
        "ExpandDims ConvTranspose Squeeze",
        {"strides": [3], "pads": [1, 0], "output_padding": [2], "dilations": [2]},
    ),
    Row(
        "ConvTranspose",
        [d(2, 3, 3, 4, 5), w(3, 4, 2, 3, 3), w(4)],
        "Reshape ConvTranspose Reshape ConvTranspose Reshape Conv",
        {"strides": [2, 1, 3], "pads": [0, 1, 1, 1, 0, 2], "output_padding": [1, 0, 2]},
    ),
    Row(
        "ConvTranspose",
        [d(2, 4, 3, 4, 5), w(4, 3, 1, 2, 3), w(6)],
        "",
        {"strides": [2, 2, 2], "group": 2, "pads": [1, 1, 1, 1, 2, 1], "dilations": [1, 1, 2]},
    ),
    Row("MaxPool", [d(2, 3, 9, 8)], "MaxPool", {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 2, 1]}),
    Row("MaxPool", [d(2, 3, 9, 8)], "MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    Row(
        "MaxPool",
        [d(2, 3, 8, 9)],
        "MaxPool",
        {"kernel_shape": [2, 3], "strides": [3, 3], "pads": [0, 1, 0, 1], "ceil_mode": 1},
    ),
    Row("MaxPool", [d(2, 3, 13)], "MaxPool", {"kernel_shape": [4], "strides": [3], "ceil_mode": 1}),
    Row(
        "MaxPool",
        [d(2, 3, 5, 6, 7)],
        "MaxPool",
        {"kernel_shape": [3, 2, 2], "strides": [2, 2, 3], "pads": [1, 0, 1, 0, 1, 1]},
    ),
    Row(
        "MaxPool",
        [d(2, 3, 9, 8)],
        "",
        {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 0], "dilations": [2, 3]},
    ),
    Row(
        "MaxPool", [d(2, 3, 9, 8)], "", {"kernel_shape": [3, 2], "strides": [2, 3], "dilations": [2, 3], "ceil_mode": 1}
    ),
    Row("MaxPool", [d(2, 3, 14)], "", {"kernel_shape": [3], "strides": [2], "pads": [2, 2], "dilations": [3]}),
    Row("MaxPool", [d(2, 2, 5, 6, 7)], "", {"kernel_shape": [2, 2, 3], "dilations": [2, 1, 2], "strides": [1, 2, 1]}),
    Row(
        "AveragePool", [d(2, 3, 9, 8)], "AveragePool", {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 2, 1]}
    ),
    Row(
        "AveragePool",
        [d(2, 3, 9, 8)],
        "PadImage AveragePool",
        {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 2, 1], "count_include_pad": 1},
    ),
    Row("AveragePool", [d(2, 3, 9, 8)], "AveragePool", {"kernel_shape": [3, 3], "count_include_pad": 1}),
    Row("AveragePool", [d(2, 3, 8, 8)], "AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    Row(
        "AveragePool",
        [d(2, 3, 8, 8)],
        "PadImage AveragePool",
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1, "count_include_pad": 1},
    ),
    Row("AveragePool", [d(2, 3, 13)], "AveragePool", {"kernel_shape": [4], "strides": [3], "pads": [1, 2]}),
    Row(
        "AveragePool", [d(2, 3, 13)], "", {"kernel_shape": [4], "strides": [3], "pads": [1, 2], "count_include_pad": 1}
    ),
    Row("AveragePool", [d(2, 3, 5, 6, 7)], "AveragePool", {"kernel_shape": [3, 2, 2], "strides": [2, 2, 3]}),
    Row(
        "AveragePool",
        [d(2, 3, 5, 6, 7)],
        "",
        {"kernel_shape": [3, 2, 2], "pads": [1, 0, 1, 0, 1, 1], "count_include_pad": 1},
    ),
    Row("AveragePool", [d(2, 3, 9, 8)], "Conv", {"kernel_shape": [3, 2], "dilations": [2, 1]}),
    Row("GlobalAveragePool", [d(2, 3, 9, 8)], "AveragePool"),
    Row("GlobalAveragePool", [d(2, 3, 9)], "AveragePool"),
    Row("GlobalAveragePool", [d(2, 3, 4, 5, 6)], "AveragePool"),
    Row("GlobalMaxPool", [d(2, 3, 9, 8)], "MaxPool"),
    Row(
        "LpPool",
        [d(2, 3, 9, 8)],
        "Sqr PadImage AveragePool Scale Sqrt",
        {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "p": 2},
    ),
    Row("LpPool", [d(2, 3, 9, 8)], "", {"kernel_shape": [3, 2], "strides": [2, 2], "p": 3}),
    Row("GlobalLpPool", [d(2, 3, 9, 8)], "", {"p": 3}),
    Row(
        "BatchNormalization",
        [d(2, 3, 5, 4), w(3), w(3), w(3), w(3, positive=True, shift=0.1)],
        "SpatialBN",
        {"epsilon": 1e-3},
    ),
    Row(
        "BatchNormalization",
        [d(2, 3), w(3), w(3), w(3), w(3, positive=True, shift=0.1)],
        "ExpandDims SpatialBN Squeeze",
    ),
    Row("BatchNormalization", [d(2, 3, 6), w(3), w(3), w(3), w(3, positive=True, shift=0.1)], "SpatialBN"),
    Row("BatchNormalization", [d(2, 3, 2, 3, 4), w(3), w(3), w(3), w(3, positive=True, shift=0.1)], "SpatialBN"),
    Row(
        "BatchNormalization",
        [d(2, 3, 5, 4), w(3), w(3), w(3), w(3, positive=True, shift=0.1)],
        "Mul Add",
        {"epsilon": 0.0},
    ),
    Row("InstanceNormalization", [d(2, 3, 5, 4, shift=2.0), w(3), w(3)], "", {"epsilon": 1e-3}),
    Row("InstanceNormalization", [d(2, 3, 17), w(3), w(3)], ""),
    Row("LayerNormalization", [d(2, 3, 5, 4), w(5, 4), w(5, 4)], "", {"axis": 2}),
    Row("LayerNormalization", [d(2, 7), w(7)], ""),
    Row("GroupNormalization", [d(2, 6, 5, 4), w(6), w(6)], "", {"num_groups": 3, "epsilon": 1e-4}),
    Row("LpNormalization", [d(2, 3, 5)], "ReduceL2 Div", {"axis": 1}),
    Row("LpNormalization", [d(2, 3, 5)], "ReduceL1 Div", {"p": 1}),
    Row("MeanVarianceNormalization", [d(2, 3, 5, 4)], "", {"axes": [0, 2, 3]}),
    Row("LRN", [d(2, 7, 5, 4, scale=3.0)], "LRN", {"size": 5, "alpha": 0.5, "beta": 0.6, "bias": 2.0}),
    Row("LRN", [d(2, 7, 5, 4, scale=3.0)], "", {"size": 4, "alpha": 0.5}, formula=lrn(4, 0.5)),
    Row("LRN", [d(2, 7, 5)], "Reshape LRN Reshape", {"size": 3, "alpha": 0.5}, formula=lrn(3, 0.5)),
    Row("LRN", [d(2, 7, 2, 3, 4)], "", {"size": 2, "alpha": 0.5}, formula=lrn(2, 0.5)),
    Row("Gemm", [d(2, 5), w(4, 5), w(4)], "FC", {"transB": 1}),
    Row("Gemm", [d(2, 5), w(5, 4), w(1, 4)], "FC", {"alpha": 0.5, "beta": 2.0}),
    Row("Gemm", [d(2, 5), w(4, 5)], "FC", {"transB": 1}),
    Row("Gemm", [d(2, 5), w(4, 5), f(0.5)], "FC", {"transB": 1}),
    Row("Gemm", [d(5, 2), w(4, 5), w(4)], "Transpose FC", {"transA": 1, "transB": 1}, fixed=True),
    Row("Gemm", [d(2, 5), d(3, 5), d(2, 3)], "MatMul Scale Add", {"transB": 1, "alpha": 2.0}, fixed=True),
    Row("MatMul", [d(2, 5), w(5, 4)], "MatMul"),
    Row("MatMul", [d(2, 3, 5), w(5, 4)], "BatchMatMul"),
    Row("MatMul", [d(2, 3, 5), d(2, 5, 4)], "BatchMatMul"),
    Row("MatMul", [w(3, 5), d(2, 5, 4)], "BatchMatMul"),
    Row("MatMul", [d(2, 1, 3, 5), d(6, 5, 4)], "", fixed=True),
    Row("MatMul", [d(2, 3, 4, 5), d(2, 1, 5, 4)], ""),
    Row("MatMul", [d(1, 3, 5), d(6, 5, 4)], "", fixed=True),
    Row("MatMul", [d(2, 6, 3, 5), w(6, 5, 4)], "BatchMatMul"),
    Row("MatMul", [d(5), w(5, 4)], "", fixed=True),
    Row("MatMul", [d(2, 5), w(5)], ""),
    Row("MatMul", [d(2, 3, 5), w(5)], ""),
    Row("MatMul", [d(5), w(5)], "", fixed=True),
    Row(
        "Resize",
        [d(2, 3, 4, 5), None, f(1, 1, 2, 3)],
        "ResizeNearest",
        {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    ),
    Row("Resize", [d(2, 3, 4, 5), None, f(1, 1, 2, 3)], "ResizeNearest", {"mode": "nearest"}),
    Row("Resize", [d(2, 3, 4, 5), None, f(1, 1, 1.5, 0.7)], "", {"mode": "nearest"}),
    Row("Resize", [d(2, 3, 4), None, f(1, 1, 3)], "", {"mode": "nearest"}),
    Row("Resize", [d(2, 3, 2, 3, 4), None, f(1, 1, 2, 3, 2)], "", {"mode": "nearest"}),
    Row(
        "Resize",
        [d(2, 3, 4, 5), None, None, c(2, 3, 9, 8)],
        "UpsampleBilinear",
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
        fixed=True,
    ),
    Row(
        "Resize",
        [d(2, 3, 7, 9), None, f(1, 1, 0.6, 0.5)],
        "UpsampleBilinear",
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    ),
    Row("Resize", [d(2, 3, 4, 5), None, f(1, 1, 2, 1.5)], "", {"mode": "linear"}),
    Row(
        "Resize",
        [d(2, 3, 4, 5), None, f(1, 1, 2, 1.5)],
        "",
        {"mode": "linear", "coordinate_transformation_mode": "asymmetric"},
    ),
    Row(
        "Resize",
        [d(2, 3, 4), None, f(1, 1, 2.5)],
        "",
        {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"},
    ),
    Row(
        "Resize",
        [d(2, 2, 3, 4, 5), None, f(1, 1, 2, 2, 2)],
        "",
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    ),
    Row("Resize", [d(2, 3, 4, 5), None, f(1, 1, 2, 1.5)], "", {"mode": "cubic"}),
    Row("LSTM", [d(5, 2, 3), w(1, 16, 3), w(1, 16, 4), w(1, 32)], "", {"hidden_size": 4}, outputs=3, fixed=True),
    Row(
        "LSTM",
        [d(5, 2, 3), w(2, 16, 3), w(2, 16, 4), w(2, 32), None, d(2, 2, 4), d(2, 2, 4)],
        "",
        {"hidden_size": 4, "direction": "bidirectional"},
        outputs=3,
        fixed=True,
    ),
    Row("LSTM", [d(1, 2, 3), w(1, 16, 3), w(1, 16, 4)], "", {"hidden_size": 4}, outputs=1, fixed=True),
    Row(
        "GRU",
        [d(5, 2, 3), w(1, 12, 3), w(1, 12, 4), w(1, 24)],
        "",
        {"hidden_size": 4, "direction": "reverse"},
        outputs=2,
        fixed=True,
    ),
    Row(
        "GRU",
        [d(5, 2, 3), w(2, 12, 3), w(2, 12, 4), w(2, 24), None, d(2, 2, 4)],
        "",
        {"hidden_size": 4, "direction": "bidirectional", "linear_before_reset": 1},
        outputs=2,
        fixed=True,
    ),
    Row(
        "GRU",
        [d(3, 2, 3), w(1, 12, 3), w(1, 12, 4), w(1, 24)],
        "",
        {"hidden_size": 4, "linear_before_reset": 1},
        outputs=2,
        fixed=True,
    ),
    Row(
        "RNN",
        [d(5, 2, 3), w(1, 4, 3), w(1, 4, 4), w(1, 8), None, w(1, 2, 4)],
        "",
        {"hidden_size": 4},
        outputs=2,
        fixed=True,
    ),
    Row(
        "RNN",
        [d(5, 2, 3), w(1, 4, 3), w(1, 4, 4), w(1, 8)],
        "",
        {"hidden_size": 4, "activations": ["Relu"]},
        outputs=2,
        fixed=True,
    ),
    *(
        Row(
            "GridSample",
            [d(2, 3, 5, 6), d(2, 4, 7, 2, scale=0.7)],
            "",
            {"mode": mode, "padding_mode": padding, "align_corners": corners},
        )
        for mode in ("linear", "nearest")
        for padding in ("zeros", "border", "reflection")
        for corners in (0, 1)
    ),
]
