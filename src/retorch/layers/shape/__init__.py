"""Views, reorderings and selections."""

from retorch.layers.shape import view

__all__ = ["view"]
