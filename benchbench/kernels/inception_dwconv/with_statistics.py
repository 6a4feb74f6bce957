"""The operation with an epilogue for BatchNorm: y, and the mean and the variance of its channels, in one pass.

BatchNorm in training reads its input twice: for the statistics and to normalise. Here the first reading is none.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import operation, reference, triton_nchw_forward, triton_nhwc_forward

FORWARD = {
    "nchw": triton_nchw_forward.forward_with_statistics,
    "nhwc": triton_nhwc_forward.forward_with_statistics,
}
Three = tuple[Tensor, Tensor, Tensor]


def inception_dwconv_with_statistics(
    x: Tensor,
    w_square: Tensor,
    w_row: Tensor,
    w_column: Tensor,
    b_square: Tensor | None = None,
    b_row: Tensor | None = None,
    b_column: Tensor | None = None,
    *,
    out_dtype: torch.dtype | None = None,
) -> Three:
    """(y, mean, variance): `inception_dwconv` of the same arguments, and the statistics of y as it is stored.

    mean, variance: [C], over batch, rows and columns, the variance divided by their number, float32 (float64 of a
    float64 x). No digits are lost to a mean far above the deviation, and the bits are the same from run to run.
    Gradients flow through y alone: who uses the statistics accounts for them, as BatchNorm's backward does.
    Raises as `inception_dwconv` does, and ValueError for an empty x, which has no mean.
    """
    weights, biases = (w_square, w_row, w_column), (b_square, b_row, b_column)
    wanted = operation.checked(x, weights, biases, out_dtype)
    if x.numel() == 0:
        raise ValueError(f"inception_dwconv_with_statistics: an empty x has no statistics, got {list(x.shape)}")
    if operation.is_transformed():
        y = reference.forward(x, weights, biases, wanted)
        return y, *statistics(y.detach())
    found: Three = _operation(x, *weights, *biases, wanted)
    return found


def statistics(y: Tensor) -> tuple[Tensor, Tensor]:
    """What the kernels find, in plain PyTorch."""
    exact = y.to(torch.promote_types(y.dtype, torch.float32))
    variance, mean = torch.var_mean(exact, (0, 2, 3), correction=0)
    return mean, variance


@torch.library.custom_op("benchbench::inception_dwconv_with_statistics", mutates_args=())
def _operation(
    x: Tensor,
    w_square: Tensor,
    w_row: Tensor,
    w_column: Tensor,
    b_square: Tensor | None,
    b_row: Tensor | None,
    b_column: Tensor | None,
    out_dtype: torch.dtype,
) -> Three:
    weights, biases = [w_square, w_row, w_column], [b_square, b_row, b_column]
    if not operation.runs_kernels(x):
        y = operation.by_reference(x, weights, biases, out_dtype)
        return y, *statistics(y)
    dense, layout = operation.ready(x)
    launch = operation.plan_for(dense, weights, out_dtype, "statistics", layout)
    given = [bias for bias in biases if bias is not None]
    with torch.cuda.device(dense.get_device()):
        y, mean, variance = FORWARD[layout](dense, weights, given, launch, out_dtype)
    if layout != operation.layout_of(x):
        y = y.contiguous(memory_format=torch.channels_last)
    return y, mean, variance


@_operation.register_fake
def _(
    x: Tensor,
    w_square: Tensor,
    w_row: Tensor,
    w_column: Tensor,
    b_square: Tensor | None,
    b_row: Tensor | None,
    b_column: Tensor | None,
    out_dtype: torch.dtype,
) -> Three:
    mean = x.new_empty(x.shape[1], dtype=torch.promote_types(out_dtype, torch.float32))
    return operation.empty_like(x, out_dtype), mean, torch.empty_like(mean)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Three) -> None:
    operation.save(ctx, inputs, output[0])
    ctx.mark_non_differentiable(*output[1:])


def _differentiate(ctx: Any, grad_y: Tensor, *_of_statistics: Tensor) -> tuple[Tensor | None, ...]:
    return operation.differentiate(ctx, grad_y)


_operation.register_autograd(_differentiate, setup_context=_save)
