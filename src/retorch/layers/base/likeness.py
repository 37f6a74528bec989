"""Which known class an unknown one may be under another name: its fields say so; it is offered, never assumed."""

from __future__ import annotations

import numpy as np

from retorch.layers.base.binding import ObjectBinder, Unknown
from retorch.layers.base.bookkeeping import BOOKKEEPING
from retorch.layers.base.layer import Layer, registered, rule
from retorch.torch7 import LuaFunction, TorchObject

#: How many fields must agree where the names do not.
_TELLING = 3
#: The shortest name of a class that says something inside another name.
_SHORTEST = 4


def likeness(obj: TorchObject) -> str | None:
    """The known class that reads all fields of an object of an unknown one, the likeliest; None where there is none."""
    own = {str(key) for key in obj} - BOOKKEEPING
    if not own or any(isinstance(obj.get(key), LuaFunction) for key in obj):
        return None
    ranked = [(_rank(obj, own, name, cls), name) for name, cls in registered().items() if _reads(cls, own)]
    for _, name in sorted((pair for pair in ranked if pair[0]), reverse=True):
        if _fits(obj, name):
            return name
    return None


def _reads(cls: type[Layer], own: set[str]) -> bool:
    return own <= set(cls.fields) | cls.ignored


def _rank(obj: TorchObject, own: set[str], name: str, cls: type[Layer]) -> tuple[int, ...]:
    """How well a class fits, the larger the better; empty where it does not."""
    short, mine = (text.rpartition(".")[2].lower() for text in (name, obj.typename))
    called = len(short) if len(short) >= _SHORTEST and short in mine else 0
    read = own & set(cls.fields)
    weighty = any(isinstance(obj.get(key), np.ndarray) for key in read)
    if not read or not (called or (weighty and len(read) >= _TELLING)):
        return ()
    return called, int(name.startswith("nn.")), len(read), -len(set(cls.fields) - own), -cls.names.index(name)


def _fits(obj: TorchObject, name: str) -> bool:
    """Whether the class takes the object as it is, without a word."""
    binder = ObjectBinder()
    binder(TorchObject(name, obj.fields), "")
    return not binder.problems and not binder.notes


def remedy(root: Layer) -> str:
    """What a person can do about the unknown classes of a network."""
    unknown = {made.typename: made.raw for made in root.every() if isinstance(made, Unknown)}
    offers = [
        f"{name} has the fields of {like}: if it computes the same, `--alias {name}={like}`"
        for name, raw in unknown.items()
        if rule(name) is None and (like := likeness(raw))
    ]
    return "; ".join([*offers, "`--plugin my_layers.py` registers classes of your own"])
