"""Modules with weights that PyTorch does not have, or has with another formula."""

import torch
import torch.nn.functional as F
from torch import nn


class MaskedConv2d(nn.Conv2d):
    """A convolution with connections between some channels only."""

    mask: torch.Tensor

    def __init__(self, inputs, outputs, *args, **named):
        super().__init__(inputs, outputs, *args, **named)
        self.register_buffer("mask", torch.ones(outputs, inputs, 1, 1))

    def forward(self, input):
        return self._conv_forward(input, self.weight * self.mask, self.bias)


class SubSampling(nn.Module):
    """The sum of each window, times a weight and plus a bias for each channel."""

    def __init__(self, channels, kernel, stride):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))
        self.pool = nn.AvgPool2d(kernel, stride, divisor_override=1)

    def forward(self, x):
        shape = (-1, 1, 1)
        return self.pool(x) * self.weight.view(shape) + self.bias.view(shape)


class TemporalSubSampling(nn.Module):
    """The sum of each window of steps, times a weight and plus a bias for each feature."""

    def __init__(self, features, kernel, stride):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(features))
        self.bias = nn.Parameter(torch.empty(features))
        self.kernel = kernel
        self.stride = stride

    def forward(self, x):
        sums = x.unfold(-2, self.kernel, self.stride).sum(-1)
        return sums * self.weight + self.bias


class TemporalConvolution(nn.Conv1d):
    """A convolution over steps, which stand before the features: (N, T, C)."""

    def forward(self, input):
        if input.dim() == 2:
            return self(input.unsqueeze(0)).squeeze(0)
        return super().forward(input.transpose(1, 2)).transpose(1, 2)


class BatchNorm2d(nn.BatchNorm2d):
    """Torch7's CPU code takes a batch of one by the running statistics in training too."""

    def forward(self, input):
        if self.training and len(input) == 1:
            statistics = self.running_mean, self.running_var
            return F.batch_norm(
                input, *statistics, self.weight, self.bias, eps=self.eps
            )
        return super().forward(input)


class UnmeasuredNorm2d(nn.Module):
    """An instance norm that takes mean 0 and variance 1, and does not measure."""

    def __init__(self, channels, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))
        self.scale = (1 + eps) ** -0.5

    def forward(self, x):
        weight = self.scale * self.weight.view(-1, 1, 1)
        return x * weight + self.bias.view(-1, 1, 1)


class Bilinear(nn.Module):
    """A bilinear map of a tuple of two."""

    def __init__(self, first, second, outputs, bias=True):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, first, second))
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None

    def forward(self, xs):
        a, b = xs
        return F.bilinear(a, b, self.weight, self.bias)


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
        return F.linear(x, weight, self.bias)


class WeightNorm(nn.ModuleList):
    """A module with the weight g * v / sqrt(|v|^2 + 1e-4), row by row of v."""

    def __init__(self, module, dim=0):
        super().__init__([module])
        weight = module.weight.transpose(0, dim)
        del module.weight
        self.dim = dim
        self.shape = weight.shape
        self.v = nn.Parameter(torch.empty(len(weight), weight[0].numel()))
        self.g = nn.Parameter(torch.empty(len(weight), 1))

    def forward(self, x):
        rows = self.v * self.g / (self.v.pow(2).sum(1, keepdim=True) + 1e-4).sqrt()
        self[0].weight = rows.view(self.shape).transpose(0, self.dim)
        return self[0](x)
