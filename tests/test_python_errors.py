"""What a caller from Python gets for arguments that do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import retorch
from golden_cases import GOLDEN
from retorch.errors import FormatError, UsageError

DIGITS = GOLDEN / "digits" / "digits.t7"


def test_an_unknown_format_writes_nothing(tmp_path: Path) -> None:
    network = retorch.convert(retorch.load(DIGITS), (1, 1, 32, 32), fold=False)
    with pytest.raises(UsageError, match="'keras' is not a format"):
        network.save(tmp_path / "out", format=cast("Any", "keras"))
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_are_not_real_are_refused() -> None:
    network = retorch.convert(retorch.load(DIGITS), (1, 1, 32, 32), fold=False)
    with pytest.raises(UsageError, match="takes numbers, not complex64"):
        network.run(np.zeros((1, 1, 32, 32), np.complex64))


def test_verify_takes_one_engine_and_one_array(tmp_path: Path) -> None:
    net = retorch.load(DIGITS)
    retorch.convert(net, (1, 1, 32, 32), fold=False).save(tmp_path)
    x = np.zeros((3, 1, 32, 32), np.float32)
    report = retorch.verify(net, tmp_path, engines="embedded", inputs=x)
    assert report.ok
    assert report.witnesses[0].outputs[0].shape == (3, 10)
    with pytest.raises(UsageError, match="no inputs were given"):
        retorch.verify(net, tmp_path, inputs=[])


def test_a_caffe2_network_without_weights(tmp_path: Path) -> None:
    (tmp_path / "predict_net.pbtxt").write_text(
        'op { type: "Relu" input: "data" output: "y" } external_input: "data" external_output: "y"'
    )
    (tmp_path / "init_net.pbtxt").write_text("")
    assert retorch.Network.load(tmp_path).run(np.array([-1, 2], np.float32))[0].tolist() == [0, 2]
    (tmp_path / "init_net.pbtxt").write_text("nothing of the kind")
    with pytest.raises(FormatError) as caught:
        retorch.Network.load(tmp_path)
    assert str(caught.value).count("init_net.pbtxt") == 1


def test_a_minidb_that_is_no_container_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "net.minidb").write_bytes(b"junk" * 10)
    with pytest.raises(FormatError, match="not a predictor container"):
        retorch.Network.load(tmp_path / "net.minidb")
