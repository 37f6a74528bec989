"""Writes the index of layers, by which the file of a Torch class's rule is found before it is imported.

python tools/layer_index.py
"""

from __future__ import annotations

import textwrap
from collections import defaultdict
from pathlib import Path

from retorch.layers import registered

PACKAGE = "retorch.layers."
INDEX = Path(__file__).parents[1] / "src" / "retorch" / "layers" / "base" / "index.py"
HEAD = '''"""Which file under ``layers/`` has the rule for a Torch class: ``tools/layer_index.py`` writes it."""

_NAMES = {
'''
TAIL = """}

#: The module of a class, by Torch's name, as it is called below ``retorch.layers``.
MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}
"""


def index() -> str:
    """The index as source: what the decorators of all families say."""
    names: dict[str, list[str]] = defaultdict(list)
    for name, cls in registered().items():
        if cls.__module__.startswith(PACKAGE):
            names[cls.__module__.removeprefix(PACKAGE)].append(name)
    rows = [f'    "{module}": """\n{_wrapped(names[module])}\n    """,\n' for module in sorted(names)]
    return HEAD + "".join(rows) + TAIL


def _wrapped(names: list[str]) -> str:
    margin = " " * 8
    return textwrap.fill(
        " ".join(sorted(names)),
        120,
        initial_indent=margin,
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
    )


if __name__ == "__main__":
    INDEX.write_text(index(), encoding="utf-8")
