"""Runs in an interpreter that has torch: a twin's outputs and one training step against what Torch7 computed.

The first argument is the engine's worker, whose way of loading a model is used. A request is a line of JSON with the
``model.py``, the case's ``.npz`` and, for training, Torch7's own numbers and the weights in the file; the answer is
what differs.
"""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import torch

#: How far a step goes.
RATE = 0.1
#: Layers that draw at random; the truth left them at evaluation.
RANDOM = ("drop", "rrelu", "noise", "fractional")


def load_worker(path):
    spec = importlib.util.spec_from_file_location("pytorch_worker", path)
    worker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(worker)
    worker.provide_safetensors()
    return worker


def off(name, got, want, tolerance):
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    if got.shape != want.shape:
        return [f"{name}: shape {got.shape}, Torch gave {want.shape}"]
    with np.errstate(all="ignore"):
        same = (got == want) | (np.isnan(got) & np.isnan(want))
        error = float(np.where(same, 0, np.abs(got - want)).max(initial=0))
    scale = max(1.0, float(np.abs(want[np.isfinite(want)]).max(initial=0)))
    return [] if error <= tolerance * scale else [f"{name}: off by {error:.2g} at scale {scale:.2g}"]


def in_any_layout(got, want):
    """Both sorted: layouts may differ. Zeros that only one has come from a scattered kernel."""
    got, want = np.sort(np.ravel(got)), np.sort(np.ravel(want))
    return (got, want) if got.size == want.size else (got[got != 0], want[want != 0])


def inputs(worker, stored):
    count = sum(name[6:].isdigit() for name in stored if name.startswith("input_"))
    tensors = [torch.from_numpy(np.ascontiguousarray(stored[f"input_{i}"])) for i in range(count)]
    tree = json.loads(str(stored["input_nesting"]))
    tensors = [t.float() if t.is_floating_point() else t for t in tensors]

    def arguments(given):
        return [worker.nested(item, given) for item in tree] if isinstance(tree, list) else [given[tree]]

    return tensors, arguments


def evaluation(worker, model, stored):
    tensors, arguments = inputs(worker, stored)
    with torch.no_grad():
        made = worker.flat(model.eval()(*arguments([t.clone() for t in tensors])))
    count = sum(name[7:].isdigit() for name in stored if name.startswith("output_"))
    if len(made) != count:
        return [f"{len(made)} outputs, Torch gave {count}"]
    return [e for i, y in enumerate(made) for e in off(f"output {i}", y.numpy(), stored[f"output_{i}"], 1e-4)]


def training(worker, model, stored, truth, maps, before=None):
    model.train()
    for module in model.modules():
        if any(word in type(module).__name__.lower() for word in RANDOM):
            module.eval()
    tensors, arguments = inputs(worker, stored)
    leaves = [t.clone().requires_grad_() if t.is_floating_point() else t for t in tensors]
    with torch.no_grad():
        model(*arguments([t.clone() for t in tensors]))
    made = worker.flat(model(*arguments([t * 1 if t.is_floating_point() else t for t in leaves])))
    wrong = [e for i, y in enumerate(made) for e in off(f"output {i}", y.detach().numpy(), truth[f"output_{i}"], 1e-4)]
    pairs = [(y, torch.from_numpy(truth[f"grad_output_{i}"]).float()) for i, y in enumerate(made) if y.requires_grad]
    torch.autograd.backward([y for y, _ in pairs], [g for _, g in pairs])
    for i, leaf in enumerate(leaves):
        name = f"grad_input_{i}"
        if name in truth and leaf.is_floating_point() and truth[name].shape == tuple(leaf.shape):
            gradient = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
            wrong += off(name, gradient.numpy(), truth[name], 1e-3)
    wrong += parameters(model, truth, maps)
    return wrong + (step(model, truth, maps, before) if before else [])


def step(model, truth, maps, before):
    """One step of gradient descent: ``updateParameters`` takes the rate times its gradient from each weight."""
    torch.optim.SGD(model.parameters(), lr=RATE).step()
    named = dict(model.named_parameters(remove_duplicate=False))
    wrong = []
    for path, weight in before.items():
        got = named[maps["parameters"][path]].detach().numpy()
        want = weight - RATE * truth[f"grad:{path}"].reshape(weight.shape)
        wrong += off(f"{path} after a step", *in_any_layout(got, want), 1e-3)
    return wrong


def parameters(model, truth, maps):
    wrong = []
    named = dict(model.named_parameters(remove_duplicate=False))
    buffers = dict(model.named_buffers())
    for key, want in truth.items():
        kind, _, path = key.partition(":")
        if kind == "grad":
            parameter = named.get(maps["parameters"].get(path))
            if parameter is None:
                wrong.append(f"no parameter for {path}")
                continue
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            wrong += off(path, *in_any_layout(gradient.numpy(), want), 1e-3)
        elif kind == "after" and path in maps["buffers"]:
            wrong += off(path, buffers[maps["buffers"][path]].numpy(), want, 1e-4)
    return wrong


def main():
    worker = load_worker(sys.argv[1])
    sys.dont_write_bytecode = True
    torch.set_num_threads(1)
    for line in sys.stdin:
        job = json.loads(line)
        try:
            stored = dict(np.load(job["npz"]))
            wrong = evaluation(worker, worker.ready(job["source"]), stored)
            if job["train"]:
                maps = json.loads(Path(job["source"]).with_name("retorch.json").read_text(encoding="utf-8"))
                truth, before = dict(np.load(job["train"])), dict(np.load(job["before"])) if job.get("before") else {}
                wrong += training(worker, worker.ready(job["source"]), stored, truth, maps, before)
        except Exception as error:  # whatever a model raises is the answer
            wrong = [f"{type(error).__name__}: {error}"]
        print(json.dumps(wrong), flush=True)


if __name__ == "__main__":
    main()
