"""What a depthwise convolution and its gradients mean, in unfused PyTorch operations that every kernel is held to."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional


def depthwise_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    identity_channels: int = 0,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """The first ``identity_channels`` of ``x`` unchanged, the others convolved, one filter a channel.

    x: (N, C, H, W). weight: (C - identity_channels, 1, kernel height, kernel width), both odd. bias: one a filter.
    Multiplies and adds one tap after another in the type of ``x``, float32 at least. Never calls a convolution, and
    differentiates any number of times. Padding adds nothing, also where a weight is infinite or not a number.
    """
    exact = torch.promote_types(x.dtype, torch.float32)
    passed, taken = x[:, :identity_channels], x[:, identity_channels:]
    taken, taps = taken.to(exact), weight.to(exact)
    y = torch.zeros_like(taken)
    for i, j, seen, written in tap_windows(taken, weight):
        margins = (
            written[1].start,
            taken.shape[3] - written[1].stop,
            written[0].start,
            taken.shape[2] - written[0].stop,
        )
        y = y + functional.pad(taken[:, :, seen[0], seen[1]] * taps[:, 0, i, j, None, None], margins)
    if bias is not None:
        y = y + bias.to(exact)[:, None, None]
    chosen = x.dtype if out_dtype is None else out_dtype
    return torch.cat((passed.to(chosen), y.to(chosen)), dim=1)


def backward(x: Tensor, grad_y: Tensor, weight: Tensor, *, identity_channels: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of input, weight and bias, in the types of ``x`` and ``weight``."""
    exact = torch.promote_types(x.dtype, torch.float32)
    passed, given = grad_y[:, :identity_channels].to(exact), grad_y[:, identity_channels:].to(exact)
    taken, taps = x[:, identity_channels:].to(exact), weight.to(exact)
    grad_x, grad_weight = torch.zeros_like(taken), torch.zeros_like(taps)
    for i, j, seen, written in tap_windows(taken, weight):
        grad = given[:, :, written[0], written[1]]
        grad_x[:, :, seen[0], seen[1]] += grad * taps[:, 0, i, j, None, None]
        grad_weight[:, 0, i, j] = (grad * taken[:, :, seen[0], seen[1]]).sum((0, 2, 3))
    whole = torch.cat((passed, grad_x), dim=1)
    return whole.to(x.dtype), grad_weight.to(weight.dtype), given.sum((0, 2, 3)).to(weight.dtype)


def tap_windows(x: Tensor, weight: Tensor) -> Iterator[tuple[int, int, tuple[slice, slice], tuple[slice, slice]]]:
    """For each tap that sees the image: its row and column, the part of the input it sees, the part of the output."""
    (height, width), (rows, columns) = x.shape[2:], weight.shape[2:]
    for i in range(rows):
        for j in range(columns):
            down, right = i - rows // 2, j - columns // 2
            if abs(down) < height and abs(right) < width:
                seen = slice(max(down, 0), height + min(down, 0)), slice(max(right, 0), width + min(right, 0))
                written = slice(max(-down, 0), height - max(down, 0)), slice(max(-right, 0), width - max(right, 0))
                yield i, j, seen, written
