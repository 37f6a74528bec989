"""Recurrent layers of Torch7's packages rnn and torch-rnn, and steps that keep their state until they are reset."""

import torch
import torch.nn.functional as F
from torch import nn


class OnlyOutput:
    """Gives the outputs of a recurrent layer of PyTorch without the last states."""

    def forward(self, x):
        return super().forward(x)[0]


class LSTM(OnlyOutput, nn.LSTM):
    pass


class GRU(OnlyOutput, nn.GRU):
    pass


class RNN(OnlyOutput, nn.RNN):
    pass


class Sequence(nn.Module):
    """One recurrent layer over the steps of a sequence, which are dimension 0 unless batch_first.

    The input may be a tuple with initial states before the sequence. With mask_zero, a step whose
    input is all zeros gives zeros and resets the states.
    """

    gates = 1
    states = 1

    def __init__(
        self, inputs, hidden, outputs=None, batch_first=False, mask_zero=False
    ):
        super().__init__()
        size = hidden if outputs is None else outputs
        self.inputs = inputs
        self.sizes = [size, hidden][: self.states]
        self.batch_first = batch_first
        self.mask_zero = mask_zero
        self.weight = nn.Parameter(torch.empty(inputs + size, self.gates * hidden))
        self.bias = nn.Parameter(torch.empty(self.gates * hidden))
        if outputs is not None:
            self.weightO = nn.Parameter(torch.empty(hidden, outputs))

    def step(self, fed, state):
        raise NotImplementedError

    def forward(self, x):
        *given, x = x if isinstance(x, tuple) else (x,)
        if self.batch_first:
            x = x.transpose(0, 1)
        state = given[::-1]
        state += [x.new_zeros(x.shape[1], n) for n in self.sizes[len(state) :]]
        fed = x @ self.weight[: self.inputs] + self.bias
        outputs = []
        for t in range(x.shape[0]):
            state = self.step(fed[t], state)
            if self.mask_zero:
                kept = x[t].ne(0).any(1, keepdim=True)
                state = [s * kept for s in state]
            outputs.append(state[0])
        y = torch.stack(outputs)
        return y.transpose(0, 1) if self.batch_first else y


class SeqLSTM(Sequence):
    """An LSTM with its gates in the order i, f, o, g; weightO projects its output."""

    gates = 4
    states = 2

    def step(self, fed, state):
        h, c = state
        i, f, o, g = (fed + h @ self.weight[self.inputs :]).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return [h @ self.weightO if hasattr(self, "weightO") else h, c]


class SeqGRU(Sequence):
    """A GRU that resets the state before the product, its gates in the order r, z, n."""

    gates = 3

    def step(self, fed, state):
        (h,) = state
        size = self.sizes[0]
        weight = self.weight[self.inputs :]
        gates = fed[:, : 2 * size] + h @ weight[:, : 2 * size]
        r, z = gates.sigmoid().chunk(2, 1)
        n = torch.tanh(fed[:, 2 * size :] + (r * h) @ weight[:, 2 * size :])
        return [(1 - z) * n + z * h]


class UpdateGRU(Sequence):
    """A GRU that resets the state before the product; its gates are u (how much is written), r, n."""

    gates = 3

    def step(self, fed, state):
        (h,) = state
        size = self.sizes[0]
        weight = self.weight[self.inputs :]
        gates = fed[:, : 2 * size] + h @ weight[:, : 2 * size]
        u, r = gates.sigmoid().chunk(2, 1)
        n = torch.tanh(fed[:, 2 * size :] + (r * h) @ weight[:, 2 * size :])
        return [(1 - u) * h + u * n]


class VanillaRNN(Sequence):
    """h = tanh(W x + R h + b)"""

    def step(self, fed, state):
        (h,) = state
        return [torch.tanh(fed + h @ self.weight[self.inputs :])]


class Step(nn.ModuleList):
    """A module that is called once for each step and keeps its state until it is reset."""

    state = None


class HiddenStep(Step):
    """{h, ...} = module(x, h, ...); gives h. The states start as zeros of these sizes."""

    def __init__(self, module, *sizes):
        super().__init__([module])
        self.sizes = sizes

    def forward(self, x):
        if self.state is None:
            self.state = tuple(x.new_zeros(*x.shape[:-1], n) for n in self.sizes)
        y = self[0]((x, *self.state))
        self.state = y if isinstance(y, tuple) else (y,)
        return self.state[0]


