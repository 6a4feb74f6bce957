"""Triton kernels that stand alone: each folder is one operation and can be copied into another project."""

from benchbench.kernels.inception_dwconv import InceptionDWConv2d, inception_dwconv

__all__ = ["InceptionDWConv2d", "inception_dwconv"]
