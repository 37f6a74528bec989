"""Each pass alone keeps every golden network's outputs; and each does what its name says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

import retorch
from golden_cases import Case, cases, check
from retorch.graph import passes
from retorch.graph.lowering import lower
from retorch.module import bind
from retorch.network import Network

ALL: list[Callable[[passes.Rewrite], None]] = [
    passes.drop_identities,
    passes.cancel_squeezes,
    passes.merge_reshapes,
    passes.merge_transposes,
    passes.fold_constants,
    passes.fold_padding,
    passes.fold_scale,
]
CASES = cases()


def operators(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def applied(model: ir.Model, one: Callable[[passes.Rewrite], None]) -> ir.Model:
    rewrite = passes.Rewrite(model)
    one(rewrite)
    rewrite.finish()
    return model


@pytest.mark.parametrize("case", CASES, ids=[c.name for c in CASES])
def test_each_pass_alone_keeps_what_torch_computed(case: Case) -> None:
    lowered = lower(retorch.load(case.path).layer, case.nested("input"))
    for one in ALL:
        model = lowered.clone()
        before = [str(node) for node in model.graph]
        if [str(node) for node in applied(model, one).graph] != before:
            check(case.flat("output"), Network(model).run(*case.flat("input")))


def convolution_with_norm() -> retorch.Module:
    rng = np.random.default_rng(3)
    modules = [
        retorch.TorchObject("nn.SpatialZeroPadding", {"pad_l": 1, "pad_r": 2, "pad_t": 3, "pad_b": 0}),
        retorch.TorchObject(
            "nn.SpatialConvolution",
            {"nInputPlane": 3, "nOutputPlane": 4, "kW": 3, "kH": 3, "dW": 1, "dH": 1, "padW": 0, "padH": 0}
            | {"weight": rng.standard_normal((4, 3, 3, 3)).astype(np.float32)},
        ),
        retorch.TorchObject(
            "nn.SpatialBatchNormalization",
            {"eps": 1e-3, "running_mean": rng.standard_normal(4).astype(np.float32)}
            | {"running_var": rng.random(4).astype(np.float32) + 0.5},
        ),
    ]
    return bind(retorch.TorchObject("nn.Sequential", retorch.LuaTable({"modules": retorch.LuaTable.of(*modules)})))


def test_folding_leaves_one_convolution() -> None:
    net = convolution_with_norm()
    x = np.random.default_rng(1).standard_normal((2, 3, 7, 6)).astype(np.float32)
    folded = retorch.convert(net, x, fold=True)
    assert operators(folded.model) == ["Conv"]
    np.testing.assert_allclose(folded.run(x)[0], net.forward(x), rtol=1e-5, atol=1e-5)


def test_folding_is_done_in_float64() -> None:
    net = convolution_with_norm()
    layers = list(net.layers())
    weight, norm = layers[2].weight.astype(np.float64), layers[3]  # type: ignore[attr-defined]
    exact = weight / np.sqrt(norm.running_var.astype(np.float64) + norm.eps)[:, None, None, None]  # type: ignore[attr-defined]
    folded = retorch.convert(net, (2, 3, 7, 6), fold=True).caffe2().params["conv1_w"]
    np.testing.assert_array_equal(folded, exact.astype(np.float32))


@pytest.mark.parametrize("norm_last", [False, True])
def test_dropout_of_old_networks_is_folded_before_and_after_batch_norm(norm_last: bool) -> None:
    padding, conv, norm = next(convolution_with_norm().layers()).raw["modules"].sequence()
    drop = retorch.TorchObject("nn.SpatialDropout", {"p": 0.25})
    row = [padding, conv, drop, norm] if norm_last else [padding, conv, norm, drop]
    net = bind(retorch.TorchObject("nn.Sequential", {"modules": retorch.LuaTable.of(*row)}))
    x = np.random.default_rng(1).standard_normal((2, 3, 7, 6)).astype(np.float32)
    folded = retorch.convert(net, x)
    assert operators(folded.model) == ["Conv"]
    np.testing.assert_allclose(folded.run(x)[0], net.forward(x), rtol=1e-5, atol=1e-5)


def test_a_shared_convolution_is_not_scaled_twice() -> None:
    """Two batch norms after convolutions on one weight: each gets weights of its own."""
    net = convolution_with_norm()
    _, conv, norm = [layer.raw for layer in net.layers()][1:]
    branch = retorch.TorchObject("nn.Sequential", {"modules": retorch.LuaTable.of(conv, norm)})
    plain = retorch.TorchObject("nn.Sequential", {"modules": retorch.LuaTable.of(conv)})
    both = bind(retorch.TorchObject("nn.ConcatTable", {"modules": retorch.LuaTable.of(branch, plain)}))
    x = np.random.default_rng(1).standard_normal((1, 3, 5, 5)).astype(np.float32)
    unfolded = retorch.convert(both, x, fold=False).run(x)
    for expected, got in zip(unfolded, retorch.convert(both, x, fold=True).run(x), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
