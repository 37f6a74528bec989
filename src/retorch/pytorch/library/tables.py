"""What Torch7 does with tables, which are tuples here."""

import torch
from torch import nn


class CAddTable(nn.Module):
    """The sum of a tuple."""

    def forward(self, xs):
        return sum(xs[1:], xs[0])


class CSubTable(nn.Module):
    """The difference of a tuple of two."""

    def forward(self, xs):
        return xs[0] - xs[1]


class CMulTable(nn.Module):
    """The product of a tuple."""

    def forward(self, xs):
        y = xs[0]
        for x in xs[1:]:
            y = y * x
        return y


class CDivTable(nn.Module):
    """The quotient of a tuple of two."""

    def forward(self, xs):
        return xs[0] / xs[1]


class CMaxTable(nn.Module):
    """The largest of a tuple, element by element."""

    def forward(self, xs):
        return torch.stack(tuple(xs)).max(0)[0]


class CMinTable(nn.Module):
    """The smallest of a tuple, element by element."""

    def forward(self, xs):
        return torch.stack(tuple(xs)).min(0)[0]


class JoinTable(nn.Module):
    """A tuple joined along a dimension."""

    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, xs):
        return torch.cat(xs, self.dim)


class SplitTable(nn.Module):
    """The entries of a dimension as a tuple."""

    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        return x.unbind(self.dim)


class SelectTable(nn.Module):
    """One entry of a tuple."""

    def __init__(self, index):
        super().__init__()
        self.index = index

    def forward(self, xs):
        return xs[self.index]


class NarrowTable(nn.Module):
    """Some entries of a tuple."""

    def __init__(self, start, end):
        super().__init__()
        self.start = start
        self.end = end

    def forward(self, xs):
        return xs[self.start : self.end]


class FlattenTable(nn.Module):
    """Nested tuples as one."""

    def forward(self, xs):
        parts = [self(x) if isinstance(x, tuple) else (x,) for x in xs]
        return sum(parts, ())


class ReverseTable(nn.Module):
    """A tuple from its end."""

    def forward(self, xs):
        return xs[::-1]


class ZipTable(nn.Module):
    """A tuple of rows as a tuple of columns."""

    def forward(self, xs):
        return tuple(zip(*xs))


class ZipTableOneToMany(nn.Module):
    """A value beside each entry of a tuple."""

    def forward(self, xs):
        one, many = xs
        return tuple((one, x) for x in many)


class CAddTensorTable(nn.Module):
    """A tensor added to each entry of a tuple."""

    def forward(self, xs):
        one, many = xs
        return tuple(x + one for x in many)
