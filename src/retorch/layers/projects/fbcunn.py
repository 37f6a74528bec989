"""fbcunn's modules of GPUs: convolutions by Fourier transforms, sequences, and parts of a layer side by side."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Refusal, layer
from retorch.layers.container import Concat
from retorch.layers.convolution.spatial import SpatialConvolution, check_rank
from retorch.layers.convolution.temporal import TemporalConvolution
from retorch.layers.lookup import LookupTable, indices, picked
from retorch.layers.pooling.temporal import TemporalDynamicKMaxPooling
from retorch.layers.shape.selection import from_zero

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


@layer(
    "fbnn.SpatialConvolution",
    "nn.SpatialConvolutionFFT",
    "nn.SpatialConvolutionCuFFT",
    "nn.SpatialConvolutionFBFFT",
    "nn.SpatialConvolutionFBFFTGemm",
    "nn.SpatialConvolutionFFTTiled",
    "nn.SpatialConvolutionFFTTiledSync",
    "nn.SpatialConvolutionFFTTiledAsync",
    "nn.SpatialConvolutionFFTTiledIterated",
    kind="conv",
)
class SpatialConvolutionFFT(SpatialConvolution):
    """A SpatialConvolution, by whichever way is fastest, with padLeft and padUp zeros at both ends"""

    kW: int
    kH: int
    dW: int = 1
    dH: int = 1
    padLeft: int = 0
    padUp: int = 0
    padRight: int | None = None
    padDown: int | None = None
    weight: Array
    bias: Array | None = None
    ignored = SpatialConvolution.ignored | frozenset(
        """inputPlanes outputPlanes inferenceOnly maximalMemoryOverhead reportLevel cudnnModuleInst bestModuleInst
        printDebugLevel cudnnDebug numCudaStreams numCublasHandles allStreams allStreamsButDefault bufferKeys
        memoryReusePolicy moduleUID timeSteps recoverFromError cudnnChecks success autotuningPass reportErrors
        fallbackModules collectedGarbage inputBuffer inputTransposeBuffer inputPadded outputBuffer outputTransposeBuffer
        outputPadded weightBuffer weightTransposeBuffer weightPadded tileSizeW tileSizeH""".split()
    )

    def setup(self, bind: Binder) -> None:
        super().setup(bind)
        if self.padRight not in (None, self.padLeft) or self.padDown not in (None, self.padUp):
            raise Refusal("has other paddings at the end than at the beginning")
        self.padW, self.padH = self.padLeft, self.padUp


@layer("nn.TemporalConvolutionFB", kind="conv")
class TemporalConvolutionFB(TemporalConvolution):
    """y[t] = bias + weight · the kW frames from t dW, one after the other; weight is (O, kW, C)"""

    kW: int
    dW: int = 1
    weight: Array
    bias: Array | None = None


@layer("nn.TemporalKMaxPooling", kind="pool")
class TemporalKMaxPooling(TemporalDynamicKMaxPooling):
    """The max(k, ⌈k_dynamic T⌉) largest of each feature, in their order in time; x is (N, T, C) or (T, C)"""

    k: int
    k_dynamic: float = -1.0
    minK: int = 1
    factor: float = 0.0

    def setup(self, bind: Binder) -> None:
        self.factor = max(self.k_dynamic, 0.0)

    def count(self, x: Array | Value) -> int:
        check_rank(x, 2, 3)
        length = x.shape[-2]
        k = self.k if self.k_dynamic == -1 else max(self.k, math.ceil(self.k_dynamic * length))
        if not 1 <= k <= length:
            raise Refusal(f"a sequence of {length} is too short to keep {k}")
        return k


@layer("nn.LookupTableGPU", kind="lookup")
class LookupTableGPU(Layer):
    """the rows x (from 1) of weight, zeros for ``unk_index``; of (N, T), (N, T, C) or with featuresInDim2 (N, C, T)"""

    weight: Array
    featuresInDim2: bool = False
    unk_index: int | None = None
    ignored = LookupTable.ignored | {"nInput", "nOutput", "zeros"}

    def setup(self, bind: Binder) -> None:
        self._rows = self.weight
        if self.unk_index is None:
            return
        if self.unk_index < 1:
            raise Refusal(f"counts words from 1, and knows none by {self.unk_index}")
        self._rows = np.zeros((max(len(self.weight), self.unk_index), *self.weight.shape[1:]), self.weight.dtype)
        self._rows[: len(self.weight)] = self.weight
        self._rows[self.unk_index - 1] = 0

    def index_limit(self) -> int | None:
        return len(self._rows)

    def forward(self, x: Array) -> Array:
        check_rank(x, 1, 2)
        y = picked(self._rows, indices(x))
        return y.swapaxes(1, 2).copy() if self.featuresInDim2 and x.ndim == 2 else y

    def lower(self, op: Builder, x: Value) -> Value:
        check_rank(x, 1, 2)
        y = op.Gather(op.weight(self._rows, "w"), from_zero(op, x), axis=0)
        return op.Transpose(y, perm=[0, 2, 1]) if self.featuresInDim2 and x.rank == 2 else y


@layer("nn.ModelParallel", kind="concat")
class ModelParallel(Concat):
    """modules[1](x), …, modules[n](x), each on a GPU of its own, one after the other along ``dimension``"""

    modules: list[Layer]
    dimension: int
    ignored = frozenset("size gpu_assignments container_gpuid input_gpu gradOutput_gpu gradInput_gpu".split())
