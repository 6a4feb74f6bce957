"""Focal Transformer, Focal-T, -S and -B: attention that is fine nearby and coarse far away.

arXiv:2107.00641, section 3. A Swin-like pyramid whose queries of a 7 x 7 window attend to the window, to a band of 3
tokens around it, and to the windows around, each pooled to one token by a linear layer. Where a stage has one window
alone there is no band. Between stages a 2 x 2 convolution of stride 2 and LayerNorm.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn
from torch.nn import functional

WINDOW = 7
BAND = 3
# How many pooled windows across a query's window sees, stage by stage.
POOLED_ACROSS = (7, 5, 3, 1)
# width of the first stage, depths, heads of the first stage.
SIZES = {"tiny": (96, (2, 2, 6, 2), 3), "small": (96, (2, 2, 18, 2), 3), "base": (128, (2, 2, 18, 2), 4)}
# Added to the score of a pooled window that lies outside the map.
OUTSIDE = -100.0


class FocalAttention(nn.Module):
    """softmax(q k' / sqrt(d) + bias) v in heads; keys are the window, the band around it, and pooled windows.

    N x H x W x C to the same, H and W multiples of the window. The band wraps around the borders of the map, as four
    copies of the map rolled by ``band`` along the diagonals, of which the parts outside the window are kept, so that
    some come twice. Every query has a learned bias for every place of the band; for places of the window and for pooled
    windows the bias depends on the difference of positions.
    """

    kept: Tensor

    def __init__(self, width: int, heads: int, *, window: int, band: int, across: int) -> None:
        super().__init__()
        self.heads, self.window, self.band, self.across = heads, window, band, across
        self.fused_attn = True
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.pool = nn.Linear(window * window, 1)
        nn.init.constant_(self.pool.weight, 1 / window**2)
        self.window_bias = nn.Parameter(0.02 * torch.randn(heads, 2 * window - 1, 2 * window - 1))
        self.pooled_bias = nn.Parameter(0.02 * torch.randn(heads, window + across - 1, window + across - 1))
        kept = _outside_after_rolls(window, band)
        self.band_bias = nn.Parameter(0.02 * torch.randn(heads, window * window, len(kept))) if band else None
        self.register_buffer("kept", kept, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        rows, columns = h // self.window, w // self.window
        maps = self.qkv(x).chunk(3, dim=-1)
        q = self._windows(maps[0])
        k, v = (torch.cat((self._windows(m), *self._bands(m)), dim=2) for m in maps[1:])
        _, pooled_k, pooled_v = self.qkv(self._pooled(x)).chunk(3, dim=-1)
        k = torch.cat((k, self._around(pooled_k)), dim=2)
        v = torch.cat((v, self._around(pooled_v)), dim=2)
        scores = self._bias() + self._outside(rows, columns, like=k).repeat(n, 1, 1, 1)
        if self.fused_attn:
            mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=scores.to(q.dtype))
        else:
            mixed = (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1) + scores).softmax(-1).to(v.dtype) @ v
        tokens = mixed.transpose(1, 2).reshape(n, rows, columns, self.window, self.window, c)
        out: Tensor = self.project(tokens.transpose(2, 3).reshape(n, h, w, c))
        return out

    def _windows(self, x: Tensor) -> Tensor:
        """N x H x W x C as windows x heads x places x channels of a head."""
        n, h, w, c = x.shape
        side = self.window
        parts = x.view(n, h // side, side, w // side, side, self.heads, c // self.heads)
        return parts.permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, self.heads, side * side, c // self.heads)

    def _bands(self, x: Tensor) -> list[Tensor]:
        """The tokens around each window, as one list of places; nothing where there is no band."""
        if not self.band:
            return []
        rolled = [self._windows(torch.roll(x, shifts, dims=(1, 2))) for shifts in _rolls(self.band)]
        return [torch.cat(rolled, dim=2)[:, :, self.kept]]

    def _pooled(self, x: Tensor) -> Tensor:
        """One token a window: N x rows x columns x C."""
        n, h, w, c = x.shape
        side = self.window
        parts = x.view(n, h // side, side, w // side, side, c).permute(0, 1, 3, 5, 2, 4)
        pooled: Tensor = self.pool(parts.flatten(-2)).squeeze(-1)
        return pooled

    def _around(self, pooled: Tensor) -> Tensor:
        """The pooled windows around each window: windows x heads x across^2 x channels of a head."""
        n, rows, columns, c = pooled.shape
        spread = functional.unfold(pooled.permute(0, 3, 1, 2), self.across, padding=self.across // 2)
        parts = spread.view(n, self.heads, c // self.heads, self.across**2, rows * columns)
        return parts.permute(0, 4, 1, 3, 2).reshape(-1, self.heads, self.across**2, c // self.heads)

    def _outside(self, rows: int, columns: int, *, like: Tensor) -> Tensor:
        """What to add to the scores of each window: windows x 1 x 1 x keys, OUTSIDE where a pooled window is none."""
        whole = torch.ones(1, 1, rows, columns, device=like.device)
        inside = functional.unfold(whole, self.across, padding=self.across // 2)[0].T
        pooled = self.across**2
        return functional.pad(OUTSIDE * (1 - inside), (like.shape[2] - pooled, 0))[:, None, None]

    def _bias(self) -> Tensor:
        """1 x heads x places x keys."""
        parts = [_by_difference(self.window_bias, self.window, self.window)]
        parts += [] if self.band_bias is None else [self.band_bias]
        parts.append(_by_difference(self.pooled_bias, self.window, self.across))
        return torch.cat(parts, dim=-1)[None]


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)), on N x H x W x C padded with zeros to whole windows."""

    def __init__(self, width: int, heads: int, *, side: int, across: int, drop_path: float) -> None:
        super().__init__()
        window = min(WINDOW, side)
        self.norm1 = nn.LayerNorm(width)
        self.attention = FocalAttention(width, heads, window=window, band=BAND if side > WINDOW else 0, across=across)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        window = self.attention.window
        padded = functional.pad(self.norm1(x), (0, 0, 0, -width % window, 0, -height % window))
        x = x + self.drop_path(self.attention(padded)[:, :height, :width])
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out


class Patches(nn.Module):
    """A convolution whose stride is its size, and LayerNorm: N x C x H x W to N x H/p x W/p x C'."""

    def __init__(self, before: int, after: int, patch: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, patch, stride=patch)
        self.norm = nn.LayerNorm(after)

    def forward(self, x: Tensor) -> Tensor:
        tokens: Tensor = self.norm(self.conv(x).permute(0, 2, 3, 1))
        return tokens


class FocalTransformer(nn.Module):
    """N x 3 x H x W to N x classes."""

    def __init__(
        self, width: int, depths: Sequence[int], heads: int, *, img_size: int, drop_path: float, classes: int = 1000
    ) -> None:
        super().__init__()
        self.num_classes = classes
        rates = iter(torch.linspace(0, drop_path, sum(depths)).tolist())
        self.patches, self.stages = nn.ModuleList(), nn.ModuleList()
        for i, depth in enumerate(depths):
            across, side = POOLED_ACROSS[i], max(1, img_size // (4 << i))
            self.patches.append(Patches(width << (i - 1), width << i, 2) if i else Patches(3, width, 4))
            self.stages.append(
                nn.Sequential(
                    *(
                        Block(width << i, heads << i, side=side, across=across, drop_path=next(rates))
                        for _ in range(depth)
                    )
                )
            )
        self.norm = nn.LayerNorm(width << 3)
        self.head = nn.Linear(width << 3, classes)

    def forward(self, x: Tensor) -> Tensor:
        for patches, stage in zip(self.patches, self.stages, strict=True):
            x = stage(patches(x)).permute(0, 3, 1, 2)
        logits: Tensor = self.head(self.norm(x.permute(0, 2, 3, 1)).mean((1, 2)))
        return logits


def focal(size: str, *, img_size: int, drop_path: float | None) -> FocalTransformer:
    """Focal-T, -S or -B, its windows and bands chosen for images of img_size."""
    return FocalTransformer(*SIZES[size], img_size=img_size, drop_path=drop_path or 0.0)


def _rolls(band: int) -> tuple[tuple[int, int], ...]:
    return ((-band, -band), (-band, band), (band, -band), (band, band))


def _outside_after_rolls(window: int, band: int) -> Tensor:
    """Which places of the four rolled windows, one list after another, show a token from outside the window."""
    place = torch.arange(window)
    kept = []
    for down, right in _rolls(band) if band else ():
        from_other_row = place >= window - band if down < 0 else place < band
        from_other_column = place >= window - band if right < 0 else place < band
        kept.append((from_other_row[:, None] | from_other_column[None, :]).flatten())
    return torch.cat(kept).nonzero().flatten() if kept else torch.empty(0, dtype=torch.long)


def _by_difference(table: Tensor, queries: int, keys: int) -> Tensor:
    """heads x queries^2 x keys^2 from heads x (queries + keys - 1)^2: the entry of row and column differences."""
    query, key = (torch.arange(count, device=table.device) for count in (queries, keys))
    difference = query[:, None] - key[None, :] + keys - 1
    picked = table[:, difference[:, None, :, None], difference[None, :, None, :]]
    return picked.flatten(1, 2).flatten(2, 3)
