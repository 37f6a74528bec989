"""Which operators and blobs of a network belong to which Torch layer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import onnx_ir as ir

from retorch.caffe2.files import Caffe2Net
from retorch.files.record import LayerRecord


def layer_records(model: ir.Model, nets: tuple[Caffe2Net, Caffe2Net] | None = None) -> tuple[LayerRecord, ...]:
    """The layers of a converted network, each with its operators and blobs.

    Args:
        model: the network in ONNX, whose metadata say which values hold which layer's output.
        nets: the Caffe2 net it became, first with a blob for every value, then as written (blobs may be used again);
            None for ONNX's own operators.
    """
    if nets is not None:
        # under the names that the values had before blobs were used again, which tell their makers apart
        made = [(op.type, list(op.output)) for op in nets[0].predict.op]
        blob_of = final_blobs(*nets)
    else:
        made = [(node.op_type, [str(v.name) for v in node.outputs]) for node in model.graph]
        blob_of = {}
    entries: list[tuple[str, str, list[str]]] = json.loads(model.metadata_props.get("retorch.layers", "[]"))
    by_name: dict[str, list[int]] = {}
    for i, (_, outputs) in enumerate(made):
        for name in {name for out in outputs for name in _owners(out)}:
            by_name.setdefault(name, []).append(i)
    taken: set[int] = set()
    records: list[LayerRecord] = []
    for path, typename, blobs in entries:
        mine = sorted({i for blob in blobs for i in by_name.get(blob, ())} - taken)
        taken.update(mine)
        if mine:
            records.append(
                LayerRecord(path, typename, tuple(made[i][0] for i in mine), tuple(surviving_blobs(blobs, blob_of)))
            )
    return tuple(records)


def final_blobs(plain: Caffe2Net, placed: Caffe2Net) -> dict[str, str | None]:
    """The blob that holds each value of ``plain`` when ``placed``, the same net in place, has run.

    None stands for a value that another was written over.
    """
    pairs = [
        (value, blob)
        for before, after in zip(plain.predict.op, placed.predict.op, strict=True)
        for value, blob in zip(before.output, after.output, strict=True)
    ]
    last = {blob: value for value, blob in pairs}
    return {value: blob if last[blob] == value else None for value, blob in pairs}


def surviving_blobs(values: Iterable[str], blob_of: Mapping[str, str | None]) -> list[str]:
    """The blobs that hold these values at the end."""
    return [blob for value in values if (blob := blob_of.get(value, value)) is not None]


def _owners(output: str) -> list[str]:
    """The blobs whose layer a value may belong to: it is named after one of them (conv1, conv1_w, conv1_padded)."""
    name = output.lstrip("_")
    return [name, *(name[:at] for at, letter in enumerate(name) if letter == "_")]
