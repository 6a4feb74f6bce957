"""T2T-ViT-14, -19 and -24: tokens made from tokens by overlapping patches and Performer attention, then a plain ViT.

arXiv:2101.11986, section 3, with the Performer token module (arXiv:2009.14794) that the printed figures belong to.
Images are unfolded in patches of 7 (stride 4), then twice in patches of 3 (stride 2), with attention of 64 channels
before the next; the last tokens are projected to the width of the backbone.
"""

from __future__ import annotations

import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn
from torch.nn import functional

TOKEN_WIDTH = 64
# width, depth, heads of the backbones.
SIZES = {"14": (384, 14, 6), "19": (448, 19, 7), "24": (512, 24, 8)}
MLP_RATIO = 3


class Performer(nn.Module):
    """Attention with exp(q k') approximated by fixed random features, then an MLP; N x L x C to N x L x 64.

    phi(x) = exp(w x - |x|^2 / 2) / sqrt(m) with m = 32 random rows w, orthogonal and of length sqrt(m); the output of a
    query is sum_l phi(q) phi(k_l)' v_l / sum_l phi(q) phi(k_l)', to which v is added. One head.
    """

    def __init__(self, channels: int, width: int = TOKEN_WIDTH) -> None:
        super().__init__()
        count = width // 2
        self.norm1 = nn.LayerNorm(channels)
        self.key_query_value = nn.Linear(channels, 3 * width)
        self.project = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        rows = nn.init.orthogonal_(torch.empty(count, width)) * count**0.5
        self.features = nn.Parameter(rows, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        key, query, value = self.key_query_value(self.norm1(x)).chunk(3, dim=-1)
        key, query = self._random_features(key), self._random_features(query)
        total = torch.einsum("nlm,nm->nl", query, key.sum(1)).unsqueeze(-1)
        summary = torch.einsum("nlc,nlm->ncm", value, key)
        mixed = torch.einsum("nlm,ncm->nlc", query, summary) / (total + 1e-8)
        y = value + self.project(mixed)
        out: Tensor = y + self.mlp(self.norm2(y))
        return out

    def _random_features(self, x: Tensor) -> Tensor:
        half_square = x.square().sum(-1, keepdim=True) / 2
        projected = torch.einsum("nlc,mc->nlm", x.float(), self.features.float()).to(half_square.dtype)
        features: Tensor = torch.exp(projected - half_square) / len(self.features) ** 0.5
        return features


class Block(nn.Module):
    """A pre-norm transformer block without biases on queries, keys and values."""

    def __init__(self, width: int, heads: int, drop_path: float) -> None:
        super().__init__()
        self.heads = heads
        self.fused_attn = True
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.project = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, MLP_RATIO * width), nn.GELU(), nn.Linear(MLP_RATIO * width, width))
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        n, length, c = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if self.fused_attn:
            mixed = functional.scaled_dot_product_attention(q, k, v)
        else:
            mixed = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1) @ v
        x = x + self.drop_path(self.project(mixed.transpose(1, 2).reshape(n, length, c)))
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out


class T2TViT(nn.Module):
    """N x 3 x H x W, with H and W multiples of 16, to N x classes."""

    def __init__(
        self, width: int, depth: int, heads: int, *, img_size: int, drop_path: float, classes: int = 1000
    ) -> None:
        super().__init__()
        self.num_classes = classes
        self.first = Performer(3 * 7 * 7)
        self.second = Performer(TOKEN_WIDTH * 3 * 3)
        self.project = nn.Linear(TOKEN_WIDTH * 3 * 3, width)
        self.class_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.position = nn.Parameter(sinusoids((img_size // 16) ** 2 + 1, width), requires_grad=False)
        rates = torch.linspace(0, drop_path, depth).tolist()
        self.blocks = nn.Sequential(*(Block(width, heads, rate) for rate in rates))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        tokens = self.first(_soft_split(x, 7, 4, 2))
        tokens = self.second(_soft_split(_as_map(tokens, height // 4, width // 4), 3, 2, 1))
        tokens = self.project(_soft_split(_as_map(tokens, height // 8, width // 8), 3, 2, 1))
        tokens = torch.cat((self.class_token.expand(len(x), -1, -1), tokens), dim=1) + self.position
        logits: Tensor = self.head(self.norm(self.blocks(tokens))[:, 0])
        return logits


def sinusoids(positions: int, width: int) -> Tensor:
    """1 x positions x width: sines at even channels and cosines at odd ones, of wavelengths 2 pi to 20,000 pi."""
    channel = torch.arange(width, dtype=torch.float64)
    place = torch.arange(positions, dtype=torch.float64)[:, None]
    angle = place / 10_000 ** (2 * (channel // 2) / width)
    return torch.where(channel % 2 == 0, angle.sin(), angle.cos()).float()[None]


def t2t_vit(size: str, *, img_size: int, drop_path: float | None) -> T2TViT:
    """T2T-ViT-14, -19 or -24 for images of img_size."""
    return T2TViT(*SIZES[size], img_size=img_size, drop_path=drop_path or 0.0)


def _soft_split(x: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """Overlapping patches of a map as tokens: N x C x H x W to N x L x C k k."""
    return functional.unfold(x, kernel, padding=padding, stride=stride).transpose(1, 2)


def _as_map(tokens: Tensor, height: int, width: int) -> Tensor:
    return tokens.transpose(1, 2).reshape(len(tokens), -1, height, width)
