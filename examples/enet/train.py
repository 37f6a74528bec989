"""Train the twin of a segmenter: ``python -m examples.enet.train TWIN --steps 800``, where PyTorch is.

Reads ``model.py`` in the folder TWIN, leaves the trained weights in ``model.safetensors`` there, and in
``expected.npz`` the classes that the trained twin itself sees in four scenes that it has not learnt from.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_model
from torch import nn

from examples.scenes import CLASSES, scene

#: Scenes of these seeds are kept from training.
UNSEEN = (1_000_001, 1_000_002, 1_000_003, 1_000_004)
SCENES, BATCH = 300, 6


def scenes(seeds: range | tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures in 0…1 (N, 3, H, W) and their classes (N, H, W)."""
    made = [scene(np.random.default_rng(seed)) for seed in seeds]
    pictures = np.stack([pixels for pixels, _ in made]).transpose(0, 3, 1, 2) / np.float32(255)
    return torch.from_numpy(pictures), torch.from_numpy(np.stack([kinds for _, kinds in made]).astype(np.int64))


def train(model: nn.Module, steps: int) -> None:
    """Adam on the cross entropy; classes that are rare count more, as in the paper."""
    pictures, classes = scenes(range(min(SCENES, steps * BATCH)))
    share = torch.bincount(classes.flatten(), minlength=len(CLASSES)) / classes.numel()
    loss_of = nn.CrossEntropyLoss(1 / torch.log(1.02 + share))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=max(steps, 2))
    for step in range(steps):
        chosen = torch.randint(len(pictures), (BATCH,))
        x, wanted = pictures[chosen], classes[chosen]
        if step % 2:
            x, wanted = x.flip(3), wanted.flip(2)
        loss = loss_of(model(x), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 49 or step == steps - 1:
            print(f"step {step + 1}: loss {loss.item():.3f}", flush=True)


def main(argv: list[str] | None = None) -> None:
    """Train, and write the weights and what to expect of them."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("twin", type=Path)
    asked.add_argument("--steps", type=int, default=800)
    options = asked.parse_args(argv)
    sys.path.insert(0, str(options.twin))
    from model import load  # the twin

    torch.manual_seed(0)
    model = load().train()
    train(model, options.steps)
    model.eval()
    save_model(model, str(options.twin / "model.safetensors"))
    pictures, classes = scenes(UNSEEN)
    with torch.no_grad():
        seen = model(pictures).argmax(1)
    np.savez_compressed(options.twin / "expected.npz", classes=seen.numpy().astype(np.uint8))
    print(f"right in scenes that it has not seen: {(seen == classes).double().mean():.1%} of the pixels")


if __name__ == "__main__":
    main()
