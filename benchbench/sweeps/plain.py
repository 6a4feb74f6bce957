"""What the depthwise operators are: their definitions in unfused torch operations, never a convolution call.

They judge every backend, stock included, so they share no code with any. Tensors are N x C x H x W; weights are
C x 1 x kh x kw with odd sizes; the output has the size of the input ("same" padding with zeros, stride 1). What is
convolved is computed in the type of the weights (the narrower one under autocast); what is passed through keeps its
own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def depthwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """y[n, c, h, w] = bias[c] + sum over i, j of weight[c, 0, i, j] * x[n, c, h + i - kh // 2, w + j - kw // 2]."""
    from torch.nn.functional import pad

    height, width = x.shape[-2:]
    kernel_height, kernel_width = weight.shape[-2:]
    padded = pad(x.to(weight.dtype), (kernel_width // 2, kernel_width // 2, kernel_height // 2, kernel_height // 2))
    y = None
    for i in range(kernel_height):
        for j in range(kernel_width):
            term = padded[:, :, i : i + height, j : j + width] * weight[:, 0, i, j].view(1, -1, 1, 1)
            y = term if y is None else y + term
    assert y is not None
    return y if bias is None else y + bias.view(1, -1, 1, 1)


def partial_depthwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The last channels, as many as the weight has, convolved; the channels before them passed through."""
    import torch

    passed = x.shape[1] - weight.shape[0]
    return torch.cat((x[:, :passed], depthwise(x[:, passed:], weight, bias)), dim=1)


def inception_depthwise(x: Tensor, *parameters: Tensor) -> Tensor:
    """Identity, square, row and column branches side by side (InceptionNeXt, arXiv 2303.16900, section 3.2).

    parameters: the weights and then the biases of the square (gc x 1 x s x s), row (gc x 1 x 1 x k) and column
    (gc x 1 x k x 1) branches: w_square, b_square, w_row, b_row, w_column, b_column.
    """
    import torch

    branch = parameters[0].shape[0]
    passed = x.shape[1] - 3 * branch
    branches = x[:, passed:].tensor_split(3, dim=1)
    pairs = zip(parameters[0::2], parameters[1::2], strict=True)
    convolved = [depthwise(part, weight, bias) for part, (weight, bias) in zip(branches, pairs, strict=True)]
    return torch.cat((x[:, :passed], *convolved), dim=1)
