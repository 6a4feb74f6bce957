"""The layer: depthwise convolution with the constructor and the parameter names of nn.Conv2d."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from . import reference
from .operation import depthwise_conv

BACKENDS = ("triton", "reference")
Size = int | tuple[int, int]


class DepthwiseConv2d(nn.Module):
    """Drops in for nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels).

    Its state dicts load unchanged. groups may be left out; padding may be "same", the default. backend: "triton"
    (``depthwise_conv``) or "reference" (plain PyTorch, differentiable to any order). Input and output are
    (N, in_channels, H, W); the output has the memory format of the input.
    Raises ValueError for what the kernels don't do: a stride, a dilation, another padding or padding mode, groups other
    than the channels, more than one filter a channel, even kernel sizes.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        kernel_size: Size = 3,
        stride: Size = 1,
        padding: Size | str = "same",
        dilation: Size = 1,
        groups: int | None = None,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        backend: str = "triton",
    ) -> None:
        super().__init__()
        wanted = unsuitable(
            in_channels, in_channels if out_channels is None else out_channels, kernel_size, stride, padding, dilation,
            in_channels if groups is None else groups, padding_mode,
        )  # fmt: skip
        if wanted:
            raise ValueError(f"DepthwiseConv2d: {wanted}; use nn.Conv2d for others")
        if backend not in BACKENDS:
            raise ValueError(f"DepthwiseConv2d: backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
        self.in_channels = self.out_channels = self.groups = in_channels
        self.kernel_size = pair(kernel_size)
        self.stride, self.dilation, self.padding_mode = (1, 1), (1, 1), padding_mode
        self.padding = self.kernel_size[0] // 2, self.kernel_size[1] // 2
        self.backend = backend
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.weight = nn.Parameter(torch.empty((in_channels, 1, *self.kernel_size), **factory))
        if bias:
            self.bias: nn.Parameter | None = nn.Parameter(torch.empty(in_channels, **factory))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """As nn.Conv2d: uniform within 1 / sqrt(taps) of zero."""
        bound = (self.kernel_size[0] * self.kernel_size[1]) ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        if self.backend == "reference":
            return reference.depthwise_conv(x, self.weight, self.bias)
        return depthwise_conv(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        size = f"kernel_size={self.kernel_size}, padding={self.padding}, bias={self.bias is not None}"
        return f"{self.in_channels}, {size}, backend={self.backend!r}"


def pair(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def unsuitable(
    in_channels: int,
    out_channels: int,
    kernel_size: Size,
    stride: Size,
    padding: Size | str,
    dilation: Size,
    groups: int,
    padding_mode: str,
) -> str:
    """Why the kernels don't do a convolution with these arguments of nn.Conv2d; "" if they do."""
    size = pair(kernel_size)
    if in_channels < 1:
        return f"in_channels must be at least 1, got {in_channels}"
    if groups != in_channels:
        return f"groups must equal in_channels ({in_channels}), got {groups}"
    if out_channels != in_channels:
        return f"out_channels must equal in_channels ({in_channels}), got {out_channels}"
    if min(size) < 1 or size[0] % 2 == 0 or size[1] % 2 == 0:
        return f"kernel_size must be odd, got {kernel_size}"
    if pair(stride) != (1, 1):
        return f"stride must be 1, got {stride}"
    if pair(dilation) != (1, 1):
        return f"dilation must be 1, got {dilation}"
    if padding_mode != "zeros":
        return f"padding_mode must be 'zeros', got {padding_mode!r}"
    half = size[0] // 2, size[1] // 2
    if padding != "same" and (isinstance(padding, str) or pair(padding) != half):
        return f"padding must keep the size of the image, which is {half}, got {padding!r}"
    return ""
