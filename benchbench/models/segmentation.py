"""UperNet and Semantic FPN on the backbones of Tables 6 and 7: a class for every pixel.

UperNet: arXiv:1807.10221, section 3.2. Semantic FPN: arXiv:1901.02446, section 3. Widths as in mmsegmentation's
configurations for ADE20K, which the paper used: 512 and an auxiliary head for UperNet, 256 and 128 for Semantic FPN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchbench.models import pvt

CLASSES = 150
UPERNET_WIDTH = 512
POOLED_SIDES = (1, 2, 3, 6)
AUXILIARY_WIDTH = 256
PYRAMID_WIDTH = 256
HEAD_WIDTH = 128
DROPOUT = 0.1


class ConvNormRelu(nn.Sequential):
    """A convolution without bias that keeps the size, batch normalisation, ReLU."""

    def __init__(self, before: int, after: int, kernel: int) -> None:
        conv = nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False)
        super().__init__(conv, nn.BatchNorm2d(after), nn.ReLU())


class PyramidPooling(nn.Module):
    """Means over 1, 4, 9 and 36 parts of the map, each through a 1 x 1 convolution, beside the map, through 3 x 3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pooled = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(side), ConvNormRelu(channels, UPERNET_WIDTH, 1)) for side in POOLED_SIDES
        )
        self.fuse = ConvNormRelu(channels + len(POOLED_SIDES) * UPERNET_WIDTH, UPERNET_WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        fused: Tensor = self.fuse(torch.cat((x, *(resized(part(x), x) for part in self.pooled)), dim=1))
        return fused


class UperHead(nn.Module):
    """Four maps, finest first, to classes at the size of the finest: pooling, top-down sums, all levels fused."""

    def __init__(self, channels: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.pooling = PyramidPooling(channels[-1])
        self.laterals = nn.ModuleList(ConvNormRelu(c, UPERNET_WIDTH, 1) for c in channels[:-1])
        self.smooth = nn.ModuleList(ConvNormRelu(UPERNET_WIDTH, UPERNET_WIDTH, 3) for _ in channels[:-1])
        self.fuse = ConvNormRelu(len(channels) * UPERNET_WIDTH, UPERNET_WIDTH, 3)
        self.classify = nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(UPERNET_WIDTH, CLASSES, 1))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        levels = [lateral(m) for lateral, m in zip(self.laterals, maps, strict=False)]
        levels = top_down([*levels, self.pooling(maps[-1])], mode="bilinear")
        levels = [*(smooth(m) for smooth, m in zip(self.smooth, levels, strict=False)), levels[-1]]
        classes: Tensor = self.classify(self.fuse(torch.cat([resized(m, levels[0]) for m in levels], dim=1)))
        return classes


class FPNHead(nn.Module):
    """Four maps, finest first, to classes at the size of the finest: the sum of a feature pyramid's levels.

    Each level is convolved and doubled until it has that size.
    """

    def __init__(self, channels: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(c, PYRAMID_WIDTH, 1) for c in channels)
        self.smooth = nn.ModuleList(nn.Conv2d(PYRAMID_WIDTH, PYRAMID_WIDTH, 3, padding=1) for _ in channels)
        self.raise_ = nn.ModuleList(_raised(level) for level in range(len(channels)))
        self.classify = nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(HEAD_WIDTH, CLASSES, 1))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        levels = [lateral(m) for lateral, m in zip(self.laterals, maps, strict=True)]
        levels = [smooth(m) for smooth, m in zip(self.smooth, top_down(levels, mode="nearest"), strict=True)]
        raised = [raise_(m) for raise_, m in zip(self.raise_, levels, strict=True)]
        total = raised[0]
        for level in raised[1:]:
            total = total + resized(level, total)
        classes: Tensor = self.classify(total)
        return classes


