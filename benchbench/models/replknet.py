"""RepLKNet-31B: depthwise convolutions of up to 31 x 31, each with a parallel 5 x 5 that merges into it for inference.

arXiv:2203.06717, section 4.1. After a stem of four convolutions, stages alternate large-kernel blocks and feed-forward
blocks; both begin with batch normalisation and end in a shortcut.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn
from torch.nn import functional

CHANNELS = (128, 256, 512, 1024)
DEPTHS = (2, 2, 18, 2)
KERNELS = (31, 29, 27, 13)
SMALL_KERNEL = 5
FEED_FORWARD_RATIO = 4


class ConvNorm(nn.Sequential):
    """A convolution without bias, batch normalisation and, unless told otherwise, ReLU."""

    def __init__(self, before: int, after: int, kernel: int, *, stride: int = 1, groups: int = 1, relu: bool = True):
        conv = nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False)
        super().__init__(conv, nn.BatchNorm2d(after), *([nn.ReLU()] if relu else []))


class LargeKernelConv(nn.Module):
    """BN(dwconv_KxK(x)) + BN(dwconv_5x5(x)); after ``merge``, one depthwise K x K convolution with a bias."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.large: nn.Module = ConvNorm(channels, channels, kernel, groups=channels, relu=False)
        self.small: nn.Module | None = ConvNorm(channels, channels, SMALL_KERNEL, groups=channels, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.large(x)
        return y if self.small is None else y + self.small(x)

    @torch.no_grad()
    def merge(self) -> None:
        """Put the statistics of both norms and the small kernel into one convolution, the same in inference."""
        if self.small is None:
            return
        weight, bias = _folded(self.large)
        small_weight, small_bias = _folded(self.small)
        border = (weight.shape[-1] - small_weight.shape[-1]) // 2
        channels, kernel = weight.shape[0], weight.shape[-1]
        merged = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels).to(weight)
        merged.weight.copy_(weight + functional.pad(small_weight, (border,) * 4))
        assert merged.bias is not None
        merged.bias.copy_(bias + small_bias)
        self.large, self.small = merged, None


class LargeKernelBlock(nn.Module):
    """x + BN(conv(ReLU(large(ReLU(BN(conv(BN(x)))))))), convolutions 1 x 1 but for the large one."""

    def __init__(self, channels: int, kernel: int, drop_path: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.expand = ConvNorm(channels, channels, 1)
        self.mixer = LargeKernelConv(channels, kernel)
        self.reduce = ConvNorm(channels, channels, 1, relu=False)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.reduce(functional.relu(self.mixer(self.expand(self.norm(x)))))
        out: Tensor = x + self.drop_path(y)
        return out


class FeedForwardBlock(nn.Module):
    """x + BN(conv(GELU(BN(conv(BN(x)))))) with 1 x 1 convolutions, four times as wide inside."""

    def __init__(self, channels: int, drop_path: float) -> None:
        super().__init__()
        hidden = FEED_FORWARD_RATIO * channels
        self.norm = nn.BatchNorm2d(channels)
        self.expand = ConvNorm(channels, hidden, 1, relu=False)
        self.reduce = ConvNorm(hidden, channels, 1, relu=False)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.reduce(functional.gelu(self.expand(self.norm(x))))
        out: Tensor = x + self.drop_path(y)
        return out


class RepLKNet(nn.Module):
    """N x 3 x H x W to N x classes."""

    def __init__(self, *, drop_path: float, classes: int = 1000) -> None:
        super().__init__()
        self.num_classes = classes
        first = CHANNELS[0]
        self.stem = nn.Sequential(
            ConvNorm(3, first, 3, stride=2),
            ConvNorm(first, first, 3, groups=first),
            ConvNorm(first, first, 1),
            ConvNorm(first, first, 3, stride=2, groups=first),
        )
        rates = iter(torch.linspace(0, drop_path, sum(DEPTHS)).tolist())
        stages: list[nn.Module] = []
        for before, channels, depth, kernel in zip((0, *CHANNELS), CHANNELS, DEPTHS, KERNELS, strict=False):
            if before:
                down = ConvNorm(channels, channels, 3, stride=2, groups=channels)
                stages.append(nn.Sequential(ConvNorm(before, channels, 1), down))
            for rate in (next(rates) for _ in range(depth)):
                stages += [LargeKernelBlock(channels, kernel, rate), FeedForwardBlock(channels, rate)]
        self.stages = nn.Sequential(*stages)
        self.norm = nn.BatchNorm2d(CHANNELS[-1])
        self.head = nn.Linear(CHANNELS[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.norm(self.stages(self.stem(x))).mean((2, 3)))
        return logits

    def merge(self) -> RepLKNet:
        """Merge every large-kernel convolution, for inference alone; returns the network."""
        for module in self.modules():
            if isinstance(module, LargeKernelConv):
                module.merge()
        return self


def replknet(form: str, *, drop_path: float | None) -> RepLKNet:
    """RepLKNet-31B in the form that trains, or "merged" as the authors run it in inference."""
    model = RepLKNet(drop_path=drop_path or 0.0)
    return model.eval().merge().train() if form == "merged" else model


def _folded(part: Any) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution that does what a convolution and a norm with fixed statistics do."""
    conv, norm = part[0], part[1]
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return conv.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale
