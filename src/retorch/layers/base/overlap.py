"""Modules that find their input in the memory of their own last output.

It takes a module used twice with in-place layers between: ``conv, ReLU(true), conv``. Torch's code then reads from
where it writes to.
"""

from __future__ import annotations

#: Why the others are refused.
OVERLAP = "is used again on its own output, changed in place: Torch would read there what it is writing"

#: Classes whose code reads all that an output element depends on before it writes any of that memory: element by
#: element, plane by plane (SpatialConvolutionMM unfolds an image first), or by way of a copy.
READ_BEFORE_WRITTEN = frozenset(
    """
    Abs Add AddConstant BatchNormalization CAdd CELU CMul Clamp Clip ClippedReLU ConstAffine Contiguous Copy Dropout ELU
    Exp GradientReversal HardShrink HardTanh Identity InstanceNormalization L1Penalty LeakyReLU Log LogSigmoid
    LogSoftMax Minus Mul MulConstant PReLU Power PrintSize RReLU ReLU ReLU6 ReLUInPlace Reshape Sigmoid SoftMax SoftMin
    SoftPlus SoftShrink SoftSign SpatialBatchNormalization SpatialConvolution SpatialConvolutionMM SpatialDropout
    SpatialLogSoftMax SpatialSoftMax Sqrt Square Squeeze Tanh TanhShrink Threshold Unsqueeze View
    VolumetricBatchNormalization VolumetricDropout WhiteNoise ZeroGrad
    """.split()
)
