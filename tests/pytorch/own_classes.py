"""Classes as people have them for their PyTorch, each to be filled from a Torch7 network. Runs where torch is.

``own_classes.py NAME FORMAT FILE`` writes the names and shapes of a class's state dict; ``own_classes.py NAME run
WEIGHTS INPUT OUTPUT`` loads weights strictly and writes what the class makes of an input.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn


def bottleneck_or_basic(expansion):
    class Block(nn.Module):
        def __init__(self, inplanes, planes, stride=1, downsample=None):
            super().__init__()
            out = planes * expansion
            if expansion == 1:
                self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False)
                self.bn1 = nn.BatchNorm2d(planes)
                self.relu = nn.ReLU(inplace=True)
                self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
                self.bn2 = nn.BatchNorm2d(planes)
            else:
                self.conv1 = nn.Conv2d(inplanes, planes, 1, bias=False)
                self.bn1 = nn.BatchNorm2d(planes)
                self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
                self.bn2 = nn.BatchNorm2d(planes)
                self.conv3 = nn.Conv2d(planes, out, 1, bias=False)
                self.bn3 = nn.BatchNorm2d(out)
                self.relu = nn.ReLU(inplace=True)
            self.downsample = downsample

        def forward(self, x):
            y = self.relu(self.bn1(self.conv1(x)))
            y = self.bn2(self.conv2(y))
            if expansion > 1:
                y = self.bn3(self.conv3(self.relu(y)))
            return self.relu(y + (x if self.downsample is None else self.downsample(x)))

    return Block


class ResNet(nn.Module):
    """torchvision's, eight channels wide."""

    def __init__(self, expansion, layers):
        super().__init__()
        self.block, self.expansion, self.inplanes = bottleneck_or_basic(expansion), expansion, 8
        self.conv1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = self._make_layer(8, layers[0])
        self.layer2 = self._make_layer(16, layers[1], 2)
        self.layer3 = self._make_layer(32, layers[2], 2)
        self.layer4 = self._make_layer(64, layers[3], 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64 * expansion, 10)

    def _make_layer(self, planes, blocks, stride=1):
        downsample, out = None, planes * self.expansion
        if stride != 1 or self.inplanes != out:
            downsample = nn.Sequential(nn.Conv2d(self.inplanes, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        layers = [self.block(self.inplanes, planes, stride, downsample)]
        self.inplanes = out
        layers += [self.block(out, planes) for _ in range(1, blocks)]
        return nn.Sequential(*layers)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class VGG(nn.Module):
    def __init__(self):
        super().__init__()
        layers, channels = [], 3
        for out in (8, 8, "M", 8, 8, 8, "M", 8, 8, 8, "M"):
            layers += [nn.MaxPool2d(2)] if out == "M" else [nn.Conv2d(channels, 8, 3, padding=1), nn.ReLU(True)]
            channels = 8
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(8 * 16, 12), nn.ReLU(True), nn.Dropout(), nn.Linear(12, 12), nn.ReLU(True), nn.Linear(12, 12)
        )

    def forward(self, x):
        return self.classifier(torch.flatten(self.features(x), 1))


class DoubleConv(nn.Module):
    def __init__(self, channels, out):
        super().__init__()
        self.double_conv = nn.Sequential(
            nn.Conv2d(channels, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(inplace=True),
            nn.Conv2d(out, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(inplace=True),
        )  # fmt: skip

    def forward(self, x):
        return self.double_conv(x)


class Up(nn.Module):
    def __init__(self, channels, out):
        super().__init__()
        self.up = nn.ConvTranspose2d(channels, channels // 2, 2, stride=2)
        self.conv = DoubleConv(channels, out)

    def forward(self, x, beside):
        return self.conv(torch.cat([beside, self.up(x)], 1))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.inc = DoubleConv(3, 4)
        self.down1 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(4, 8))
        self.down2 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(8, 16))
        self.up1 = Up(16, 8)
        self.up2 = Up(8, 4)
        self.outc = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        a = self.inc(x)
        b = self.down1(a)
        return self.outc(self.up2(self.up1(self.down2(b), b), a))


class Generator(nn.Module):
    """The generator of DCGAN's example, with blocks of equal width."""

    def __init__(self):
        super().__init__()
        layers = [nn.ConvTranspose2d(6, 8, 4, 1, 0, bias=False), nn.BatchNorm2d(8), nn.ReLU(True)]
        for _ in range(4):
            layers += [nn.ConvTranspose2d(8, 8, 4, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(True)]
        self.main = nn.Sequential(*layers, nn.ConvTranspose2d(8, 3, 4, 2, 1, bias=False), nn.Tanh())

    def forward(self, x):
        return self.main(x)


class Step(nn.Module):
    """One step of an LSTM by two linear layers, as char-rnn writes it: gates in, forget, out, and the transform."""

    def __init__(self):
        super().__init__()
        self.i2h = nn.Linear(5, 20)
        self.h2h = nn.Linear(5, 20)
        self.decoder = nn.Linear(5, 7)

    def forward(self, x):
        x, c, h = x[:, :5], x[:, 5:10], x[:, 10:]
        sums = self.i2h(x) + self.h2h(h)
        gate_in, forget, out = torch.sigmoid(sums[:, :15]).split(5, 1)
        c = forget * c + gate_in * torch.tanh(sums[:, 15:])
        return self.decoder(out * torch.tanh(c))


class Attention(nn.Module):
    """Three layers of one shape, by words that say no order."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(6, 6) for _ in range(3))

    def forward(self, x):
        return F.softmax(self.query(x) * self.key(x), 1) * self.value(x)


CLASSES = {
    "resnet18": lambda: ResNet(1, (2, 2, 2, 2)),
    "resnet50": lambda: ResNet(4, (3, 4, 6, 3)),
    "vgg": VGG,
    "unet": UNet,
    "dcgan": Generator,
    "lstm": Step,
    "attention": Attention,
}


def write(state, form, file):
    if form == "safetensors":
        from safetensors.torch import save_file

        save_file({name: tensor.contiguous() for name, tensor in state.items()}, file)
        return
    with open(file, "w") as out:  # noqa: PTH123
        if form == "json":
            json.dump({name: list(tensor.shape) for name, tensor in state.items()}, out)
        else:
            for name, tensor in state.items():
                print(name, "\t", tensor.size() if form == "sizes" else tuple(tensor.shape), file=out)


if __name__ == "__main__":
    model = CLASSES[sys.argv[1]]()
    if sys.argv[2] == "run":
        from safetensors.torch import load_file

        model.load_state_dict(load_file(sys.argv[3]), strict=True)
        with torch.no_grad():
            np.save(sys.argv[5], model.eval()(torch.from_numpy(np.load(sys.argv[4]))).numpy())
    else:
        write(model.state_dict(), sys.argv[2], sys.argv[3])
