"""Rows looked up by index: Torch7 counts from 1."""

import torch
import torch.nn.functional as F
from torch import nn


class LookupTable(nn.Embedding):
    """An embedding whose indices count from 1."""

    def forward(self, input):
        return super().forward(input.long() - 1)


class LookupTableMaskZero(nn.Embedding):
    """An embedding whose row 0 is zeros, also after a step of training."""

    def forward(self, input):
        with torch.no_grad():
            self.weight[0] = 0
        return super().forward(input.long())


class OneHot(nn.Module):
    """For each index, which counts from 1, zeros with a one in its place."""

    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, x):
        return F.one_hot(x.long() - 1, self.size).float()
