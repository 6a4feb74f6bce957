"""ConvNeXt in the form that the paper timed: Facebook's, with norms over N x C x H x W written out.

arXiv:2201.03545, figure 4. A block runs in N x H x W x C after its depthwise convolution, with the MLP as two Linear
layers; stem and downsamplings normalise over channels by mean, square, root, product and sum, each an operation of its
own. timm's network of the same name computes the same function with fused norms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn

from benchbench.models.mixers import PartialDepthwiseConv2d

DEPTHS = {"tiny": (3, 3, 9, 3), "small": (3, 3, 27, 3), "base": (3, 3, 27, 3)}
CHANNELS = {"tiny": (96, 192, 384, 768), "small": (96, 192, 384, 768), "base": (128, 256, 512, 1024)}
EPSILON = 1e-6


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of N x C x H x W, in separate operations."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        variance = centred.pow(2).mean(1, keepdim=True)
        normalised = centred / torch.sqrt(variance + EPSILON)
        return self.weight[:, None, None] * normalised + self.bias[:, None, None]


class Block(nn.Module):
    """x + gamma * Linear(GELU(Linear(LayerNorm(mixer(x))))), the part after the mixer in N x H x W x C."""

    def __init__(self, mixer: nn.Module, channels: int, *, layer_scale: float | None, drop_path: float) -> None:
        super().__init__()
        self.gamma = None if layer_scale is None else nn.Parameter(torch.full((channels,), layer_scale))
        self.mixer = mixer
        self.norm = nn.LayerNorm(channels, eps=EPSILON)
        self.expand = nn.Linear(channels, 4 * channels)
        self.activation = nn.GELU()
        self.reduce = nn.Linear(4 * channels, channels)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.mixer(x).permute(0, 2, 3, 1)
        y = self.reduce(self.activation(self.expand(self.norm(y))))
        if self.gamma is not None:
            y = self.gamma * y
        out: Tensor = x + self.drop_path(y.permute(0, 3, 1, 2))
        return out


class ConvNeXt(nn.Module):
    """Patches of 4 x 4, four stages, mean over places, norm, classifier. N x 3 x H x W to N x classes."""

    def __init__(
        self,
        depths: Sequence[int],
        channels: Sequence[int],
        mixer: Callable[[int], nn.Module],
        *,
        drop_path: float = 0.0,
        classes: int = 1000,
    ) -> None:
        super().__init__()
        self.num_classes = classes
        rates = iter(torch.linspace(0, drop_path, sum(depths)).tolist())
        self.stem = nn.Sequential(nn.Conv2d(3, channels[0], 4, stride=4), ChannelNorm(channels[0]))
        stages: list[nn.Module] = []
        for before, width, depth in zip((0, *channels), channels, depths, strict=False):
            down = [ChannelNorm(before), nn.Conv2d(before, width, 2, stride=2)] if before else []
            blocks = [Block(mixer(width), width, layer_scale=1e-6, drop_path=next(rates)) for _ in range(depth)]
            stages.append(nn.Sequential(*down, *blocks))
        self.stages = nn.Sequential(*stages)
        self.norm = nn.LayerNorm(channels[-1], eps=EPSILON)
        self.head = nn.Linear(channels[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        features = self.stages(self.stem(x))
        logits: Tensor = self.head(self.norm(features.mean((2, 3))))
        return logits


def convnext(size: str, *, kernel_size: int | None, ratio: str | None, drop_path: float | None) -> ConvNeXt:
    """ConvNeXt-T, -S or -B in Facebook's form; kernel_size and ratio as in Table 1 of arXiv:2303.16900v3."""
    k = kernel_size or 7

    def mixer(channels: int) -> nn.Module:
        if ratio is None or Fraction(ratio) == 1:
            return nn.Conv2d(channels, channels, k, padding=k // 2, groups=channels)
        return PartialDepthwiseConv2d(channels, kernel_size=k, ratio=ratio)

    return ConvNeXt(DEPTHS[size], CHANNELS[size], mixer, drop_path=drop_path or 0.0)
