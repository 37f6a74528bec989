"""The predictor container: a whole network in one minidb, as Caffe2's ``predictor_exporter`` writes it.

The first record, ``!!META_NET_DEF``, is a MetaNetDef: lists of blobs by role and three nets, of which the first makes
the data blobs, the second loads the parameters from the container itself, and the third is the network. The parameters
follow as tensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from google.protobuf.message import DecodeError

from retorch.caffe2 import messages, minidb
from retorch.caffe2.device import ideep_params, loads
from retorch.caffe2.proto.caffe2_pb2 import MetaNetDef, NetDef
from retorch.errors import FormatError
from retorch.files.protobuf import Array
from retorch.files.regular import content

META = "!!META_NET_DEF"
_READER = "!!PREDICTOR_DBREADER"
_PARAMETERS, _INPUTS, _OUTPUTS = "PARAMETERS_BLOB_TYPE", "INPUTS_BLOB_TYPE", "OUTPUTS_BLOB_TYPE"
_PREDICT_INIT, _GLOBAL_INIT, _PREDICT = "PREDICT_INIT_NET_TYPE", "GLOBAL_INIT_NET_TYPE", "PREDICT_NET_TYPE"


def encode(
    predict: NetDef, params: Mapping[str, Array], inputs: tuple[str, ...], shapes: Mapping[str, tuple[int, ...]]
) -> Iterator[bytes | memoryview]:
    """The container, piece by piece; ``shapes`` are those of the inputs and outputs that are known (1x1 otherwise)."""
    meta = MetaNetDef()
    for role, names in ((_PARAMETERS, list(params)), (_INPUTS, inputs), (_OUTPUTS, predict.external_output)):
        meta.blobs.add(key=role, value=names)
    meta.nets.add(key=_PREDICT_INIT, value=_predict_init(inputs, predict.external_output, shapes))
    meta.nets.add(key=_GLOBAL_INIT, value=_global_init(params, ideep_params(predict, params)))
    meta.nets.add(key=_PREDICT, value=predict)
    yield minidb.encode_bytes(META, "std::string", meta.SerializeToString(deterministic=True))
    for name, array in params.items():
        yield from minidb.encode(name, array)


def _predict_init(inputs: tuple[str, ...], outputs: Iterable[str], shapes: Mapping[str, tuple[int, ...]]) -> NetDef:
    """Zeros for the data blobs and the outputs, which makes them known to the workspace."""
    names = [*inputs, *(name for name in outputs if name not in inputs)]
    net = NetDef(name="predict-init", external_input=names)
    for name in names:
        op = net.op.add(type="ConstantFill", output=[name])
        op.arg.add(name="shape", ints=shapes.get(name, (1, 1)))
        op.arg.add(name="value", f=0.0)
    return net


def _global_init(params: Mapping[str, Array], ideep: frozenset[str]) -> NetDef:
    """Loads the parameters from the database that the container was opened as."""
    net = NetDef(name="global-init", external_input=[_READER], external_output=list(params), op=loads(params, ideep))
    for load in net.op:
        load.input.append(_READER)
    return net


def is_container(path: Path) -> bool:
    """Whether the file begins with the record of a MetaNetDef."""
    with path.open("rb") as stream:
        return stream.read(8 + len(META))[8:] == META.encode()


def is_table_alone(path: Path) -> bool:
    """Whether the file is the MetaNetDef of a container without its tensors."""
    try:
        return any(entry.key == _PREDICT for entry in MetaNetDef.FromString(bytes(content(path)[:])).nets)
    except (DecodeError, ValueError, RecursionError):
        return False


def _content(record: minidb.Record, path: Path) -> bytes:
    try:
        return record.content()
    except FormatError as error:
        raise FormatError(f"{path}: not a predictor container: {error.detail}", offset=error.offset) from error


def read(path: Path) -> tuple[NetDef, dict[str, Array], tuple[str, ...]]:
    """The network, its parameters by blob, and its data blobs; FormatError for a broken container."""
    record = next(minidb.records(path))
    meta = messages.parse(MetaNetDef(), _content(record, path), path, "a predictor container")
    nets = {entry.key: entry.value for entry in meta.nets}
    blobs = {entry.key: tuple(entry.value) for entry in meta.blobs}
    if _PREDICT not in nets:
        raise FormatError(f"{path}: a predictor container without a predict net (it has {', '.join(nets) or 'none'})")
    predict = nets[_PREDICT]
    if not predict.external_output:
        predict.external_output.extend(blobs.get(_OUTPUTS, ()))
    arrays = minidb.read(path)
    missing = [name for name in blobs.get(_PARAMETERS, ()) if name not in arrays]
    if missing:
        raise FormatError(f"{path}: has no tensors for {', '.join(missing)}")
    return predict, arrays, blobs.get(_INPUTS, ())
