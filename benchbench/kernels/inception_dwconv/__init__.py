"""Inception depthwise convolution in one pass: y = cat(x_i, conv_sxs(x_s), conv_1xk(x_r), conv_kx1(x_c)).

x is split along the channels into four groups: x_i (C - 3 g channels, passed through), then three groups of g channels,
each with a depthwise convolution of its own: square s x s, row 1 x k, column k x 1. Stride 1, padding that keeps
the size, one bias a channel. It is the token mixer of InceptionNeXt (arXiv 2303.16900), channels as in its code.

The folder imports torch and triton only. `reference` says what is computed, `launch.plan` how it is launched,
`operation.inception_dwconv` is the function and `module.InceptionDWConv2d` the layer.
"""

from .launch import Plan, plan
from .module import InceptionDWConv2d
from .operation import inception_dwconv
from .with_statistics import inception_dwconv_with_statistics

__all__ = ["InceptionDWConv2d", "Plan", "inception_dwconv", "inception_dwconv_with_statistics", "plan"]
