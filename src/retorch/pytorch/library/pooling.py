"""Poolings over steps, which stand before the features."""

import torch.nn.functional as F
from torch import nn


class TemporalMaxPooling(nn.Module):
    """The largest of each window of steps: (N, T, C)."""

    def __init__(self, kernel, stride=None):
        super().__init__()
        self.kernel = kernel
        self.stride = stride

    def forward(self, x):
        return F.max_pool1d(x.transpose(1, 2), self.kernel, self.stride).transpose(1, 2)
