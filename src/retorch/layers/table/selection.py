"""Tables of tensors: what picks and reorders their entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from retorch.layers.base.layer import Layer, Nested, Refusal, layer
from retorch.layers.base.memory import output_table, pushed
from retorch.layers.shape.view import axis_of
from retorch.torch7 import LuaTable

if TYPE_CHECKING:
    from retorch.graph.builder import Builder
    from retorch.graph.builder import Nested as Values


@layer("nn.SelectTable", "nn.ElementTable", kind="selecttable")
class SelectTable(Layer):
    """entry ``index`` of the table, from 1, or from the end where negative"""

    index: object
    container: ClassVar[bool] = True

    def setup(self, bind: object) -> None:
        if isinstance(self.index, bool) or not isinstance(self.index, (int, float)):
            raise Refusal(f"selects {self.index!r}, but tables are counted here")

    def at(self, length: int) -> int:
        return axis_of(int(cast("int", self.index)), length)

    def forward(self, x: list[Nested]) -> Nested:
        return x[self.at(len(x))]

    def lower(self, op: Builder, x: list[Values]) -> Values:
        return x[self.at(len(x))]


class Rearranging(Layer):
    """Tables in, tables out, the same tensors: what holds for arrays holds for values."""

    container: ClassVar[bool] = True
    #: Torch's module hands out a new table each time.
    new: ClassVar[bool] = False

    def rearranged(self, x: list[Nested]) -> list[Nested]:
        raise Refusal("rearranges nothing")

    def forward(self, x: list[Nested]) -> list[Nested]:
        table = [] if self.new else output_table(id(self))
        table[:] = self.rearranged(x)
        return table

    def lower(self, op: Builder, x: list[Values]) -> list[Values]:
        table = [] if self.new else op.output_table(id(self))
        table[:] = cast("list[Values]", self.rearranged(cast("list[Nested]", x)))
        return table


@layer("nn.NarrowTable", kind="narrowtable")
class NarrowTable(Rearranging):
    """``length`` entries of the table from ``offset`` (from 1)"""

    offset: int
    length: int = 1

    def rearranged(self, x: list[Nested]) -> list[Nested]:
        if self.offset < 1:
            raise Refusal(f"takes entries from {self.offset}, but tables are counted from 1")
        return x[self.offset - 1 : self.offset - 1 + self.length]


@layer("nn.FlattenTable", kind="flattentable")
class FlattenTable(Rearranging):
    """nested tables as one"""

    new: ClassVar[bool] = True

    def rearranged(self, x: list[Nested]) -> list[Nested]:
        return [t for item in x for t in (self.rearranged(item) if isinstance(item, list) else [item])]


@layer("nn.ReverseTable", kind="reversetable")
class ReverseTable(Rearranging):
    """the table from its end"""

    def rearranged(self, x: list[Nested]) -> list[Nested]:
        return x[::-1]


@layer("nn.ZipTable", kind="ziptable")
class ZipTable(Rearranging):
    """{{a1, a2}, {b1, b2}}: {{a1, b1}, {a2, b2}}"""

    new: ClassVar[bool] = True

    def rearranged(self, x: list[Nested]) -> list[Nested]:
        return [list(row) for row in zip(*cast("list[list[Nested]]", x), strict=True)]


@layer("nn.ZipTableOneToMany", kind="ziptable")
class ZipTableOneToMany(Rearranging):
    """{v, {a, b}}: {{v, a}, {v, b}}"""

    new: ClassVar[bool] = True

    ignored = frozenset({"gradInputEl"})

    def rearranged(self, x: list[Nested]) -> list[Nested]:
        one, many = x
        return [[one, item] for item in cast("list[Nested]", many)]


@layer("nn.PushTable", kind="pushtable")
class PushTable(Layer):
    """the table without its entry ``_index``, which its nn.PullTables will put into theirs; of nnx"""

    _index: int
    _pulls: object = None
    container: ClassVar[bool] = True
    ignored = frozenset({"_forward"})

    def taken(self, x: list[Nested], pushes: dict[int, Nested]) -> list[Nested]:
        """What is left; the entry is laid down for those who pull it."""
        if not 1 <= self._index <= len(x):
            raise Refusal(f"takes entry {self._index} out of a table of {len(x)}")
        pulls = self._pulls.sequence() if isinstance(self._pulls, LuaTable) else []
        pushes.update((id(pull), x[self._index - 1]) for pull in pulls)
        return [*x[: self._index - 1], *x[self._index :]]

    def forward(self, x: list[Nested]) -> list[Nested]:
        table = output_table(id(self))
        table[:] = self.taken(x, pushed())
        return table

    def lower(self, op: Builder, x: list[Values]) -> list[Values]:
        table = op.output_table(id(self))
        table[:] = cast("list[Values]", self.taken(cast("list[Nested]", x), cast("dict[int, Nested]", op.pushed)))
        return table


@layer("nn.PullTable", kind="pulltable")
class PullTable(Layer):
    """the table, or the tensor as a table, with what its nn.PushTable took as entry ``_index``; of nnx"""

    _index: int
    container: ClassVar[bool] = True
    ignored = frozenset({"_push"})

    def grown(self, x: Nested, pushes: dict[int, Nested]) -> list[Nested]:
        """The table, one entry longer."""
        rest = x if isinstance(x, list) else [x]
        if id(self.raw) not in pushes:
            raise Refusal("pulls what no nn.PushTable has pushed before it ran")
        if not 1 <= self._index <= len(rest) + 1:
            raise Refusal(f"puts entry {self._index} into a table of {len(rest)}")
        return [*rest[: self._index - 1], pushes[id(self.raw)], *rest[self._index - 1 :]]

    def forward(self, x: Nested) -> list[Nested]:
        table = output_table(id(self))
        table[:] = self.grown(x, pushed())
        return table

    def lower(self, op: Builder, x: Values) -> list[Values]:
        table = op.output_table(id(self))
        table[:] = cast("list[Values]", self.grown(cast("Nested", x), cast("dict[int, Nested]", op.pushed)))
        return table
