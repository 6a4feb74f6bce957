"""InceptionNeXt-T with one thing changed (Table 8): a branch left out, the bands in sequence, another norm.

arXiv:2303.16900v3, section 4.3. Band sizes and ratios of Table 8 are axes of the case ``inception_next`` and need no
network of their own.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from timm import create_model
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

BRANCHES = {"3x3": (3, 3), "1x11": (1, 11), "11x1": (11, 1)}
RATIO = 8


class WithoutBranch(nn.Module):
    """The Inception depthwise convolution without one branch; its channels join the identity, which comes first."""

    def __init__(self, channels: int, dilation: int = 1, *, without: str, **where: Any) -> None:
        super().__init__()
        each = channels // RATIO
        kept = [size for name, size in BRANCHES.items() if name != without]
        self.split_sizes = [channels - each * len(kept), *(each for _ in kept)]
        self.convs = nn.ModuleList(_depthwise(each, size, **where) for size in kept)

    def forward(self, x: Tensor) -> Tensor:
        passed, *parts = torch.split(x, self.split_sizes, dim=1)
        return torch.cat((passed, *(conv(part) for conv, part in zip(self.convs, parts, strict=True))), dim=1)


class BandsInSequence(nn.Module):
    """Identity, 3 x 3, and on the last channels 1 x 11 and then 11 x 1.

    The paper does not say whether the two bands share one branch's channels or two branches': here it is one, which
    gives 28.056 M parameters; two would give 28.076 M. Both print as 28.1.
    """

    def __init__(self, channels: int, dilation: int = 1, **where: Any) -> None:
        super().__init__()
        each = channels // RATIO
        self.split_sizes = [channels - 2 * each, each, each]
        self.square = _depthwise(each, (3, 3), **where)
        self.bands = nn.Sequential(_depthwise(each, (1, 11), **where), _depthwise(each, (11, 1), **where))

    def forward(self, x: Tensor) -> Tensor:
        passed, square, band = torch.split(x, self.split_sizes, dim=1)
        return torch.cat((passed, self.square(square), self.bands(band)), dim=1)


def without_branch(name: str, *, drop_path: float | None) -> nn.Module:
    """InceptionNeXt-T without its branch "3x3", "1x11" or "11x1"."""
    return _tiny(drop_path, token_mixers=partial(WithoutBranch, without=name))


def bands_in_sequence(*, drop_path: float | None) -> nn.Module:
    """InceptionNeXt-T with its bands one after the other."""
    return _tiny(drop_path, token_mixers=BandsInSequence)


def layer_norm(*, drop_path: float | None) -> nn.Module:
    """InceptionNeXt-T with LayerNorm over channels for BatchNorm; timm's form, as the paper does not say which."""
    return _tiny(drop_path, norm_layer=LayerNorm2d)


def _tiny(drop_path: float | None, **changes: Any) -> nn.Module:
    model: nn.Module = create_model("inception_next_tiny", drop_path_rate=drop_path or 0.0, **changes)
    return model


def _depthwise(channels: int, size: tuple[int, int], **where: Any) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, size, padding=(size[0] // 2, size[1] // 2), groups=channels, **where)
