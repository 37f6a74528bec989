"""Train the twin of a style network: ``python -m examples.style.train TWIN --steps 700``, where PyTorch is.

Reads ``model.py`` in the folder TWIN, leaves the trained weights in ``model.safetensors`` there, and in
``expected.npz`` what the trained twin itself makes of the photograph.

A picture has a style as far as its features go together as in the style's picture (their Gram matrices: Gatys et al.,
2015). fast-neural-style takes the features from VGG; here they are random filters at three sizes, which do for
patterns (Ustyuzhaninov et al., 2016) and need no file.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_model
from torch import nn
from torch.nn import functional

from examples.scenes import scene

#: Caffe's mean, blue first: the network reads and gives pictures less this.
MEAN = torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)
#: The scene that the example shows is of a seed that is not trained on.
PHOTO_SEED = 1_000_013
SCENES, BATCH, SIZE = 120, 2, 96


def photo() -> NDArray[np.uint8]:
    """The scene that the example shows."""
    return scene(np.random.default_rng(PHOTO_SEED), 240, 320)[0]


def style_picture(size: int = 192) -> NDArray[np.uint8]:
    """Waves of paint in blue, white and ochre."""
    rows, columns = np.mgrid[0:size, 0:size] / size
    bent = rows + 0.12 * np.sin(7 * columns + 2) + 0.06 * np.sin(17 * columns + 9 * rows)
    along = columns + 0.1 * np.sin(9 * rows)
    wave = 0.5 + 0.5 * np.sin(75 * bent + 2 * np.sin(14 * along))
    patch = 0.5 + 0.5 * np.sin(9 * along + 5 * np.sin(6 * bent))
    dark, pale = np.array([0.05, 0.12, 0.4]), np.array([0.93, 0.93, 0.85])
    blue, ochre = np.array([0.15, 0.45, 0.75]), np.array([0.9, 0.65, 0.15])
    paint = np.where((patch > 0.55)[..., None], ochre, blue)
    w = wave[..., None]
    made = np.where(w < 0.3, dark, np.where(w > 0.85, pale, paint))
    return (made * 255).astype(np.uint8)


def tensor(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """Pixels (H, W, 3) as the network takes them (1, 3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(pixels[:, :, ::-1].transpose(2, 0, 1)[None])).float() - MEAN


def pixels(y: torch.Tensor) -> NDArray[np.uint8]:
    """What the network gives (1, 3, H, W) as pixels (H, W, 3)."""
    made = (y + MEAN).round().clamp(0, 255)[0].byte().numpy()
    return np.ascontiguousarray(made.transpose(1, 2, 0)[:, :, ::-1])


class Features(nn.Module):
    """Random filters of 7×7 on a picture at three sizes."""

    def __init__(self, count: int = 48) -> None:
        super().__init__()
        filters = torch.randn(count, 3, 7, 7)
        filters -= filters.mean((2, 3), keepdim=True) * (torch.arange(count) >= count // 4).view(-1, 1, 1, 1)
        self.register_buffer("filters", filters / filters.flatten(1).norm(dim=1).view(-1, 1, 1, 1))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        found = []
        x = x / 64
        for _ in range(3):
            found.append(torch.relu(functional.conv2d(x, self.filters)))
            x = functional.avg_pool2d(x, 2)
        return found


def grams(features: list[torch.Tensor]) -> list[torch.Tensor]:
    """How features go together, over the whole picture."""
    flat = [feature.flatten(2) for feature in features]
    return [x @ x.transpose(1, 2) / x.shape[2] for x in flat]


def outlines(x: torch.Tensor) -> torch.Tensor:
    """What a picture shows: its brightness, without the finest detail."""
    return functional.avg_pool2d(x.mean(1, keepdim=True), 4) / 64


def train(model: nn.Module, steps: int) -> None:
    """Adam on style and content."""
    features = Features()
    wanted = grams(features(tensor(style_picture())))
    scenes = [scene(np.random.default_rng(seed), 128, 160)[0] for seed in range(min(SCENES, steps * BATCH))]
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 8e-3, total_steps=max(steps, 2))
    for step in range(steps):
        x = torch.cat([_crop(scenes[int(i)]) for i in torch.randint(len(scenes), (BATCH,))])
        y = model(x)
        style = torch.stack(
            [
                ((made - want) ** 2).mean() / (want**2).mean()
                for made, want in zip(grams(features(y)), wanted, strict=True)
            ]
        ).sum()
        content = functional.mse_loss(outlines(y), outlines(x))
        smooth = (y.diff(dim=2).abs().mean() + y.diff(dim=3).abs().mean()) / 64
        loss = style + 2.0 * content + 0.05 * smooth
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 49 or step == steps - 1:
            print(f"step {step + 1}: style {style.item():.3f}, content {content.item():.3f}", flush=True)


def _crop(picture: NDArray[np.uint8]) -> torch.Tensor:
    top, left = (int(torch.randint(size - SIZE + 1, ())) for size in picture.shape[:2])
    return tensor(picture[top : top + SIZE, left : left + SIZE])


def main(argv: list[str] | None = None) -> None:
    """Train, and write the weights and what to expect of them."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("twin", type=Path)
    asked.add_argument("--steps", type=int, default=700)
    options = asked.parse_args(argv)
    sys.path.insert(0, str(options.twin))
    from model import load  # the twin

    torch.manual_seed(0)
    model = load().train()
    train(model, options.steps)
    model.eval()
    save_model(model, str(options.twin / "model.safetensors"))
    with torch.no_grad():
        made = pixels(model(tensor(photo())))
    np.savez_compressed(options.twin / "expected.npz", photo=photo(), made=made, style=style_picture())
    print("done")


if __name__ == "__main__":
    main()
