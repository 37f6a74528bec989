"""Arithmetic element by element, and sums and extremes along a dimension."""

import torch
from torch import nn


class Abs(nn.Module):
    """|x|"""

    def forward(self, x):
        return x.abs()


class Square(nn.Module):
    """The square of x."""

    def forward(self, x):
        return x.square()


class Sqrt(nn.Module):
    """The square root of x."""

    def forward(self, x):
        return x.sqrt()


class Exp(nn.Module):
    """e to the power of x."""

    def forward(self, x):
        return x.exp()


class Log(nn.Module):
    """The natural logarithm of x."""

    def forward(self, x):
        return x.log()


class Power(nn.Module):
    """x to the power of a number."""

    def __init__(self, exponent):
        super().__init__()
        self.exponent = exponent

    def forward(self, x):
        return x.pow(self.exponent)


class MulConstant(nn.Module):
    """x times a number."""

    def __init__(self, constant):
        super().__init__()
        self.constant = constant

    def forward(self, x):
        return x * self.constant


class AddConstant(nn.Module):
    """x plus a number."""

    def __init__(self, constant):
        super().__init__()
        self.constant = constant

    def forward(self, x):
        return x + self.constant


class CMul(nn.Module):
    """x times a weight for each of its last dimensions."""

    def __init__(self, *sizes):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(sizes))

    def forward(self, x):
        return x * self.weight


class CAdd(nn.Module):
    """x plus a bias for each of its last dimensions."""

    def __init__(self, *sizes):
        super().__init__()
        self.bias = nn.Parameter(torch.empty(sizes))

    def forward(self, x):
        return x + self.bias


class ConstAffine(nn.Module):
    """a x + b, one a and one b for each channel, which are not trained."""

    a: torch.Tensor
    b: torch.Tensor

    def __init__(self, channels):
        super().__init__()
        self.register_buffer("a", torch.empty(channels))
        self.register_buffer("b", torch.empty(channels))

    def forward(self, x):
        shape = (-1,) + (1,) * (x.dim() - 2)
        return x * self.a.view(shape) + self.b.view(shape)


class Sum(nn.Module):
    """The sum along a dimension."""

    def __init__(self, dim, keepdim=False):
        super().__init__()
        self.dim = dim
        self.keepdim = keepdim

    def forward(self, x):
        return x.sum(self.dim, keepdim=self.keepdim)


class Mean(nn.Module):
    """The mean along a dimension."""

    def __init__(self, dim, keepdim=False):
        super().__init__()
        self.dim = dim
        self.keepdim = keepdim

    def forward(self, x):
        return x.mean(self.dim, keepdim=self.keepdim)


class Max(nn.Module):
    """The largest along a dimension."""

    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        return x.max(self.dim)[0]


class Min(nn.Module):
    """The smallest along a dimension."""

    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        return x.min(self.dim)[0]
