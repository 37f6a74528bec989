"""Containers that PyTorch does not have: what goes between modules may be a tuple."""

import torch
import torch.nn.functional as F
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


class DepthConcat(nn.ModuleList):
    """Every module on the same images, smaller outputs centred among zeros, joined."""

    def __init__(self, *modules):
        super().__init__(modules)

    def forward(self, x):
        ys = [module(x) for module in self]
        height, width = (max(y.shape[dim] for y in ys) for dim in (2, 3))
        padded = []
        for y in ys:
            rows, columns = height - y.shape[2], width - y.shape[3]
            top, left = rows // 2, columns // 2
            padded.append(F.pad(y, (left, columns - left, top, rows - top)))
        return torch.cat(padded, 1)


class Bottle(nn.ModuleList):
    """A module on the last dimensions, those before them taken as one batch."""

    def __init__(self, module, dims=2):
        super().__init__([module])
        self.dims = dims

    def forward(self, x):
        outer = x.dim() - self.dims + 1
        y = self[0](x.flatten(0, outer - 1))
        return y.reshape(x.shape[:outer] + y.shape[1:])


class Parallel(nn.ModuleList):
    """Each module on its entry of one dimension, their outputs joined along another."""

    def __init__(self, dim, joined, *modules):
        super().__init__(modules)
        self.dim = dim
        self.joined = joined

    def forward(self, x):
        ys = [module(x.select(self.dim, i)) for i, module in enumerate(self)]
        return torch.cat(ys, self.joined)
