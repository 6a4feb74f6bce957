"""The Inception depthwise convolution as the mixer of other architectures: MetaFormers and a Swin.

What the paper's reviewers asked: is it the mixer, or the network around it? PoolFormer (arXiv:2111.11418) and
ConvFormer (arXiv:2210.13452) keep their blocks of two shortcuts, Swin (arXiv:2103.14030) its norms and MLPs; only the
mixer changes.
"""

from __future__ import annotations

from typing import Any

import timm
from timm.models.inception_next import InceptionDWConv2d
from torch import Tensor, nn


class SwinBlock(nn.Module):
    """x + mixer(norm(x)), then x + mlp(norm(x)), on N x H x W x C, with norms and MLP of a Swin block."""

    def __init__(self, block: Any, channels: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.mlp = block.norm1, block.norm2, block.mlp
        self.drop_path1, self.drop_path2 = block.drop_path1, block.drop_path2
        self.mixer = InceptionDWConv2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.mixer(self.norm1(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = x + self.drop_path1(mixed)
        out: Tensor = x + self.drop_path2(self.mlp(self.norm2(x)))
        return out


def metaformer(name: str, *, drop_path: float | None) -> nn.Module:
    """timm's MetaFormer of that name, every mixer an Inception depthwise convolution."""
    options: dict[str, Any] = {} if drop_path is None else {"drop_path_rate": drop_path}
    model: nn.Module = timm.create_model(name, **options)
    blocks: list[Any] = [m for m in model.modules() if type(m).__name__ == "MetaFormerBlock"]
    for block in blocks:
        channels = block.norm1.weight.shape[0]
        block.token_mixer = InceptionDWConv2d(channels)
    return model


def swin(name: str, *, img_size: int, drop_path: float | None) -> nn.Module:
    """timm's Swin of that name, every window attention an Inception depthwise convolution."""
    options: dict[str, Any] = {"img_size": img_size} | ({} if drop_path is None else {"drop_path_rate": drop_path})
    model: Any = timm.create_model(name, **options)
    for stage in model.layers:
        stage.blocks = nn.Sequential(*(SwinBlock(block, block.dim) for block in stage.blocks))
    return model  # type: ignore[no-any-return]
