"""What layers say about the shapes of what they take and give, by family.

Comes in: a layer and what is known of its shapes. Goes out: what follows for its input or output. Open first:
``registry.py``, then ``images.py``.
"""

from __future__ import annotations

# importing a family registers its rules
from retorch.graph.input_shape.rules import elements, images, matrices, shapes, tables
from retorch.graph.input_shape.rules.registry import assumption_of, rule_of

__all__ = ["assumption_of", "elements", "images", "matrices", "rule_of", "shapes", "tables"]
