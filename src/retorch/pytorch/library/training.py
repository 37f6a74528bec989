"""What PyTorch's dropouts do not do, and gradients that Torch7 changes on their way back."""

import torch
import torch.nn.functional as F
from torch import nn


class UnscaledDropout(nn.Module):
    """Dropout that keeps what is left as it is in training, and scales by 1 - p at evaluation."""

    def __init__(self, p, channels=0, at_evaluation=False):
        super().__init__()
        self.p = p
        self.channels = channels
        self.at_evaluation = at_evaluation

    def forward(self, x):
        if not self.training and not self.at_evaluation:
            return x * (1 - self.p)
        shape = x.shape[: x.dim() - self.channels] + (1,) * self.channels
        return x * torch.bernoulli(x.new_full(shape, 1 - self.p))


class StochasticDropout(nn.Module):
    """Dropout in training and at evaluation alike."""

    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        return F.dropout(x, self.p, training=True)


class SequenceDropout(nn.Module):
    """Dropout that drops the same elements at every step; the steps are dimension 0."""

    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        if not self.training:
            return x
        return x * F.dropout(torch.ones_like(x[:1]), self.p)


class WhiteNoise(nn.Module):
    """Adds normally distributed noise in training, its mean at evaluation."""

    def __init__(self, mean, std):
        super().__init__()
        self.mean = mean
        self.std = std

    def forward(self, x):
        if not self.training:
            return x + self.mean
        return x + torch.randn_like(x) * self.std + self.mean


class ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return ctx.factor * gradient, None


class GradientReversal(nn.Module):
    """x; its gradient is reversed on the way back."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return ScaledGradient.apply(x, -self.factor)


class ZeroGrad(nn.Module):
    """x; no gradient goes back."""

    def forward(self, x):
        return ScaledGradient.apply(x, 0.0)


class NoBackprop(nn.Sequential):
    """Modules that are not trained: no gradient goes back through them."""

    def forward(self, input):
        return super().forward(input).detach()


class PenalizedGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, pass_on):
        ctx.save_for_backward(x)
        ctx.weight = weight
        ctx.pass_on = pass_on
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        penalty = ctx.weight * x.sign()
        return gradient + penalty if ctx.pass_on else penalty, None, None


class L1Penalty(nn.Module):
    """x; the gradient of weight * sum |x| is added on the way back in training."""

    def __init__(self, weight, average=False, pass_on=True):
        super().__init__()
        self.weight = weight
        self.average = average
        self.pass_on = pass_on

    def forward(self, x):
        if not self.training:
            return x
        weight = self.weight / x.numel() if self.average else self.weight
        return PenalizedGradient.apply(x, weight, self.pass_on)


class Clip(nn.Module):
    """x between two bounds; its gradient goes back as it is."""

    def __init__(self, low, high):
        super().__init__()
        self.low = low
        self.high = high

    def forward(self, x):
        return x + (x.clamp(self.low, self.high) - x).detach()
