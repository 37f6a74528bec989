"""``python -m retorch.cli``: the same program."""

from retorch.cli import main

raise SystemExit(main())
