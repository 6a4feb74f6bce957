"""Networks of one width and resolution (Table 5): ConvNeXt, InceptionNeXt, and MetaNeXt with attention as its mixer.

arXiv:2303.16900v3, section 4.1. Patches of 16 x 16, then blocks of one mixer, one norm and one MLP in one shortcut.
There is no public code. Depth 18 and the widths are stated; a plain linear head, layer scale (but for ConvNeXt, whose
isotropic form has none) and, for attention, depth 12, 6 heads, LayerNorm and a position embedding are inferred: they
give the printed parameters and MACs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from timm.layers.drop import DropPath
from timm.models.inception_next import InceptionDWConv2d
from torch import Tensor, nn
from torch.nn import functional

from benchbench.models.convnext_fb import Block as LinearBlock

PATCH = 16
WIDTHS = {"small": 384, "base": 768}
LAYER_SCALE = 1e-6


class ConvBlock(nn.Module):
    """x + gamma * conv(GELU(conv(BatchNorm(mixer(x))))), convolutions 1 x 1: the MetaNeXt block of InceptionNeXt."""

    def __init__(self, mixer: nn.Module, width: int, *, drop_path: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), LAYER_SCALE))
        self.mixer = mixer
        self.norm = nn.BatchNorm2d(width)
        self.mlp = nn.Sequential(nn.Conv2d(width, 4 * width, 1), nn.GELU(), nn.Conv2d(4 * width, width, 1))
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.mlp(self.norm(self.mixer(x)))
        out: Tensor = x + self.drop_path(y * self.gamma[:, None, None])
        return out


class Attention(nn.Module):
    """softmax(q k' / sqrt(d)) v over all places, in heads of d = 64 channels; N x C x H x W to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // 64
        self.fused_attn = True
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        tokens = x.flatten(2).transpose(1, 2)
        q, k, v = self.qkv(tokens).view(n, h * w, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        if self.fused_attn:
            mixed = functional.scaled_dot_product_attention(q, k, v)
        else:
            mixed = (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)).softmax(-1) @ v
        out: Tensor = self.project(mixed.transpose(1, 2).reshape(n, h * w, c))
        return out.transpose(1, 2).view(n, c, h, w)


class Isotropic(nn.Module):
    """Patch convolution, position embedding where asked for, ``depth`` blocks, mean over places, norm, classifier."""

    def __init__(
        self,
        block: Callable[[int, float], nn.Module],
        width: int,
        *,
        depth: int = 18,
        positions: int = 0,
        drop_path: float = 0.0,
        classes: int = 1000,
    ) -> None:
        super().__init__()
        self.num_classes = classes
        self.stem = nn.Conv2d(3, width, PATCH, stride=PATCH)
        side = int(positions**0.5)
        self.position = nn.Parameter(0.02 * torch.randn(1, width, side, side)) if positions else None
        self.blocks = nn.Sequential(*(block(width, rate) for rate in torch.linspace(0, drop_path, depth).tolist()))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        if self.position is not None:
            x = x + self.position
        logits: Tensor = self.head(self.norm(self.blocks(x).mean((2, 3))))
        return logits


def convnext_iso(size: str, *, drop_path: float | None) -> Isotropic:
    """ConvNeXt (iso.): depthwise 7 x 7, LayerNorm, Linear MLP, no layer scale (Facebook's isotropic form)."""

    def block(width: int, rate: float) -> nn.Module:
        return LinearBlock(_depthwise(width), width, layer_scale=None, drop_path=rate)

    return Isotropic(block, WIDTHS[size], drop_path=drop_path or 0.0)


def inception_next_iso(size: str, *, drop_path: float | None) -> Isotropic:
    """InceptionNeXt (iso.): the Inception depthwise convolution, BatchNorm, an MLP of 1 x 1 convolutions."""

    def block(width: int, rate: float) -> nn.Module:
        return ConvBlock(InceptionDWConv2d(width), width, drop_path=rate)

    return Isotropic(block, WIDTHS[size], drop_path=drop_path or 0.0)


def metanext_attn(size: str, *, img_size: int, drop_path: float | None) -> Isotropic:
    """MetaNeXt-Attn: self-attention as the mixer of the one-shortcut block. In the paper it did not converge."""

    def block(width: int, rate: float) -> nn.Module:
        return LinearBlock(Attention(width), width, layer_scale=LAYER_SCALE, drop_path=rate)

    places = (img_size // PATCH) ** 2
    return Isotropic(block, WIDTHS[size], depth=12, positions=places, drop_path=drop_path or 0.0)


def _depthwise(width: int) -> nn.Module:
    return nn.Conv2d(width, width, 7, padding=3, groups=width)
