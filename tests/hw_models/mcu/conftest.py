"""The networks of the reference numbers, as modules, traced once each."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netloom.hw_models import Workload, trace


class Block(nn.Module):
    """An inverted residual: input, middle, output channels, kernel, stride, skip."""

    def __init__(self, inputs, middle, outputs, kernel, stride, skip):
        super().__init__()
        expand = []
        if middle != inputs:
            expand = [nn.Conv2d(inputs, middle, 1, bias=False), nn.BatchNorm2d(middle), nn.ReLU6()]
        self.layers = nn.Sequential(
            *expand,
            nn.Conv2d(middle, middle, kernel, stride, kernel // 2, groups=middle, bias=False),
            nn.BatchNorm2d(middle),
            nn.ReLU6(),
            nn.Conv2d(middle, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.skip = skip

    def forward(self, x):
        y = self.layers(x)
        return x + y if self.skip else y


def mcunet(stem, blocks, classes, mix=0):
    """Return a network; `mix` are the channels of a 1x1 convolution behind its blocks."""
    layers = [nn.Conv2d(3, stem, 3, 2, 1, bias=False), nn.BatchNorm2d(stem), nn.ReLU6()]
    layers += [Block(*b) for b in blocks]
    width = blocks[-1][2]
    if mix:
        layers += [nn.Conv2d(width, mix, 1, bias=False), nn.BatchNorm2d(mix), nn.ReLU6()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(mix or width, classes)]
    return nn.Sequential(*layers, *head)


def unfold(stem, rows):
    """Return blocks from (kernel, expansion, output channels, stride), as configurations list them.

    A block has a skip where its shape stays.
    """
    blocks, channels = [], stem
    for kernel, expansion, outputs, stride in rows:
        skip = stride == 1 and channels == outputs
        blocks.append((channels, channels * expansion, outputs, kernel, stride, skip))
        channels = outputs
    return blocks


# mit-han-lab/tinyml, mcunet/assets/configs (commit e899b1b); vww1 as TinyEngine's generated code
# lists its layers; vww0 and vww2 from the released mcunet-10fps_vww.json and
# mcunet-320kb-1mb_vww.json
IN0 = [
    (24, 24, 16, 3, 1, 0),
    (16, 64, 16, 5, 2, 0),
    (16, 48, 16, 3, 1, 1),
    (16, 64, 16, 3, 1, 1),
    (16, 80, 24, 7, 2, 0),
    (24, 96, 24, 5, 1, 1),
    (24, 120, 24, 5, 1, 1),
    (24, 120, 48, 7, 2, 0),
    (48, 192, 48, 5, 1, 1),
    (48, 240, 56, 3, 1, 0),
    (56, 224, 56, 5, 1, 1),
    (56, 280, 56, 3, 1, 1),
    (56, 336, 112, 3, 2, 0),
    (112, 448, 112, 5, 1, 1),
    (112, 672, 192, 3, 1, 0),
]
IN1 = unfold(16, [(3, 1, 8, 1), (3, 4, 16, 2), (3, 3, 16, 1), (7, 3, 24, 2), (3, 5, 24, 1)])
IN1 += unfold(24, [(3, 5, 40, 2), (7, 4, 40, 1), (5, 4, 48, 1), (3, 3, 48, 1), (3, 4, 48, 1)])
IN1 += unfold(48, [(7, 5, 96, 2), (5, 4, 96, 1), (5, 4, 96, 1), (3, 6, 160, 1)])
IN2 = unfold(16, [(3, 1, 8, 1), (5, 3, 16, 2), (7, 6, 16, 1), (3, 5, 16, 1), (5, 5, 16, 1)])
IN2 += unfold(16, [(3, 5, 24, 2), (7, 6, 24, 1), (5, 6, 24, 1), (7, 4, 40, 2), (5, 5, 40, 1)])
IN2 += unfold(40, [(3, 5, 48, 1), (5, 5, 48, 1), (3, 4, 48, 1), (5, 6, 96, 2), (5, 4, 96, 1)])
IN2 += unfold(96, [(5, 3, 96, 1), (3, 4, 96, 1), (5, 5, 160, 1)])
IN3 = unfold(16, [(3, 1, 8, 1), (7, 3, 16, 2), (3, 5, 16, 1), (7, 5, 16, 1), (5, 4, 16, 1)])
IN3 += unfold(16, [(5, 5, 24, 2), (5, 5, 24, 1), (5, 5, 24, 1), (3, 5, 40, 2), (7, 6, 40, 1)])
IN3 += unfold(40, [(5, 4, 40, 1), (5, 5, 48, 1), (7, 5, 48, 1), (3, 5, 48, 1), (3, 6, 96, 2)])
IN3 += unfold(96, [(7, 5, 96, 1), (3, 4, 96, 1), (7, 5, 160, 1)])
IN4 = [
    (32, 32, 16, 3, 1, 0),
    (16, 48, 24, 7, 2, 0),
    (24, 120, 24, 3, 1, 1),
    (24, 96, 24, 5, 1, 1),
    (24, 120, 40, 7, 2, 0),
    (40, 160, 40, 3, 1, 1),
    (40, 160, 40, 7, 1, 1),
    (40, 120, 80, 7, 2, 0),
    (80, 240, 80, 3, 1, 1),
    (80, 240, 80, 7, 1, 1),
    (80, 320, 96, 3, 1, 0),
    (96, 288, 96, 5, 1, 1),
    (96, 288, 96, 5, 1, 1),
    (96, 384, 192, 7, 2, 0),
    (192, 576, 192, 7, 1, 1),
    (192, 576, 192, 5, 1, 1),
    (192, 768, 320, 5, 1, 0),
]
VWW1 = unfold(16, [(3, 1, 8, 1), (3, 6, 16, 2), (3, 3, 16, 1), (3, 3, 16, 1), (7, 3, 24, 2)])
VWW1 += unfold(24, [(3, 6, 24, 1), (5, 5, 24, 1), (7, 6, 40, 2), (7, 6, 40, 1), (3, 6, 48, 1)])
VWW1 += unfold(48, [(3, 4, 48, 1), (5, 5, 96, 2), (3, 5, 96, 1), (3, 4, 96, 1), (7, 3, 160, 1)])
VWW0 = unfold(16, [(3, 1, 8, 1), (5, 6, 16, 2), (3, 4, 16, 1), (3, 5, 24, 2), (3, 4, 24, 1)])
VWW0 += unfold(24, [(3, 4, 24, 1), (3, 5, 40, 2), (3, 4, 40, 1), (7, 3, 40, 1), (3, 3, 48, 1)])
VWW0 += unfold(48, [(3, 4, 48, 1), (7, 5, 96, 2), (5, 5, 96, 1), (7, 4, 160, 1)])
VWW2 = unfold(16, [(3, 1, 8, 1), (3, 3, 16, 2), (3, 5, 16, 1), (5, 6, 16, 1), (3, 3, 16, 1)])
VWW2 += unfold(16, [(7, 5, 24, 2), (5, 4, 24, 1), (3, 4, 24, 1), (7, 6, 24, 1), (3, 6, 40, 2)])
VWW2 += unfold(40, [(7, 6, 40, 1), (5, 4, 40, 1), (3, 5, 40, 1), (5, 5, 48, 1), (5, 3, 48, 1)])
VWW2 += unfold(48, [(3, 4, 48, 1), (5, 3, 48, 1), (3, 4, 96, 2), (5, 5, 96, 1), (5, 4, 96, 1)])
VWW2 += unfold(96, [(3, 4, 96, 1), (3, 5, 160, 1)])


def mobilenet_v2(widths):
    """MobileNetV2 with the output channels of its seven stages."""
    repeats, strides = (1, 2, 3, 4, 3, 3, 1), (1, 2, 2, 2, 1, 2, 1)
    rows = [
        (3, 6 if stage else 1, width, stride if not n else 1)
        for stage, (width, stride) in enumerate(zip(widths, strides, strict=True))
        for n in range(repeats[stage])
    ]
    return unfold(16, rows)


# the same folder, mbv2-w0.35-r144 and mbv2-w0.3-r80
MBV2_35 = mobilenet_v2((8, 8, 16, 24, 32, 56, 112))
MBV2_30 = mobilenet_v2((8, 8, 16, 24, 32, 48, 96))
# proxyless_mobile of the same folder at 0.3 times its channels, each rounded up to a multiple of 8:
# no file of it is known to us, but multiply-adds, parameters and activations are the published ones
PROXYLESS = unfold(16, [(3, 1, 8, 1), (5, 3, 16, 2), (3, 3, 16, 1), (7, 3, 16, 2), (3, 3, 16, 1)])
PROXYLESS += unfold(16, [(5, 3, 16, 1), (5, 3, 16, 1), (7, 6, 24, 2)] + [(5, 3, 24, 1)] * 3)
PROXYLESS += unfold(24, [(5, 6, 32, 1)] + [(5, 3, 32, 1)] * 3 + [(7, 6, 64, 2), (7, 6, 64, 1)])
PROXYLESS += unfold(64, [(7, 3, 64, 1), (7, 3, 64, 1), (7, 6, 96, 1)])


class KeywordSpotting(nn.Module):
    """DS-CNN of MLPerf Tiny; its SAME padding of 10x4 windows is written out."""

    def __init__(self):
        super().__init__()
        layers = [nn.Conv2d(1, 64, (10, 4), 2, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
        for _ in range(4):
            layers += [
                nn.Conv2d(64, 64, 3, 1, 1, groups=64, bias=False),
                nn.BatchNorm2d(64),
                nn.ReLU(),
                nn.Conv2d(64, 64, 1, bias=False),
                nn.BatchNorm2d(64),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers, nn.AvgPool2d((25, 5)), nn.Flatten())
        self.head = nn.Linear(64, 12)

    def forward(self, x):
        return self.head(self.layers(F.pad(x, (1, 1, 4, 5)))).softmax(1)


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut, 1x1 where the stride is 2."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x):
        y = self.layers(x)
        return F.relu(self.shortcut(x) + y)


def image_classification():
    """ResNet-8 of MLPerf Tiny."""
    stem = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    blocks = [Residual(16, 16, 1), Residual(16, 32, 2), Residual(32, 64, 2)]
    head = [nn.AvgPool2d(8), nn.Flatten(), nn.Linear(64, 10), nn.Softmax(1)]
    return nn.Sequential(*stem, *blocks, *head)


def visual_wake_words():
    """MobileNetV1 x0.25 of MLPerf Tiny; a stride of 2 pads behind only."""
    layers = [nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 8, 3, 2, bias=False), nn.BatchNorm2d(8)]
    layers.append(nn.ReLU())
    channels = 8
    rows = [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2)]
    rows += [(128, 1)] * 5 + [(256, 2), (256, 1)]
    for outputs, stride in rows:
        if stride == 2:
            layers.append(nn.ZeroPad2d((0, 1, 0, 1)))
        pad = 0 if stride == 2 else 1
        layers += [
            nn.Conv2d(channels, channels, 3, stride, pad, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        ]
        channels = outputs
    return nn.Sequential(*layers, nn.AvgPool2d(3), nn.Flatten(), nn.Linear(256, 2), nn.Softmax(1))


def anomaly_detection():
    """The autoencoder of MLPerf Tiny."""
    sides = [640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640]
    layers = []
    for inputs, outputs in pairwise(sides):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


NETWORKS = {
    "in0": (lambda: mcunet(24, IN0, 1000), (1, 3, 48, 48)),
    "in1": (lambda: mcunet(16, IN1, 1000), (1, 3, 96, 96)),
    "in2": (lambda: mcunet(16, IN2, 1000), (1, 3, 160, 160)),
    "in3": (lambda: mcunet(16, IN3, 1000), (1, 3, 176, 176)),
    "in4": (lambda: mcunet(32, IN4, 1000), (1, 3, 160, 160)),
    "vww0": (lambda: mcunet(16, VWW0, 2), (1, 3, 64, 64)),
    "vww1": (lambda: mcunet(16, VWW1, 2), (1, 3, 80, 80)),
    "vww2": (lambda: mcunet(16, VWW2, 2), (1, 3, 144, 144)),
    "mbv2_r144": (lambda: mcunet(16, MBV2_35, 1000, 448), (1, 3, 144, 144)),
    "mbv2_r64": (lambda: mcunet(16, MBV2_30, 1000, 384), (1, 3, 64, 64)),
    "mbv2_r80": (lambda: mcunet(16, MBV2_30, 1000, 384), (1, 3, 80, 80)),
    "proxyless_r64": (lambda: mcunet(16, PROXYLESS, 1000, 384), (1, 3, 64, 64)),
    "proxyless_r176": (lambda: mcunet(16, PROXYLESS, 1000, 384), (1, 3, 176, 176)),
    "ad": (anomaly_detection, (1, 640)),
    "kws": (KeywordSpotting, (1, 1, 49, 10)),
    "vww": (visual_wake_words, (1, 3, 96, 96)),
    "ic": (image_classification, (1, 3, 32, 32)),
}


@lru_cache
def traced(name: str) -> Workload:
    """Return the workload of a network by name."""
    build, shape = NETWORKS[name]
    with torch.device("meta"):
        return trace(build(), torch.empty(shape))


@pytest.fixture
def person_detection() -> Workload:
    """MobileNetV1 x0.25 on grey images of 96 x 96, as vendors ship it."""
    module = visual_wake_words()
    module[1] = nn.Conv2d(1, 8, 3, 2, bias=False)
    return trace(module, torch.zeros(1, 1, 96, 96))


@pytest.fixture(scope="session")
def network():
    """A function from the name of a reference network to its workload."""
    return traced
