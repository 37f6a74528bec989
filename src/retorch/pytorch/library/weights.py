"""Modules with weights that PyTorch does not have, or has with another formula."""

import torch
from torch import nn


class MaskedConv2d(nn.Conv2d):
    """A convolution with connections between some planes only."""

    def __init__(self, inputs, outputs, *args, **named):
        super().__init__(inputs, outputs, *args, **named)
        self.register_buffer("mask", torch.ones(outputs, inputs, 1, 1))

    def forward(self, x):
        return self._conv_forward(x, self.weight * self.mask, self.bias)


class SubSampling(nn.Module):
    """The sum of each window, times a weight and plus a bias for each plane."""

    def __init__(self, planes, kernel, stride):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(planes))
        self.bias = nn.Parameter(torch.empty(planes))
        self.pool = nn.AvgPool2d(kernel, stride, divisor_override=1)

    def forward(self, x):
        shape = (-1, 1, 1)
        return self.pool(x) * self.weight.view(shape) + self.bias.view(shape)


class Bilinear(nn.Bilinear):
    """A bilinear map of a tuple of two."""

    def forward(self, xs):
        return super().forward(*xs)


class Cosine(nn.Module):
    """The cosine between each row of the input and each row of the weight."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))

    def forward(self, x):
        weight = self.weight / (self.weight.norm(dim=1, keepdim=True) + 1e-12)
        return x @ weight.t() / (x.norm(dim=-1, keepdim=True) + 1e-12)


class WeightNormLinear(nn.Module):
    """A linear map with the weight g * v / |v|, row by row."""

    def __init__(self, inputs, outputs, bias=True):
        super().__init__()
        self.v = nn.Parameter(torch.empty(outputs, inputs))
        self.g = nn.Parameter(torch.empty(outputs, 1))
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None

    def forward(self, x):
        weight = self.g * self.v / self.v.norm(dim=1, keepdim=True)
        return nn.functional.linear(x, weight, self.bias)
