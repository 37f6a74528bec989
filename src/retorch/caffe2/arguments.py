"""The arguments of an operator, as Caffe2 finds them."""

from __future__ import annotations

from retorch.caffe2.proto.caffe2_pb2 import Argument, OperatorDef


def argument(operator: OperatorDef, name: str) -> Argument | None:
    """The argument of a name; of several Caffe2 keeps the first."""
    return next((each for each in operator.arg if each.name == name), None)


def stored(operator: OperatorDef, name: str, field: str) -> Argument | None:
    """The argument, if it is there. ValueError where it is of another type, which is an error in Caffe2 too."""
    found = argument(operator, name)
    if found is not None and not found.HasField(field):
        raise ValueError(f"argument {name} does not have the field {field} that Caffe2 asks for")
    return found


def integer(operator: OperatorDef, name: str, default: int) -> int:
    """An integer. ValueError for an argument of another type."""
    found = stored(operator, name, "i")
    return default if found is None else found.i


def number(operator: OperatorDef, name: str, default: float) -> float:
    """A float. ValueError for an argument of another type."""
    found = stored(operator, name, "f")
    return default if found is None else found.f
