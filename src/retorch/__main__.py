"""``python -m retorch``: the program ``retorch``."""

from retorch.cli import run

run()
