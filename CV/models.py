"""VGG19, ResNet18, MobileNet (v1) and DenseNet121 for pictures of 32 x 32 pixels in ten classes.

Written from the papers, in the forms for CIFAR-10 that <https://github.com/kuangliu/pytorch-cifar>
has made usual: a first convolution of 3 x 3 with stride 1, no pooling behind it. `width` makes a
model narrower, for tests.
"""

import torch
from torch import nn
from torch.nn import functional

CLASSES = 10


def convolution(channels, out, size=3, stride=1, groups=1):
    """A convolution that keeps the picture's size (but for the stride), without bias."""
    return nn.Conv2d(channels, out, size, stride, size // 2, groups=groups, bias=False)


def normalised(channels, out, size=3, stride=1, groups=1):
    """A convolution and its batch normalisation."""
    return nn.Sequential(convolution(channels, out, size, stride, groups), nn.BatchNorm2d(out))


def vgg(width=1.0):
    """VGG19 (Simonyan and Zisserman, arXiv 1409.1556) with batch normalisation."""
    layers, channels = [], 3
    for out, repeats in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        for _ in range(repeats):
            size = round(out * width)
            layers += [nn.Conv2d(channels, size, 3, padding=1), nn.BatchNorm2d(size), nn.ReLU()]
            channels = size
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels, CLASSES))


class Residual(nn.Module):
    """Two convolutions, and the input added to what they give."""

    def __init__(self, channels, out, stride):
        super().__init__()
        self.first = normalised(channels, out, stride=stride)
        self.second = normalised(out, out)
        same = stride == 1 and channels == out
        self.shortcut = nn.Identity() if same else normalised(channels, out, 1, stride)

    def forward(self, x):
        return functional.relu(self.second(functional.relu(self.first(x))) + self.shortcut(x))


def resnet(width=1.0):
    """ResNet18 (He et al., arXiv 1512.03385)."""
    channels = round(64 * width)
    layers = [normalised(3, channels), nn.ReLU()]
    for out, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        size = round(out * width)
        layers += [Residual(channels, size, stride), Residual(size, size, 1)]
        channels = size
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES)
    )


def mobilenet(width=1.0):
    """MobileNet v1 (Howard et al., arXiv 1704.04861)."""
    channels = round(32 * width)
    layers = [normalised(3, channels), nn.ReLU()]
    wide = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5)
    for out, stride in (*wide, (1024, 2), (1024, 1)):
        size = round(out * width)
        layers += [normalised(channels, channels, stride=stride, groups=channels), nn.ReLU()]
        layers += [normalised(channels, size, 1), nn.ReLU()]
        channels = size
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES)
    )


class Dense(nn.Module):
    """A bottleneck whose output stands beside its input."""

    def __init__(self, channels, growth):
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            convolution(channels, 4 * growth, 1),
            nn.BatchNorm2d(4 * growth),
            nn.ReLU(),
            convolution(4 * growth, growth),
        )

    def forward(self, x):
        return torch.cat([self.layers(x), x], 1)


def densenet(width=1.0):
    """DenseNet121 (Huang et al., arXiv 1608.06993); narrow ones are shallow too."""
    growth = round(32 * width)
    blocks = (6, 12, 24, 16) if width == 1 else (2, 2, 2, 2)
    channels = 2 * growth
    layers = [convolution(3, channels)]
    for number, repeats in enumerate(blocks):
        if number:  # halves the channels and the picture
            layers += [nn.BatchNorm2d(channels), nn.ReLU()]
            layers += [convolution(channels, channels // 2, 1), nn.AvgPool2d(2)]
            channels //= 2
        for _ in range(repeats):
            layers.append(Dense(channels, growth))
            channels += growth
    layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(channels, CLASSES))
