"""``model.py`` from parts: the classes that it needs, ``class Model``, and ``load``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from retorch.pytorch import library_source
from retorch.pytorch.blocks import share_blocks
from retorch.pytorch.part import Part, Written
from retorch.pytorch.source import WIDTH, call, laid_out
from retorch.pytorch.stages import write_stages

LOAD = '''\
def load(path=None):
    """The model with its weights, those beside this file unless a path is given."""
    from safetensors.torch import load_model

    model = Model()
    load_model(model, path or Path(__file__).with_suffix(".safetensors"))
    return model'''


def model_source(root: Part, ties: list[tuple[str, str]], inputs: list[str] | None, header: list[str]) -> str:
    """The text of ``model.py``.

    Args:
        root: the network's part.
        ties: names of states that are one in Torch: the first is set to the second.
        inputs: the names of the entries of an outer table, which are arguments; None for a single tensor.
        header: the comment in front, line by line.
    """
    classes = _Classes()
    # a block holds the names of the classes inside it, so they have their final ones first
    classes.write_inside(root)
    functions = write_stages(root)
    share_blocks(root, classes.taken())
    model = classes.model(root, ties, inputs)
    written = [*classes.texts.values(), model]
    names = set(re.findall(r"(?<![.\w])[A-Za-z_]\w*", "\n".join(written)))
    blocks = [*library_source.needed(names), *functions, *written, LOAD]
    body = "\n\n\n".join(blocks)
    return "\n".join([*(f"# {line}".rstrip() for line in header), _imports(body), "", "", body, ""])


def _imports(body: str) -> str:
    lines = ["import math"] if re.search(r"\bmath\.", body) else []
    lines += ["from pathlib import Path", ""]
    if re.search(r"\btorch\.(?!nn)", body.replace("safetensors.torch", "")):
        lines.append("import torch")
    if re.search(r"\bF\.", body):
        lines.append("import torch.nn.functional as F")
    return "\n".join([*lines, "from torch import nn"])


def parts(root: Part, prefix: str = "") -> Iterator[tuple[str, Part]]:
    """A part and all inside it, with the name of its place."""
    yield prefix, root
    for name, child in root.children.items():
        yield from parts(child, f"{prefix}.{name}" if prefix else name)


class _Classes:
    """The classes that are written for this model: one for equal sources."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self._known: dict[str, str] = {}

    def model(self, root: Part, ties: Iterable[tuple[str, str]], inputs: list[str] | None) -> str:
        """The class of the network."""
        self.write_inside(root)
        lines: list[str] = []
        base = root.written.base if root.written is not None else root.name
        lines.append(f"class Model({base}):")
        lines += ["    def __init__(self):"]
        if root.written is not None:
            lines += laid_out(call("super().__init__", root.children_as_arguments()), 8)
            lines += _indented(root.written.init, 8)
        else:
            lines += laid_out(root.expression("super().__init__"), 8)
        lines += [line for one, other in ties for line in _tie(one, other)]
        if root.written is not None:
            lines += ["", *_forward(root.written, inputs)]
        elif inputs is not None:
            # containers take one argument, networks as many as their outer table holds
            lines += ["", f"    def forward(self, {', '.join(inputs)}):  # pyright: ignore"]
            single = "," if len(inputs) == 1 else ""
            lines.append(f"        return super().forward(({', '.join(inputs)}{single}))")
        return "\n".join(lines)

    def write_inside(self, part: Part) -> None:
        """The classes of the modules inside one, which get their names."""
        for child in part.children.values():
            self.write_inside(child)
            if child.written is not None:
                child.name = self._class(child, child.written)

    def taken(self) -> set[str]:
        """The names that a further class cannot have."""
        return {*self.texts, *library_source.definitions(), "Model"}

    def _class(self, part: Part, written: Written) -> str:
        body = [f"class {{name}}({written.base}):"]
        if written.body is not None:
            body += [f"    def __init__({', '.join(['self', *written.signature])}):", *laid_out(written.body, 8)]
        elif part.children or written.init:
            body += ["    def __init__(self):"]
            body += laid_out(call("super().__init__", part.children_as_arguments()), 8)
            body += [*_indented(written.init, 8), ""]
        if written.body is None:
            body += _forward(written, None)
        text = "\n".join(body)
        if text not in self._known:
            taken = self.taken()
            name, n = written.name, 1
            while name in taken:
                n += 1
                name = f"{written.name}{n}"
            self._known[text] = name
            self.texts[name] = text.replace("{name}", name, 1)
        return self._known[text]


def _forward(written: Written, inputs: list[str] | None) -> list[str]:
    lines = list(written.forward)
    arguments = "x"
    if inputs is not None:
        arguments = "*x"
        targets, _, right = lines[0].partition(" = ")
        names = [name for name in targets.replace(",", " ").split() if name]
        plain = right == "x" and "(" not in targets and "_" not in names and len(set(names)) == len(names)
        if plain:
            arguments, lines = ", ".join(names), lines[1:]
    return [f"    def forward(self, {arguments}):", *_indented(lines, 8)]


def _indented(lines: Iterable[str], by: int) -> list[str]:
    return [" " * by + line for line in lines]


def _tie(one: str, other: str) -> list[str]:
    """Make a state of the model another one of it."""
    line = f"        {_place(one)} = {_place(other)}"
    if len(line) <= WIDTH:
        return [line]
    module, _, state = other.rpartition(".")
    return [f'        shared = self.get_submodule("{module}")', f"        {_place(one)} = shared.{state}"]


def _place(name: str) -> str:
    """How a state is reached from the model."""
    module, _, state = name.rpartition(".")
    if not module:
        return f"self.{state}"
    return f"self[{module}].{state}" if module.isdigit() else f'self.get_submodule("{module}").{state}'
