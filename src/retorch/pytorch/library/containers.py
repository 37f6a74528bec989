"""Containers that PyTorch does not have: what goes between modules may be a tuple."""

import torch
from torch import nn


class ConcatTable(nn.ModuleList):
    """Every module on the same input, their outputs as a tuple."""

    def __init__(self, *modules):
        super().__init__(modules)

    def forward(self, x):
        return tuple(module(x) for module in self)


class ParallelTable(nn.ModuleList):
    """Each module on its entry of a tuple."""

    def __init__(self, *modules):
        super().__init__(modules)

    def forward(self, xs):
        return tuple(module(x) for module, x in zip(self, xs))


class Concat(nn.ModuleList):
    """Every module on the same input, their outputs joined along a dimension."""

    def __init__(self, dim, *modules):
        super().__init__(modules)
        self.dim = dim

    def forward(self, x):
        return torch.cat([module(x) for module in self], self.dim)


class MapTable(nn.ModuleList):
    """One module on each entry of a tuple."""

    def __init__(self, module):
        super().__init__([module])

    def forward(self, xs):
        return tuple(self[0](x) for x in xs)
