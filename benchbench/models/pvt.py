"""Pyramid Vision Transformer, version 1: PVT-Small, -Medium and -Large.

arXiv:2102.12122, section 3. Four stages; each makes patches by a strided convolution, adds a position embedding, and
runs pre-norm transformer blocks whose keys and values are made from the map reduced R times in height and width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (64, 128, 320, 512)
HEADS = (1, 2, 5, 8)
MLP_RATIOS = (8, 8, 4, 4)
REDUCTIONS = (8, 4, 2, 1)
DEPTHS = {"small": (3, 4, 6, 3), "medium": (3, 4, 18, 3), "large": (3, 8, 27, 3)}
EPSILON = 1e-6


class SpatialReductionAttention(nn.Module):
    """softmax(Q K' / sqrt(d)) V with K and V from the map after an R x R convolution of stride R and LayerNorm.

    Equations 1 and 2 of the paper. Tokens are N x L x C, L = H W (one more with a class token, and then R is 1).
    """

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.fused_attn = True
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.project = nn.Linear(width, width)
        self.reduce: nn.Module | None = None
        if reduction > 1:
            self.reduce = nn.Conv2d(width, width, reduction, stride=reduction)
            self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        n, length, c = x.shape
        source = x
        if self.reduce is not None:
            reduced = self.reduce(x.transpose(1, 2).reshape(n, c, height, width))
            source = self.norm(reduced.flatten(2).transpose(1, 2))
        q = self.query(x).view(n, length, self.heads, -1).transpose(1, 2)
        k, v = self.key_value(source).view(n, source.shape[1], 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        if self.fused_attn:
            mixed = functional.scaled_dot_product_attention(q, k, v)
        else:
            mixed = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1) @ v
        out: Tensor = self.project(mixed.transpose(1, 2).reshape(n, length, c))
        return out


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, width: int, heads: int, reduction: int, *, mlp_ratio: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPSILON)
        self.attention = SpatialReductionAttention(width, heads, reduction)
        self.norm2 = nn.LayerNorm(width, eps=EPSILON)
        hidden = mlp_ratio * width
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        x = x + self.drop_path(self.attention(self.norm1(x), height, width))
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out


class Stage(nn.Module):
    """A map N x C x H x W to N x C' x H/P x W/P (and, in the last stage of a classifier, a class token N x C')."""

    def __init__(
        self, before: int, index: int, *, side: int, patch: int, depth: int, class_token: bool, rates: Sequence[float]
    ) -> None:
        super().__init__()
        width = WIDTHS[index]
        self.patches = nn.Conv2d(before, width, patch, stride=patch)
        self.norm = nn.LayerNorm(width)
        self.side = side
        self.class_token = nn.Parameter(_small(1, 1, width)) if class_token else None
        self.position = nn.Parameter(_small(1, side * side + class_token, width))
        self.blocks = nn.ModuleList(
            Block(width, HEADS[index], REDUCTIONS[index], mlp_ratio=MLP_RATIOS[index], drop_path=rates[i])
            for i in range(depth)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        patches = self.patches(x)
        n, c, height, width = patches.shape
        tokens = self.norm(patches.flatten(2).transpose(1, 2))
        if self.class_token is None:
            tokens = tokens + self._positions(self.position, height, width)
        else:
            tokens = torch.cat((self.class_token.expand(n, -1, -1), tokens), dim=1)
            first, others = self.position[:, :1], self.position[:, 1:]
            tokens = tokens + torch.cat((first, self._positions(others, height, width)), dim=1)
        for block in self.blocks:
            tokens = block(tokens, height, width)
        summary = None if self.class_token is None else tokens[:, 0]
        places = tokens if self.class_token is None else tokens[:, 1:]
        return places.transpose(1, 2).reshape(n, c, height, width), summary

    def _positions(self, position: Tensor, height: int, width: int) -> Tensor:
        """The embedding, bilinearly resized where the map has not the size that it was made for."""
        if (height, width) == (self.side, self.side):
            return position
        grid = position.transpose(1, 2).view(1, -1, self.side, self.side)
        return functional.interpolate(grid, (height, width), mode="bilinear").flatten(2).transpose(1, 2)


class PVT(nn.Module):
    """N x 3 x H x W to N x classes; ``features`` gives the four maps, of strides 4, 8, 16 and 32.

    With no classes it has maps alone: no class token, last norm or head, which would never learn.
    """

    def __init__(self, depths: Sequence[int], *, img_size: int, drop_path: float, classes: int = 1000) -> None:
        super().__init__()
        self.num_classes = classes
        rates = torch.linspace(0, drop_path, sum(depths)).tolist()
        self.stages = nn.ModuleList()
        for i, depth in enumerate(depths):
            self.stages.append(
                Stage(
                    WIDTHS[i - 1] if i else 3,
                    i,
                    side=max(1, img_size // (4 << i)),
                    patch=2 if i else 4,
                    depth=depth,
                    class_token=i == 3 and classes > 0,
                    rates=rates[sum(depths[:i]) :],
                )
            )
        self.norm = nn.LayerNorm(WIDTHS[-1], eps=EPSILON) if classes else nn.Identity()
        self.head = nn.Linear(WIDTHS[-1], classes) if classes else nn.Identity()

    def features(self, x: Tensor) -> list[Tensor]:
        """The maps after each stage, without the class token."""
        maps = []
        for stage in self.stages:
            x, _ = stage(x)
            maps.append(x)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        summary = None
        for stage in self.stages:
            x, summary = stage(x)
        logits: Tensor = self.head(self.norm(summary))
        return logits


def pvt(size: str, *, img_size: int, drop_path: float | None) -> PVT:
    """PVT-Small, -Medium or -Large, its position embeddings made for images of img_size."""
    return PVT(DEPTHS[size], img_size=img_size, drop_path=drop_path or 0.0)


def _small(*shape: int) -> Tensor:
    return 0.02 * torch.randn(*shape)