class Recurrence(Step):
    """y = module(x, y); y starts as zeros of these sizes."""

    def __init__(self, module, *sizes):
        super().__init__([module])
        self.sizes = sizes

    def forward(self, x):
        if self.state is None:
            first = x
            while isinstance(first, tuple):
                first = first[0]
            zeros = [first.new_zeros(first.shape[0], *size) for size in self.sizes]
            self.state = tuple(zeros) if len(zeros) > 1 else zeros[0]
        self.state = self[0]((x, self.state))
        return self.state


class Recurrent(nn.ModuleDict):
    """y = initialModule(x) at the first step, then y = recurrentModule(x, y)."""

    state = None

    def __init__(self, initialModule, recurrentModule):
        modules = {"initialModule": initialModule, "recurrentModule": recurrentModule}
        super().__init__(modules)

    def forward(self, x):
        if self.state is None:
            self.state = self["initialModule"](x)
        else:
            self.state = self["recurrentModule"]((x, self.state))
        return self.state


class Sequencer(nn.ModuleList):
    """One module for every step: of a tuple, or of a tensor along dimension 0."""

    def __init__(self, module):
        super().__init__([module])

    def forward(self, xs):
        for module in self.modules():
            vars(module).pop("state", None)
        ys = tuple(self[0](x) for x in xs)
        return ys if isinstance(xs, tuple) else torch.stack(ys)


class MaskZero(nn.ModuleList):
    """Zeros for samples that are all zeros, but their gradients reach the module's parameters."""

    def __init__(self, module):
        super().__init__([module])

    def forward(self, x):
        kept = x.flatten(1).ne(0).any(1)
        shape = [-1] + [1] * (x.dim() - 1)
        y = self[0](torch.where(kept.view(shape), x, x.detach()))
        shape = [-1] + [1] * (y.dim() - 1)
        return y - (y * ~kept.view(shape)).detach()


def lstm(x, w, r, b, h=None, c=None):
    """LSTMs over the steps of a sequence, one for each direction; gates in the order i, o, f, g."""
    outputs, last = [], []
    for d in range(w.shape[0]):
        steps = list(x.unbind(0))[:: -1 if d else 1]
        size = r.shape[2]
        hidden = x.new_zeros(x.shape[1], size) if h is None else h[d]
        cell = x.new_zeros(x.shape[1], size) if c is None else c[d]
        ys = []
        for step in steps:
            gates = (
                F.linear(step, w[d]) + F.linear(hidden, r[d]) + b[d].view(2, -1).sum(0)
            )
            i, o, f, g = gates.chunk(4, 1)
            cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * cell.tanh()
            ys.append(hidden)
        outputs.append(torch.stack(ys[:: -1 if d else 1]))
        last.append((hidden, cell))
    h, c = (torch.stack(states) for states in zip(*last))
    return torch.stack(outputs, 1), h, c


def gru(x, w, r, b, h=None, reset_after=False):
    """GRUs over the steps of a sequence, one for each direction; gates in the order z, r, n."""
    outputs, last = [], []
    for d in range(w.shape[0]):
        steps = list(x.unbind(0))[:: -1 if d else 1]
        hidden = x.new_zeros(x.shape[1], r.shape[2]) if h is None else h[d]
        wb, rb = b[d].chunk(2)
        rz, rn = r[d].split([2 * r.shape[2], r.shape[2]])
        bz, bn = rb.split([2 * r.shape[2], r.shape[2]])
        ys = []
        for step in steps:
            fz, fn = F.linear(step, w[d], wb).split([2 * r.shape[2], r.shape[2]], 1)
            update, reset = (fz + F.linear(hidden, rz, bz)).sigmoid().chunk(2, 1)
            if reset_after:
                n = torch.tanh(fn + reset * F.linear(hidden, rn, bn))
            else:
                n = torch.tanh(fn + F.linear(reset * hidden, rn, bn))
            hidden = (1 - update) * n + update * hidden
            ys.append(hidden)
        outputs.append(torch.stack(ys[:: -1 if d else 1]))
        last.append(hidden)
    return torch.stack(outputs, 1), torch.stack(last)


def rnn(x, w, r, b, h=None, function=torch.tanh):
    """Plain recurrent layers over the steps of a sequence, one for each direction."""
    outputs, last = [], []
    for d in range(w.shape[0]):
        steps = list(x.unbind(0))[:: -1 if d else 1]
        hidden = x.new_zeros(x.shape[1], r.shape[2]) if h is None else h[d]
        bias = b[d].view(2, -1).sum(0)
        ys = []
        for step in steps:
            hidden = function(F.linear(step, w[d], bias) + F.linear(hidden, r[d]))
            ys.append(hidden)
        outputs.append(torch.stack(ys[:: -1 if d else 1]))
        last.append(hidden)
    return torch.stack(outputs, 1), torch.stack(last)
