"""The layer: Inception depthwise convolution, with the constructor and the parameter names of timm's module."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from . import reference
from .operation import inception_dwconv
from .with_statistics import inception_dwconv_with_statistics, statistics

BACKENDS = ("triton", "reference")


class InceptionDWConv2d(nn.Module):
    """Drops in for timm.models.inception_next.InceptionDWConv2d; its state dicts load unchanged.

    in_chs: channels of the input. branch_ratio: share of the channels of each of the three branches, rounded down.
    backend: "triton" (`inception_dwconv`) or "reference" (plain PyTorch, differentiable to any order).
    Input and output are [N, in_chs, H, W]; the output has the memory format of the input.
    Raises ValueError for what the kernels don't do: a dilation, even kernel sizes, a ratio that leaves no channel or
    takes more than there are.
    """

    def __init__(
        self,
        in_chs: int,
        square_kernel_size: int = 3,
        band_kernel_size: int = 11,
        branch_ratio: float = 0.125,
        dilation: int = 1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        backend: str = "triton",
    ) -> None:
        super().__init__()
        branch = int(in_chs * branch_ratio)
        if backend not in BACKENDS:
            raise ValueError(f"InceptionDWConv2d: backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
        if dilation != 1:
            raise ValueError(f"InceptionDWConv2d: dilation must be 1, got {dilation}: use timm's module for others")
        for name, size in (("square_kernel_size", square_kernel_size), ("band_kernel_size", band_kernel_size)):
            if size < 1 or size % 2 == 0:
                raise ValueError(f"InceptionDWConv2d: {name} must be odd, got {size}")
        if not 1 <= branch <= in_chs // 3:
            raise ValueError(
                f"InceptionDWConv2d: branch_ratio {branch_ratio} of {in_chs} channels gives {branch} a branch; "
                f"it must be between 1 and {in_chs // 3}"
            )
        self.backend = backend
        self.split_indexes = (in_chs - 3 * branch, branch, branch, branch)
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        half = square_kernel_size // 2, band_kernel_size // 2
        self.dwconv_hw = nn.Conv2d(branch, branch, square_kernel_size, padding=half[0], groups=branch, **factory)
        self.dwconv_w = nn.Conv2d(branch, branch, (1, band_kernel_size), padding=(0, half[1]), groups=branch, **factory)
        self.dwconv_h = nn.Conv2d(branch, branch, (band_kernel_size, 1), padding=(half[1], 0), groups=branch, **factory)

    def forward(self, x: Tensor) -> Tensor:
        weights, biases = self._parameters_for(x)
        if self.backend == "reference":
            return reference.forward(x, weights, biases)
        return inception_dwconv(x, *weights, *biases)

    def with_statistics(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(y, mean, variance) of `inception_dwconv_with_statistics`, for a BatchNorm that follows."""
        weights, biases = self._parameters_for(x)
        if self.backend == "reference":
            y = reference.forward(x, weights, biases)
            return y, *statistics(y.detach())
        return inception_dwconv_with_statistics(x, *weights, *biases)

    def _parameters_for(self, x: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor | None, ...]]:
        if x.dim() == 4 and x.shape[1] != sum(self.split_indexes):
            raise ValueError(f"InceptionDWConv2d: expected {sum(self.split_indexes)} channels, got {x.shape[1]}")
        layers = (self.dwconv_hw, self.dwconv_w, self.dwconv_h)
        return tuple(layer.weight for layer in layers), tuple(layer.bias for layer in layers)

    def extra_repr(self) -> str:
        return f"split={self.split_indexes}, backend={self.backend!r}"