class Segmenter(nn.Module):
    """Backbone and head, N x 3 x H x W to N x classes x H x W, bilinearly enlarged; in training the auxiliary head too.

    Where there is an auxiliary head, training returns (classes, auxiliary classes).
    """

    def __init__(self, backbone: nn.Module, head: nn.Module, auxiliary: nn.Module | None) -> None:
        super().__init__()
        self.num_classes = CLASSES
        self.backbone, self.head, self.auxiliary = backbone, head, auxiliary

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        maps = self.backbone(x)
        classes = resized(self.head(maps), x)
        if self.auxiliary is None or not self.training:
            return classes
        return classes, resized(self.auxiliary(maps[2]), x)


class Backbone(nn.Module):
    """The four maps of a network, N x C x H x W, of strides 4, 8, 16 and 32."""

    def __init__(self, name: str, img_size: tuple[int, int], drop_path: float) -> None:
        super().__init__()
        options: dict[str, Any] = {"features_only": True, "out_indices": (0, 1, 2, 3), "drop_path_rate": drop_path}
        if name.startswith("pvt"):
            # As in mmsegmentation, positions are those of 224 px images, resized: the printed parameters say so.
            depths = pvt.DEPTHS[name.removeprefix("pvt_")]
            self.net: Any = pvt.PVT(depths, img_size=224, drop_path=drop_path, classes=0)
            self.channels = list(pvt.WIDTHS)
            return
        if name.startswith("swin"):
            # The windows are those of any map; the size only says which stages are one window.
            options |= {"img_size": img_size, "strict_img_size": False}
        if name.startswith("res"):
            options["out_indices"] = (1, 2, 3, 4)
        self.net = timm.create_model(name, **options)
        self.channels = list(self.net.feature_info.channels())

    def forward(self, x: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.net.features(x) if hasattr(self.net, "features") else self.net(x)
        # Swin's maps are N x H x W x C.
        return [m if m.shape[1] == c else m.permute(0, 3, 1, 2) for m, c in zip(maps, self.channels, strict=True)]


def upernet(backbone: str, *, img_size: int, aspect: int = 1, drop_path: float | None) -> Segmenter:
    """UperNet with its auxiliary head on stage 3, for images of img_size x (aspect img_size)."""
    features = Backbone(backbone, (img_size, aspect * img_size), drop_path or 0.0)
    convolved = ConvNormRelu(features.channels[2], AUXILIARY_WIDTH, 3)
    auxiliary = nn.Sequential(convolved, _dropped(drop_path), nn.Conv2d(AUXILIARY_WIDTH, CLASSES, 1))
    return Segmenter(features, UperHead(features.channels, _dropped(drop_path).p), auxiliary)


def semantic_fpn(backbone: str, *, img_size: int, aspect: int = 1, drop_path: float | None) -> Segmenter:
    """Semantic FPN for images of img_size x (aspect img_size)."""
    features = Backbone(backbone, (img_size, aspect * img_size), drop_path or 0.0)
    return Segmenter(features, FPNHead(features.channels, _dropped(drop_path).p), None)


def top_down(levels: Sequence[Tensor], *, mode: str) -> list[Tensor]:
    """Each level, finest first, plus the enlarged sum of the coarser ones."""
    summed = [levels[-1]]
    for level in reversed(levels[:-1]):
        above = summed[-1]
        larger = resized(above, level) if mode == "bilinear" else functional.interpolate(above, level.shape[-2:])
        summed.append(level + larger)
    return summed[::-1]


def resized(x: Tensor, like: Tensor) -> Tensor:
    """x bilinearly at the height and width of another map."""
    if x.shape[-2:] == like.shape[-2:]:
        return x
    return functional.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=False)


def _raised(level: int) -> nn.Sequential:
    """3 x 3 convolutions, each followed by a doubling; of the finest level one convolution alone."""
    parts: list[nn.Module] = []
    for i in range(max(1, level)):
        parts.append(ConvNormRelu(HEAD_WIDTH if i else PYRAMID_WIDTH, HEAD_WIDTH, 3))
        if level:
            parts.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
    return nn.Sequential(*parts)


def _dropped(drop_path: float | None) -> nn.Dropout2d:
    """Dropout is random depth's sibling: it is there where the network's own rates are asked for."""
    return nn.Dropout2d(DROPOUT if drop_path is None else 0.0)
