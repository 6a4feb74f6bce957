"""What Inception depthwise convolution computes, and its gradients, in plain PyTorch at any float dtype."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import conv2d

Weights = Sequence[Tensor]
Biases = Sequence[Tensor | None]


def forward(x: Tensor, weights: Weights, biases: Biases, out_dtype: torch.dtype | None = None) -> Tensor:
    """cat(x_i, conv(x_s), conv(x_r), conv(x_c)) along the channels; differentiable to any order.

    x: [N, C, H, W]. weights: square [g, 1, s, s], row [g, 1, 1, k], column [g, 1, k, 1]. biases: [g] each, or None.
    Weights of another dtype are cast to that of x. The result has out_dtype, by default that of x.
    """
    branch = weights[0].shape[0]
    groups = torch.split(x, [x.shape[1] - 3 * branch, branch, branch, branch], dim=1)
    convolved = [
        conv2d(part, weight.to(x.dtype), None if bias is None else bias.to(x.dtype), padding="same", groups=branch)
        for part, weight, bias in zip(groups[1:], weights, biases, strict=True)
    ]
    return torch.cat([groups[0], *convolved], dim=1).to(out_dtype or x.dtype)


def backward(x: Tensor, grad_y: Tensor, weights: Weights) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The gradients of x, of the three weights and of the three biases, each in the dtype of what it is a gradient of.

    The bias gradients have the dtype of the weights.
    """
    branch = weights[0].shape[0]
    sizes = [x.shape[1] - 3 * branch, branch, branch, branch]
    grad_y = grad_y.to(x.dtype)
    grads_x, grads_w, grads_b = [torch.split(grad_y, sizes, dim=1)[0]], [], []
    for part, grad, weight in zip(
        torch.split(x, sizes, dim=1)[1:], torch.split(grad_y, sizes, dim=1)[1:], weights, strict=True
    ):
        padding = [weight.shape[2] // 2, weight.shape[3] // 2]
        grad_x, grad_w, grad_b = torch.ops.aten.convolution_backward(
            grad, part, weight.to(x.dtype), [branch], [1, 1], padding, [1, 1], False, [0, 0], branch, [True, True, True]
        )
        grads_x.append(grad_x)
        grads_w.append(grad_w.to(weight.dtype))
        grads_b.append(grad_b.to(weight.dtype))
    return torch.cat(grads_x, dim=1), grads_w, grads_b
