"""Depthwise convolution: y[n, c, h, w] = b[c] + sum_ij w[c, i, j] x[n, c, h + i - KH // 2, w + j - KW // 2].

Stride 1, padding that keeps the size, KH and KW odd, one filter a channel; the first ``identity_channels`` pass
through, which is the partial convolution (a ratio of the channels is convolved). One pass reads x and writes y.

The folder imports torch and triton only. ``reference`` says what is computed, ``launch.plan`` how it is launched,
``operation.depthwise_conv`` is the function and ``module.DepthwiseConv2d`` the layer. ``triton_naive`` is
the coding that one writes first, kept as the negative control.
"""

from .launch import Plan, plan
from .module import DepthwiseConv2d
from .operation import depthwise_conv

__all__ = ["DepthwiseConv2d", "Plan", "depthwise_conv", "plan"]
