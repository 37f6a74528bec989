"""If, While and Do against the real Caffe2 and against what a person calculates by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from caffe2.nets import Array, add_operator
from retorch.caffe2 import files
from retorch.caffe2.files import Caffe2Net
from retorch.caffe2.parse.net import parse
from retorch.caffe2.proto.caffe2_pb2 import Argument, NetDef
from retorch.engines.caffe2_runtime import Runtime
from retorch.errors import UnsupportedError
from retorch.network import Network

TRUE = "ConstantFill -> C | shape=1, dtype=5 value=1"
FALSE = "ConstantFill -> C | shape=1, dtype=5 value=0"


@dataclass(frozen=True)
class Case:
    """Operators in front, the one that holds nets, operators behind; what is fed, and what comes out for it."""

    name: str
    front: str
    holder: str
    nets: Mapping[str, str]
    behind: str
    feeds: Mapping[str, Array]
    expected: Callable[..., Array]
    bound: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    def __str__(self) -> str:
        return self.name

    def net(self) -> Caffe2Net:
        predict = NetDef(name="control", external_input=list(self.feeds), external_output=["Y"])
        for line in filter(None, self.front.split(";")):
            add_operator(predict, line)
        operator = add_operator(predict, self.holder)
        for name, text in self.nets.items():
            self._fill(operator.arg.add(name=name), text, name)
        for line in filter(None, self.behind.split(";")):
            add_operator(predict, line)
        return Caffe2Net(predict, {}, tuple(self.feeds))

    def _fill(self, argument: Argument, text: str, name: str) -> None:
        """The net of an argument; where blobs are bound, in a Do with a workspace of its own, as builders write it."""
        argument.n.name = name
        inner = argument.n
        if self.bound:
            do = add_operator(argument.n, f"Do A B S_{name} -> B S_{name}")
            inner = do.arg.add(name="net").n
            inner.name = f"{name}_inner"
            inner.external_input.extend(self.bound)
            do.arg.add(name="inner_blobs", strings=[blob.encode() for blob in self.bound])
            do.arg.add(name="outer_blobs_idx", ints=[("A", "B").index(outer) for (outer,) in self.bound.values()])
            argument.n.external_input.extend(["A", "B", f"S_{name}"])
            argument.n.external_output.extend(["B", f"S_{name}"])
        for line in text.split(";"):
            add_operator(inner, line)


def floats(*numbers: float) -> Array:
    return np.array(numbers, np.float32)


def doubled_until_100(a: Array) -> Array:
    while a.sum() < 100:
        a = a * 2
    return a


BRANCHES = {"then_net": "Scale A -> Y | scale=2.0", "else_net": "Scale A -> Y | scale=3.0"}
SCOPES = "CreateScope -> S_then_net; CreateScope -> S_else_net; Copy A -> B"
CASES = [
    Case("fixed, true", TRUE, "If C -> Y", BRANCHES, "", {"A": floats(1, 2)}, lambda a: 2 * a),
    Case("fixed, false", FALSE, "If C -> Y", BRANCHES, "", {"A": floats(1, 2)}, lambda a: 3 * a),
    *(
        Case(f"fed, {fed}", "", "If C -> Y", BRANCHES, "Sqr Y -> Y", {"A": floats(1, 2), "C": np.array([fed])},
             lambda a, c: (2 * a if c[0] else 3 * a) ** 2)
        for fed in (True, False)
    ),
    *(
        Case(f"without else, {fed}", "Copy A -> Y", "If C -> Y", {"then_net": "Add Y A -> Y"}, "",
             {"A": floats(1, 2), "C": np.array([fed])}, lambda a, c: 2 * a if c[0] else a)
        for fed in (True, False)
    ),
    *(
        Case(f"sizes that differ, {fed}", "", "If C -> Y",
             {"then_net": "Concat A A -> Y I | axis=0", "else_net": "Copy A -> Y"}, "Relu Y -> Y",
             {"A": floats(1, 2), "C": np.array([fed])}, lambda a, c: np.concatenate([a, a]) if c[0] else a)
        for fed in (True, False)
    ),
    *(
        Case(f"apart, {fed}", SCOPES, "If C A B S_then_net S_else_net -> B S_then_net S_else_net",
             {"then_net": "Sqr a -> t; Add t a -> b", "else_net": "Sqr b -> b"}, "Copy B -> Y",
             {"A": floats(1, 2, 3), "C": np.array([fed])}, lambda a, c: a * a + a if c[0] else a * a,
             {"a": ("A",), "b": ("B",)})
        for fed in (True, False)
    ),
    Case("apart, whole numbers", "CreateScope -> S_then_net; CreateScope -> S_else_net",
         "If C A B S_then_net S_else_net -> B S_then_net S_else_net",
         {"then_net": "Copy a -> b", "else_net": "Copy b -> b"},
         "Copy B -> Y", {"A": np.array([2**40, 3]), "B": np.array([5]), "C": np.array([True])}, lambda a, b, c: a,
         {"a": ("A",), "b": ("B",)}),
    *(
        Case(f"without naming what it leaves, {fed}", "Copy A -> B; Copy A -> Y", "If C ->",
             {"then_net": "Sqr B -> t; Add t B -> B; Copy B -> Y", "else_net": "Scale B -> B | scale=3.0"},
             "Mul Y B -> Y", {"A": floats(1, 2, 3), "C": np.array([fed])},
             lambda a, c: (a * a + a) ** 2 if c[0] else 3 * a * a)
        for fed in (True, False)
    ),
    Case("a loop without naming what it leaves", "ConstantFill -> L | shape=1, value=20.0; Copy A -> B",
         "While C ->", {"loop_net": "Add B B -> B; LT B L -> C"}, "Copy B -> Y",
         {"A": floats(1), "C": np.array([True])}, lambda a, c: 32 * a),
    Case("empty", "IsEmpty A -> C", "If C -> Y", BRANCHES, "", {"A": floats()}, lambda a: a),
    Case("not empty", "IsEmpty A -> C", "If C -> Y", BRANCHES, "", {"A": floats(4)}, lambda a: 3 * a),
    Case("counted", "ConstantFill -> N | shape=1, value=0.0; ConstantFill -> L | shape=1, value=3.0;"
         "ConstantFill -> O | shape=1, value=1.0; Copy A -> Y; LT N L -> C", "While C -> Y N C",
         {"loop_net": "Add N O -> N; Add Y Y -> Y", "cond_net": "LT N L -> C"}, "",
         {"A": floats(1, 2)}, lambda a: 8 * a),
    Case("until it is large", "ConstantFill -> L | shape=1, value=100.0; Copy A -> Y; ConstantFill -> C | shape=1, "
         "dtype=5 value=0", "While C -> Y C",
         {"loop_net": "Add Y Y -> Y", "cond_net": "SumElements Y -> T; Reshape T -> R O | shape=1,; LT R L -> C"}, "",
         {"A": floats(1, 2)}, doubled_until_100),
    Case("not once", "ConstantFill -> L | shape=1, value=1.0; Copy A -> Y", "While C -> Y C",
         {"loop_net": "Add Y Y -> Y; LT Y L -> C"}, "", {"A": floats(1), "C": np.array([False])}, lambda a, c: a),
    Case("growing", "ConstantFill -> L | shape=1, value=20.0; Copy A -> Y", "While C -> Y C",
         {"loop_net": "Concat Y A -> G I | axis=0; Copy G -> Y; "
          "SumElements Y -> T; Reshape T -> R O | shape=1,; LT R L -> C"}, "",
         {"A": floats(1, 2), "C": np.array([True])}, lambda a, c: np.tile(a, 7)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_runs_as_by_hand(case: Case, tmp_path: Path) -> None:
    files.write(tmp_path, case.net())
    network = Network.load(tmp_path)
    expected = case.expected(*case.feeds.values())
    (got,) = network.run(dict(case.feeds))
    np.testing.assert_array_equal(got, expected)
    onnx.checker.check_model(ir.to_proto(network.model_for(dict(case.feeds))), full_check=True)


@pytest.mark.caffe2
@pytest.mark.parametrize("case", CASES, ids=str)
def test_runs_as_in_caffe2(case: Case, caffe2: Runtime, tmp_path: Path) -> None:
    if case.name == "empty" and caffe2.version == "1.0.0":
        pytest.skip("Caffe2 1.0.0 takes no empty arrays")
    files.write(tmp_path, case.net())
    expected = caffe2.run((tmp_path / "predict_net.pb", tmp_path / "init_net.pb"), dict(case.feeds))
    got = Network.load(tmp_path).run(dict(case.feeds))[0]
    np.testing.assert_array_equal(got, expected[0])
    assert got.dtype == expected[0].dtype


def test_a_fixed_condition_is_decided_when_the_net_is_read() -> None:
    kinds = [node.op_type for node in parse(CASES[0].net()).graph]
    assert kinds == ["Mul"]


@pytest.mark.parametrize(
    ("holder", "nets", "reason"),
    [
        ("If C -> Y", {"then_net": "Fancy A -> Y", "else_net": "Copy A -> Y"}, "in its branch Y Fancy"),
        ("If C -> Y", {"then_net": "Copy Q -> Y", "else_net": "Copy A -> Y"}, "reads Q, which nothing makes"),
        ("If C -> Y", {"then_net": "Cast A -> Y | to=2", "else_net": "Copy A -> Y"}, "int32 in one case, float"),
        ("If C -> Y", {"else_net": "Copy A -> Y"}, "no then_net"),
        ("While C -> Y C", {"cond_net": "Copy C -> C"}, "no loop_net"),
    ],
)
def test_what_cannot_be_said_is_refused_by_its_reason(holder: str, nets: dict[str, str], reason: str) -> None:
    case = Case("", "", holder, nets, "", {"A": floats(1), "C": np.array([True])}, lambda a, c: a)
    net = case.net()
    types = {"C": ir.DataType.BOOL, "A": ir.DataType.FLOAT}
    with pytest.raises(UnsupportedError, match=reason):
        parse(Caffe2Net(net.predict, {}, ("A", "C")), {"A": (1,), "C": (1,)}, types)


@pytest.mark.parametrize("engine", ["DNNLOWP", "FAKE_FP16"])
def test_engines_that_calculate_other_numbers_are_refused_inside_as_outside(engine: str) -> None:
    branches = {"then_net": "Relu A -> Y", "else_net": "Copy A -> Y"}
    predict = (
        Case("", "", "If C -> Y", branches, "", {"A": floats(1), "C": np.array([True])}, lambda a, c: a).net().predict
    )
    net, types = Caffe2Net(predict, {}, ("A", "C")), {"C": ir.DataType.BOOL, "A": ir.DataType.FLOAT}
    parse(net, {"A": (1,), "C": (1,)}, types)
    predict.op[0].arg[0].n.op[0].engine = engine
    with pytest.raises(UnsupportedError, match=f"in its branch Y Relu: engine {engine}, which calculates"):
        parse(net, {"A": (1,), "C": (1,)}, types)


COUNTED = "ConstantFill -> limit | shape=1, value=100.0; Add a b -> c; LT c limit -> going"


def fibonacci(more: str, body: str = COUNTED, outs: str = "going b c c") -> Caffe2Net:
    """A loop of ONNX over two numbers, the last two outputs of which are a state and what every round collects."""
    predict = NetDef(name="loop", external_input=["Times", "C", "A", "B", "Limit"], external_output=["P", "Q", "R"])
    operator = add_operator(predict, f"ONNXWhile Times C A B -> P Q R | {more}")
    inner = operator.arg.add(name="body").n
    inner.name = "body"
    inner.external_input.extend(["i", "cond", "a", "b", "Limit"])
    inner.external_output.extend(outs.split())
    for line in body.split(";"):
        add_operator(inner, line)
    return Caffe2Net(predict, {}, ("Times", "C", "A", "B", "Limit"))


def rounds(times: int, going: bool = True, shape: tuple[int, ...] = (1,)) -> dict[str, Array]:
    one = np.ones(shape, np.float32)
    limit = np.full(shape, 100, np.float32)
    return {"Times": np.array(times), "C": np.array([going]), "A": one, "B": one, "Limit": limit}


BOTH = "has_cond=1 has_trip_count=1"
LOOPS = [
    (fibonacci(BOTH), rounds(100), [[89], [144], [2, 3, 5, 8, 13, 21, 34, 55, 89, 144]]),
    (fibonacci(BOTH), rounds(3), [[3], [5], [2, 3, 5]]),
    (fibonacci(f"{BOTH} disable_scopes=1", "Add a b -> c; LT c Limit -> going"), rounds(4), [[5], [8], [2, 3, 5, 8]]),
    (fibonacci("has_cond=1"), rounds(1), [[89], [144], [2, 3, 5, 8, 13, 21, 34, 55, 89, 144]]),
    (fibonacci("has_trip_count=1 num_loop_carried_deps=2"), rounds(2, going=False), [[2], [3], [2, 3]]),
    (fibonacci(BOTH), rounds(9, going=False), [[1], [1], []]),
    (fibonacci(BOTH, "Add a b -> c; Copy cond -> going"), rounds(2, shape=(1, 2)),
     [[[2, 2]], [[3, 3]], [[2, 2], [3, 3]]]),
    (fibonacci("has_trip_count=1", "Add i i -> n; Cast n -> f | to=1; Reshape f -> c O | shape=1,; Copy cond -> going",
               "going a b c"), rounds(4), [[1], [1], [0, 2, 4, 6]]),
]  # fmt: skip


@pytest.mark.parametrize(("net", "feeds", "expected"), LOOPS)
def test_loops_of_onnx_run_as_by_hand(
    net: Caffe2Net, feeds: dict[str, Array], expected: list[Array], tmp_path: Path
) -> None:
    files.write(tmp_path, net)
    network = Network.load(tmp_path)
    for got, numbers in zip(network.run(dict(feeds)), expected, strict=True):
        np.testing.assert_array_equal(got, np.array(numbers, np.float32))
    onnx.checker.check_model(ir.to_proto(network.model_for(dict(feeds))), full_check=True)


#: A state that is copied into the other before it changes, or after, as a round has a workspace of its own or not.
STATES = [fibonacci(f"{BOTH} save_scopes={own}", f"{COUNTED}; Scale a -> d | scale=3.0",
                    "going d a c") for own in (0, 1)]  # fmt: skip


@pytest.mark.caffe2
@pytest.mark.parametrize(
    ("net", "feeds"), [*((net, feeds) for net, feeds, _ in LOOPS), *((net, rounds(5)) for net in STATES)]
)
def test_loops_of_onnx_run_as_in_caffe2(
    net: Caffe2Net, feeds: dict[str, Array], caffe2: Runtime, tmp_path: Path
) -> None:
    files.write(tmp_path, net)
    expected = caffe2.run((tmp_path / "predict_net.pb", tmp_path / "init_net.pb"), dict(feeds))
    for mine, theirs in zip(Network.load(tmp_path).run(dict(feeds)), expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (fibonacci(""), "nothing ends"),
        (fibonacci(f"{BOTH} disable_scopes=1", f"{COUNTED}; Copy a -> A"), "writes A, a blob around it"),
        (fibonacci(BOTH, outs="going b a q"), "gives q, which nothing makes"),
        (fibonacci(BOTH, f"{COUNTED}; Concat c c -> d I | axis=0", "going b c d"), "not one row"),
        (fibonacci(BOTH, "Add a b -> c; LT c Limit -> going"), "reads Limit, which nothing makes"),
        (fibonacci(BOTH, outs="going b"), "too few"),
    ],
)
def test_loops_of_onnx_that_cannot_be_said_are_refused(net: Caffe2Net, reason: str) -> None:
    feeds = rounds(2)
    types = {name: ir.DataType.from_numpy(array.dtype) for name, array in feeds.items()}
    with pytest.raises(UnsupportedError, match=reason):
        parse(net, {name: array.shape for name, array in feeds.items()}, types)
