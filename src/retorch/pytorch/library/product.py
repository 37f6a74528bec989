"""Products and distances of two tensors, which come as a tuple."""

import torch
from torch import nn


class MM(nn.Module):
    """The product of two matrices, or of matrices one by one."""

    def __init__(self, transA=False, transB=False):
        super().__init__()
        self.transA = transA
        self.transB = transB

    def forward(self, xs):
        a, b = xs
        a = a.transpose(-1, -2) if self.transA else a
        return a @ (b.transpose(-1, -2) if self.transB else b)


class MV(nn.Module):
    """The product of a matrix and a vector, or of such one by one."""

    def __init__(self, trans=False):
        super().__init__()
        self.trans = trans

    def forward(self, xs):
        m, v = xs
        m = m.transpose(-1, -2) if self.trans else m
        return (m @ v.unsqueeze(-1)).squeeze(-1)


class DotProduct(nn.Module):
    """The dot product, row by row."""

    def forward(self, xs):
        return (xs[0] * xs[1]).sum(1)


class CosineDistance(nn.Module):
    """The cosine, row by row."""

    def forward(self, xs):
        a, b = xs
        lengths = (a.square().sum(1) + 1e-12) * (b.square().sum(1) + 1e-12)
        return (a * b).sum(1) / lengths.sqrt()


class PairwiseDistance(nn.Module):
    """The distance of two rows, row by row."""

    def __init__(self, p=2):
        super().__init__()
        self.p = p

    def forward(self, xs):
        return torch.norm(xs[0] - xs[1], self.p, dim=1)


class Euclidean(nn.Module):
    """The distances of each row to the columns of the weight."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))

    def forward(self, x):
        return torch.norm(x.unsqueeze(-1) - self.weight, 2, dim=-2)


class WeightedEuclidean(nn.Module):
    """The distances of each row to the columns of the weight, each axis scaled."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.diagCov = nn.Parameter(torch.empty(inputs, outputs))

    def forward(self, x):
        return torch.norm(self.diagCov * (x.unsqueeze(-1) - self.weight), 2, dim=-2)


class Normalize(nn.Module):
    """Rows divided by their norm; eps is added to the sum of powers."""

    def __init__(self, p=2, eps=1e-10):
        super().__init__()
        self.p = p
        self.eps = eps

    def forward(self, x):
        powers = x.abs().pow(self.p).sum(-1, keepdim=True) + self.eps
        return x / powers.pow(1 / self.p)
