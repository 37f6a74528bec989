"""What only training changes: dropout, noise, penalties, reversed gradients; next to nothing at evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Nested, Refusal, Sizes, layer, noise_for
from retorch.layers.base.memory import release, result, write_into_last_output
from retorch.layers.base.random_source import RandomLayer
from retorch.layers.convolution.spatial import check_rank

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values

#: How ONNX counts its element types.
_INT64 = 7


@layer(
    "nn.Identity",
    "nn.ZeroGrad",
    "nn.L1Penalty",
    "nn.L2Penalty",
    "nn.PrintSize",
    "nn.Probe",
    "nn.GradientRescale",
    "nn.RegularizeLayer",
    "nn.KLDPenalty",
    "w2nn.PrintTable",
    "nn.PrintModule",
    "nn.PrintDimensions",
    "nn.ScaleGrad",
    "nn.GradientScale",
    "nn.Calibrate",
    "nn.Tic",
    "nn.Toc",
    kind="identity",
)
class Identity(Layer):
    """x, the same tensor or table"""

    owns_no_output = True

    ignored = frozenset(
        {"l1weight", "l2weight", "sizeAverage", "provideOutput", "loss", "prefix"}
        | {"display", "winf", "scaleFactor", "inplace", "w", "gradMul", "id", "comment"}
        | {"factor", "g_scale", "gram", "calibrator"}
    )

    def forward(self, x: Nested) -> Nested:
        return x

    def lower(self, op: Builder, x: Values) -> Values:
        return x


@layer(
    "nn.GradientReversal",
    "nn.BatchFlip",
    "nn.RandomCrop",
    "nn.BatchRotate",
    "nn.BatchScale",
    "nn.BatchColor",
    kind="identity",
)
class GradientReversal(Layer):
    """x, as the one tensor that the module calls its output; training reverses gradients, or changes images"""

    ignored = frozenset({"lambda", "pad", "module", "flip_mask"})

    def forward(self, x: Array) -> Array:
        return x

    def lower(self, op: Builder, x: Value) -> Value:
        return x


@layer("nn.Copy", kind="copy")
class Copy(Layer):
    """x as another type of numbers, in a tensor of its own; x itself where the types are the same

    Made for two types that are the same, the object holds functions of its own that hand x through.
    """

    ignored = frozenset({"updateOutput", "updateGradInput", "dontCast"})

    def setup(self, bind: Binder) -> None:
        # its tensor is set to x, and x is returned
        self.owns_no_output = self._same()

    def _same(self) -> bool:
        return "updateOutput" in self.raw

    def _integer(self) -> np.dtype[Any] | None:
        """The type of whole numbers that x is cut to, if it is one."""
        output = cast("object", self.raw.get("output"))
        dtype = cast("Array", output).dtype if isinstance(output, np.ndarray) else None
        return dtype if dtype is not None and dtype.kind in "iu" else None

    def forward(self, x: Array) -> Array:
        if self._same():
            return x
        return x.astype(self._integer() or x.dtype)

    def lower(self, op: Builder, x: Value) -> Value:
        if self._same():
            return x
        return op.Cast(x, to=_INT64) if self._integer() else op.Identity(x)


@layer("nn.Contiguous", kind="contiguous")
class Contiguous(Layer):
    """x; where its elements do not stand in order, copied into the module's tensor

    That tensor may be what the module was given before, and handed on: Torch copies over it, unless x lies there.
    """

    def forward(self, x: Array) -> Array:
        if x.flags.c_contiguous:
            release(self, x)
            return x
        write_into_last_output(self, x)
        return x.copy()

    def lower(self, op: Builder, x: Value) -> Value:
        if x.is_contiguous:
            op.release(self)
            return x
        op.write_into_last_output(self, x)
        return op.Identity(x)


@layer("nn.Dropout", "nn.SeqDropout", "nn.LowMemDropout", "fbnn.Dropout", kind="dropout")
class Dropout(RandomLayer):
    """x; x · (1 − p) in the first version, whose files lack ``v2``

    With ``stochastic_inference``, x · noise: what Torch draws is an input of the network.
    """

    p: float = 0.5
    v2: bool = False
    inplace: bool = False
    stochastic_inference: bool = False
    # of rnn: which steps of a sequence share their noise
    ignored = frozenset({"flag", "lazy", "mono"})

    def setup(self, bind: Binder) -> None:
        shared = self.typename == "nn.SeqDropout" or self.raw.get("lazy") or self.raw.get("mono")
        if self.stochastic_inference and shared:
            raise Refusal("draws random numbers at evaluation too, the same for several steps")

    def draws(self) -> str:
        if not self.stochastic_inference or self.p == 0:
            return ""
        kept = 1 / (1 - self.p) if self.v2 and self.p < 1 else 1
        return f"0 with probability {self.p:g}, else {kept:g}, by which it multiplies"

    def forward(self, x: Array) -> Array:
        y = x * noise_for(self, x.shape) if self.draws() else x if self.v2 else x * (1 - self.p)
        return result(x, y, y is not x, idempotent=not self.p) if self.inplace else np.array(y)

    def lower(self, op: Builder, x: Value) -> Value:
        if self.draws():
            return op.result(x, op.Mul(x, op.noise_for(self, x.shape)), self.inplace)
        scaled = not self.v2 and self.p > 0
        if self.inplace:
            return op.write(x, op.Mul(x, 1 - self.p)) if scaled else x
        return op.Mul(x, 1 - self.p) if scaled else op.Identity(x)


@layer("nn.SharedDropout", kind="dropout")
class SharedDropout(Layer):
    """x: modules of one ``id`` share what they draw in training"""

    inplace: bool = False
    ignored = frozenset({"p", "id", "v2", "flag", "lazy", "mono", "noise", "stochastic_inference"})

    def forward(self, x: Array) -> Array:
        return x if self.inplace else np.array(x)

    def lower(self, op: Builder, x: Value) -> Value:
        return x if self.inplace else op.Identity(x)


@layer("nn.SpatialDropout", "nn.VolumetricDropout", kind="dropout")
class SpatialDropout(RandomLayer):
    """x · (1 − p); with ``stochastic_inference``, x · noise, one number for each channel, which are an input"""

    p: float = 0.5
    stochastic_inference: bool = False
    si: bool = False

    def draws(self) -> str:
        if not (self.stochastic_inference or self.si):
            return ""
        return f"0 with probability {self.p:g}, else 1, by which it multiplies each channel"

    def noise_shape(self, x: Array | Value) -> Sizes:
        dimensions = 3 if "Volumetric" in self.typename else 2
        check_rank(x, dimensions + 1, dimensions + 2)
        return *x.shape[:-dimensions], *(1,) * dimensions

    def forward(self, x: Array) -> Array:
        return x * (noise_for(self, self.noise_shape(x)) if self.draws() else 1 - self.p)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Mul(x, op.noise_for(self, self.noise_shape(x)) if self.draws() else 1 - self.p)


@layer(
    "nn.TotalDropout",
    "nn.SpatialRegionDropout",
    "nn.SimpleColorTransform",
    "nn.PCAColorTransform",
    "fbnn.IndividualDropout",
    "fbnn.NestedDropout",
    "fbnn.ProjectiveGradientNormalization",
    kind="dropout",
)
class Augmentation(Layer):
    """x, in a tensor of its own; of dpnn and fbnn"""

    ignored = frozenset({"p", "inputChannels", "range", "eigenVectors", "eigenValues", "std", "regionType"})
    ignored |= {"noisegpu", "pgpu", "logp", "log1p", "eps", "v2", "inplace", "stochasticInference"}

    def forward(self, x: Array) -> Array:
        return x.copy()

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Identity(x)


@layer("nn.GaussianNoise", kind="identity")
class GaussianNoise(Identity):
    """x: noise is added in training only; a copy of x in the version that has a field ``inplace`` and it is false"""

    inplace: bool = True
    ignored = frozenset({"std", "p", "v"})

    def setup(self, bind: Binder) -> None:
        if "mean" in self.raw:
            raise Refusal("is of the version that draws its output, whatever it is given")
        self.owns_no_output = self.inplace

    def forward(self, x: Nested) -> Nested:
        return x.copy() if isinstance(x, np.ndarray) and not self.inplace else x

    def lower(self, op: Builder, x: Values) -> Values:
        return x if self.inplace or isinstance(x, list) else op.Identity(x)


@layer("nn.WhiteNoise", kind="whitenoise")
class WhiteNoise(Layer):
    """x + mean"""

    mean: float = 0.0
    ignored = frozenset({"std"})

    def forward(self, x: Array) -> Array:
        return x + self.mean

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Add(x, self.mean) if self.mean else op.Identity(x)
