"""Runs in an interpreter that has torch: gradients that Torch7 keeps under other names than the twin.

``clones``: the sum of Torch7's gradients of clones that share a weight is the twin's. ``v``: what Torch7 keeps as the
gradient of a normalized weight is that of its direction v.
"""

import json
import sys

import judge
import numpy as np
import torch


def trained(worker, source, stored, truth):
    model = worker.ready(source).train()
    tensors, arguments = judge.inputs(worker, stored)
    ys = worker.flat(model(*arguments(tensors)))
    torch.autograd.backward(ys, [torch.from_numpy(truth[f"grad_output_{i}"]).float() for i in range(len(ys))])
    return dict(model.named_parameters())


def main():
    worker = judge.load_worker(sys.argv[1])
    sys.dont_write_bytecode = True
    stored, truth = dict(np.load(sys.argv[3])), dict(np.load(sys.argv[4]))
    model = trained(worker, sys.argv[2], stored, truth)
    pairs = (
        {"v": truth["grad:modules[1].weight"], "0.bias": truth["grad:bias"]} if sys.argv[5] == "v" else clones(truth)
    )
    print(
        json.dumps([e for name, want in pairs.items() for e in judge.off(name, model[name].grad.numpy(), want, 1e-3)])
    )


def clones(truth):
    return {
        f"0.{name}": truth[f"grad:modules[1].{name}"] + truth[f"grad:modules[3].{name}"] for name in ("weight", "bias")
    }


if __name__ == "__main__":
    main()
