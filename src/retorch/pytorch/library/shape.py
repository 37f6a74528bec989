"""Tensors seen in other sizes."""

import torch
from torch import nn


class Reshape(nn.Module):
    """The same elements in other sizes."""

    def __init__(self, *sizes):
        super().__init__()
        self.sizes = sizes

    def forward(self, x):
        return x.reshape(self.sizes)


class Transpose(nn.Module):
    """Two dimensions swapped."""

    def __init__(self, *dims):
        super().__init__()
        self.dims = dims

    def forward(self, x):
        return x.transpose(*self.dims)


class Permute(nn.Module):
    """The dimensions in another order."""

    def __init__(self, *dims):
        super().__init__()
        self.dims = dims

    def forward(self, x):
        return x.permute(self.dims)


class Unsqueeze(nn.Module):
    """One more dimension, of size 1."""

    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        return x.unsqueeze(self.dim)


class Select(nn.Module):
    """One entry of a dimension."""

    def __init__(self, dim, index):
        super().__init__()
        self.dim = dim
        self.index = index

    def forward(self, x):
        return x.select(self.dim, self.index)


class Narrow(nn.Module):
    """Some entries of a dimension."""

    def __init__(self, dim, start, length):
        super().__init__()
        self.dim = dim
        self.start = start
        self.length = length

    def forward(self, x):
        return x.narrow(self.dim, self.start, self.length)


class Squeeze(nn.Module):
    """A dimension of size 1 less."""

    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        return x.squeeze(self.dim)


class Replicate(nn.Module):
    """Copies along a new dimension."""

    def __init__(self, dim, count):
        super().__init__()
        self.dim = dim
        self.count = count

    def forward(self, x):
        return torch.stack([x] * self.count, self.dim)
