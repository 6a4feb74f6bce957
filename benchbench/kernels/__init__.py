"""Triton kernels that stand alone: each folder is one operation and can be copied into another project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchbench.kernels.depthwise_conv import DepthwiseConv2d, depthwise_conv
from benchbench.kernels.inception_dwconv import InceptionDWConv2d, inception_dwconv

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "DepthwiseConv2d",
    "InceptionDWConv2d",
    "depthwise_conv",
    "inception_dwconv",
    "naive_depthwise_conv",
    "naive_inception_dwconv",
]


def naive_depthwise_conv(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, identity_channels: int = 0
) -> Tensor:
    """The negative control of ``depthwise_conv``: every tap loaded anew. CUDA tensors or Triton's interpreter."""
    from benchbench.kernels.depthwise_conv import triton_naive

    return triton_naive.depthwise_conv(x, weight, bias, identity_channels=identity_channels)


def naive_inception_dwconv(x: Tensor, *parameters: Tensor | None) -> Tensor:
    """The negative control of ``inception_dwconv``, which takes the same tensors. CUDA or Triton's interpreter."""
    from benchbench.kernels.inception_dwconv import triton_naive

    return triton_naive.inception_dwconv(x, *parameters)  # type: ignore[arg-type]
