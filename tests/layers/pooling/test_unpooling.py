"""Pooling modules to which the unpooling modules of 2016 gave an ``updateOutput``, which files then hold."""

from __future__ import annotations

import numpy as np
import pytest

from building import reference, sequential, through_onnx, torch_object
from golden_cases import check
from layers.rows import noise
from retorch.module import Module
from retorch.torch7 import LuaFunction

#: The constants of the wrapper in SpatialMaxUnpooling.lua, as a bytecode dump holds them.
WRAPPER = b"\x1bLJ\x02dim\0size\0iheight\0iwidth\0nn\0SpatialMaxPooling\0updateOutput\0"


def net_with(code: bytes) -> Module:
    sizes = {"kW": 2, "kH": 2, "dW": 2, "dH": 2, "padW": 0, "padH": 0}
    pool = torch_object("nn.SpatialMaxPooling", **sizes)
    pool["updateOutput"] = LuaFunction(code)
    return sequential(pool, torch_object("nn.SpatialMaxUnpooling", pooling=pool))


def test_the_wrapper_that_notes_the_sizes_is_the_pooling_itself() -> None:
    x = noise(np.random.default_rng(0), 2, 3, 4, 6)
    windows = x.reshape(2, 3, 2, 2, 3, 2)
    expected = np.where(windows == windows.max(axis=(3, 5), keepdims=True), windows, 0).reshape(x.shape)
    net = net_with(WRAPPER)
    assert not net.problems
    check([expected], reference(net, x), 1e-6)
    check([expected], through_onnx(net, x), 1e-6)


@pytest.mark.parametrize("missing", [b"iheight", b"SpatialMaxPooling", b"updateOutput"])
def test_any_other_function_is_refused(missing: bytes) -> None:
    net = net_with(WRAPPER.replace(missing, b"other"))
    assert net.problems[0].path == "modules[1]"
    assert "overrides its updateOutput" in net.problems[0].reason
