"""Runs in an interpreter that has torch: Torch7's gradients where something on the way back was overwritten.

In Torch7 a module keeps one ``output``, and what it needs for its gradient is read from its own buffers or from the
``output`` of the module before it. A module that runs twice, or an in-place one that writes over another's output,
leaves something else there than what flowed forward. ``Chain`` computes what Torch7 computed then, from the twin's own
modules: the twin's gradient, and this one against Torch7's numbers.
"""

import json
import sys
from pathlib import Path

import judge
import numpy as np
import torch
from torch import nn

#: Modules whose gradient Torch7 computes from what they kept themselves; the others read what was given to them.
SELF_KEPT = (nn.Conv2d, nn.MaxPool2d, nn.Sigmoid, nn.Tanh, nn.BatchNorm2d, nn.Sequential)


class Backward(torch.autograd.Function):
    """A chain of modules, forwards as ever, backwards with what the buffers hold at the end."""

    @staticmethod
    def forward(ctx, x, chain, *parameters):
        ctx.chain, ctx.x, ctx.given = chain, x.detach(), {}
        for place, module in zip(chain.places, chain.inner, strict=True):
            ctx.given[place] = x.detach()
            x = module(x).detach()
            chain.held[place] = x
        return x

    @staticmethod
    def backward(ctx, gradient):
        chain, parameters = ctx.chain, list(ctx.chain.parameters())
        sums = {id(p): torch.zeros_like(p) for p in parameters}
        for k in reversed(range(len(chain.inner))):
            module, place = chain.inner[k], chain.places[k]
            held = chain.held[chain.places[k - 1]] if k else ctx.x
            x = ctx.given[place] if isinstance(module, SELF_KEPT) else held
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                own = list(module.parameters())
                statistics = [buffer.clone() for buffer in module.buffers()]
                gradient, *more = torch.autograd.grad(module(x), [x, *own], gradient)
            for buffer, before in zip(module.buffers(), statistics, strict=True):
                buffer.copy_(before)
            for parameter, addend in zip(own, more, strict=True):
                sums[id(parameter)] += addend
        return (gradient, None, *(sums[id(p)] for p in parameters))


class Chain(nn.Module):
    """Modules in a row; places that are equal are one module in Torch7, with one output."""

    def __init__(self, inner, places):
        super().__init__()
        self.inner, self.places, self.held = inner, places, {}

    def forward(self, x):
        return Backward.apply(x, self, *self.parameters())


def main():
    worker = judge.load_worker(sys.argv[1])
    sys.dont_write_bytecode = True
    source, stored, truth, chains = Path(sys.argv[2]), sys.argv[3], sys.argv[4], json.loads(sys.argv[5])
    model = worker.ready(str(source))
    maps = json.loads(source.with_name("retorch.json").read_text(encoding="utf-8"))
    for name, places, overwritten in chains:
        outer, _, last = name.rpartition(".")
        chain = Chain(model.get_submodule(name), places)
        for place, writer in overwritten.items():
            model.get_submodule(writer).register_forward_hook(
                lambda _, __, made, chain=chain, place=int(place): chain.held.__setitem__(place, made.detach())
            )
        model.get_submodule(outer)[int(last)] = chain
        for kind in ("parameters", "buffers"):
            maps[kind] = {path: here.replace(f"{name}.", f"{name}.inner.", 1) for path, here in maps[kind].items()}
    print(json.dumps(judge.training(worker, model, dict(np.load(stored)), dict(np.load(truth)), maps)))


if __name__ == "__main__":
    main()
