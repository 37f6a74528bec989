"""Tables of tensors."""

from retorch.layers.table import arithmetic, selection

__all__ = ["arithmetic", "selection"]
