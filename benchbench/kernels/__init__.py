"""Triton kernels that stand alone: each folder is one operation and can be copied into another project."""

from benchbench.kernels.depthwise_conv import DepthwiseConv2d, depthwise_conv
from benchbench.kernels.inception_dwconv import InceptionDWConv2d, inception_dwconv

__all__ = ["DepthwiseConv2d", "InceptionDWConv2d", "depthwise_conv", "inception_dwconv"]
