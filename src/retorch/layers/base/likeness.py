"""Which known class an unknown one may be under another name: its fields say so; it is offered, never assumed."""

from __future__ import annotations

from operator import itemgetter

import numpy as np

from retorch.layers.base.binding import ObjectBinder, Unknown
from retorch.layers.base.bookkeeping import BOOKKEEPING
from retorch.layers.base.layer import Layer, registered, rule
from retorch.torch7 import LuaFunction, TorchObject

#: How many fields must agree where the names do not.
_TELLING = 3
#: The shortest name of a class that says something inside another name.
_SHORTEST = 4
#: How many classes are offered where none is likelier than the others.
_FEW = 4


def likeness(obj: TorchObject) -> list[str]:
    """The known classes that an object of an unknown one may be, the likeliest first; none where nothing tells.

    One whose name says so is the only one. Where the fields alone speak, every class that reads them all is as likely
    as the others, and more than a few say nothing.
    """
    own = {str(key) for key in obj} - BOOKKEEPING
    if any(isinstance(value, LuaFunction) for value in obj.fields.values()):
        return []
    ranked = [(_rank(obj, own, name, cls), name) for name, cls in registered().items() if _reads(cls, own)]
    by_name = sorted((pair for pair in ranked if pair[0]), key=itemgetter(1))
    ordered = sorted(by_name, key=itemgetter(0), reverse=True)
    if ordered and ordered[0][0][0]:
        return [name for rank, name in ordered if rank[0] and _fits(obj, name)][:1]
    # a class has several names: the likeliest stands for it
    classes = {registered()[name]: name for _, name in reversed(ordered)}
    fitting = [name for _, name in ordered if name in classes.values() and _fits(obj, name)]
    return fitting if len(fitting) <= _FEW else []


def _reads(cls: type[Layer], own: set[str]) -> bool:
    return own <= set(cls.fields) | cls.ignored


def _rank(obj: TorchObject, own: set[str], name: str, cls: type[Layer]) -> tuple[int, ...]:
    """How well a class fits, the larger the better; empty where it does not."""
    short, mine = (text.rpartition(".")[2].lower() for text in (name, obj.typename))
    called = len(short) if short == mine or (own and len(short) >= _SHORTEST and short in mine) else 0
    read = own & set(cls.fields)
    weighty = any(isinstance(obj.get(key), np.ndarray) for key in read)
    of_torch = int(name.startswith("nn.") and ".projects." not in cls.__module__)
    if not called and not (of_torch and weighty and len(own) >= _TELLING):
        return ()
    return called, of_torch, len(read), -len(set(cls.fields) - own), -cls.names.index(name)


def _fits(obj: TorchObject, name: str) -> bool:
    """Whether the class takes the object as it is; what stands inside of it may be unknown as well."""
    binder = ObjectBinder()
    binder(TorchObject(name, obj.fields), "")
    return not any(problem.path == "" for problem in binder.problems)


def remedy(root: Layer) -> str:
    """What a person can do about the unknown classes of a network; nothing where all are known."""
    made = {layer.typename: layer.raw for layer in root.every() if isinstance(layer, Unknown)}
    unknown = {name: raw for name, raw in made.items() if rule(name) is None}
    offers = [
        f"{name} has the fields of {_either(like)}: if it computes the same, "
        + _either([f"`--alias {name}={one}`" for one in like])
        for name, raw in unknown.items()
        if (like := likeness(raw))
    ]
    return "; ".join([*offers, "`--plugin my_layers.py` registers classes of your own"]) if unknown else ""


def _either(names: list[str]) -> str:
    """a; a or b; a, b or c."""
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
