"""What retorch costs, against what there was before: ``python -m benchmarks.NAME`` from the root, or ``make bench``."""
