"""The negative control: the Inception mixer as one writes it first, every tap of every branch loaded anew and masked.

y = x on the identity channels, y[n, c, h, w] = b[c] + sum_ij w[c, i, j] x[n, c, h + i - KH // 2, w + j - KW // 2]
in the square (S x S), row (1 x K) and column (K x 1) branches. A program computes BLOCK neighbouring places of one
plane; the branch is told from the channel. It reads what the other codings read once as often as there are taps.
"""

# mypy: disallow-untyped-decorators=False, disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 256


@triton.jit
def sum_of_taps(
    plane, weight, place, row_stride, column_stride, channel,
    H: tl.constexpr, W: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr, FLIPPED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row, column = place // W, place % W
    total = tl.zeros((BLOCK,), tl.float32)
    for i in tl.static_range(KH):
        for j in tl.static_range(KW):
            seen_row, seen_column = row + i - KH // 2, column + j - KW // 2
            inside = (seen_row >= 0) & (seen_row < H) & (seen_column >= 0) & (seen_column < W) & (place < H * W)
            value = tl.load(plane + seen_row * row_stride + seen_column * column_stride, mask=inside, other=0.0)
            tap = tl.load(weight + channel * (KH * KW) + (KH * KW - 1 - i * KW - j if FLIPPED else i * KW + j))
            total += tap.to(tl.float32) * value.to(tl.float32)
    return total


@triton.jit
def shifted_reloads(
    x, square, row, column, b_square, b_row, b_column, y,
    image_stride, plane_stride, row_stride, column_stride,
    y_image_stride, y_plane_stride, y_row_stride, y_column_stride,
    C: tl.constexpr, G: tl.constexpr, H: tl.constexpr, W: tl.constexpr, S: tl.constexpr, K: tl.constexpr,
    HAS_BIAS: tl.constexpr, FLIPPED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Program (block, channel, image) of y. FLIPPED turns the taps round: the gradient of the input."""
    c = tl.program_id(1)
    image = tl.program_id(2).to(tl.int64)
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    plane = x + image * image_stride + c * plane_stride
    FIRST: tl.constexpr = C - 3 * G
    if c < FIRST:
        at = place // W * row_stride + place % W * column_stride
        total = tl.load(plane + at, mask=place < H * W, other=0.0).to(tl.float32)
    elif c < FIRST + G:
        total = sum_of_taps(plane, square, place, row_stride, column_stride, c - FIRST, H, W, S, S, FLIPPED, BLOCK)
        if HAS_BIAS:
            total += tl.load(b_square + c - FIRST).to(tl.float32)
    elif c < FIRST + 2 * G:
        total = sum_of_taps(plane, row, place, row_stride, column_stride, c - FIRST - G, H, W, 1, K, FLIPPED, BLOCK)
        if HAS_BIAS:
            total += tl.load(b_row + c - FIRST - G).to(tl.float32)
    else:
        total = sum_of_taps(
            plane, column, place, row_stride, column_stride, c - FIRST - 2 * G, H, W, K, 1, FLIPPED, BLOCK
        )
        if HAS_BIAS:
            total += tl.load(b_column + c - FIRST - 2 * G).to(tl.float32)
    target = y + image * y_image_stride + c * y_plane_stride + place // W * y_row_stride + place % W * y_column_stride
    tl.store(target, total.to(y.dtype.element_ty), mask=place < H * W)


@triton.jit
def weight_gradient_of_a_tap(
    x, g, grad_weight, images, image_stride, plane_stride, row_stride, column_stride,
    g_image_stride, g_plane_stride, g_row_stride, g_column_stride,
    FIRST: tl.constexpr, H: tl.constexpr, W: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Program (tap, channel): it reads both tensors once more for every tap."""
    tap, channel = tl.program_id(0), tl.program_id(1)
    down, right = tap // KW - KH // 2, tap % KW - KW // 2
    total = tl.zeros((BLOCK,), tl.float32)
    first = 0
    while first < images * (H * W):
        place = first + tl.arange(0, BLOCK)
        image = (place // (H * W)).to(tl.int64)
        row, column = place // W % H, place % W
        seen_row, seen_column = row + down, column + right
        inside = (image < images) & (seen_row >= 0) & (seen_row < H) & (seen_column >= 0) & (seen_column < W)
        seen = image * image_stride + (channel + FIRST) * plane_stride + seen_row * row_stride
        given = image * g_image_stride + (channel + FIRST) * g_plane_stride + row * g_row_stride
        value = tl.load(x + seen + seen_column * column_stride, mask=inside, other=0.0).to(tl.float32)
        grad = tl.load(g + given + column * g_column_stride, mask=inside, other=0.0).to(tl.float32)
        total += value * grad
        first += BLOCK
    tl.store(grad_weight + channel * (KH * KW) + tap, tl.sum(total, axis=0))


def mix(x: Tensor, weights: tuple[Tensor, ...], biases: tuple[Tensor | None, ...], *, flipped: bool) -> Tensor:
    """One launch over all channels. weights and biases are dense."""
    y = torch.empty_like(x)
    images, channels, height, width = x.shape
    square, row, _ = weights
    has_bias = biases[0] is not None
    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
        shifted_reloads[(-(-height * width // BLOCK), channels, images)](
            x, *weights, *(biases if has_bias else weights), y, *x.stride(), *y.stride(),
            C=channels, G=square.shape[0], H=height, W=width, S=square.shape[2], K=row.shape[3],
            HAS_BIAS=has_bias, FLIPPED=flipped, BLOCK=BLOCK,
        )  # fmt: skip
    return y


class _Naive(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, square: Tensor, row: Tensor, column: Tensor, *biases: Tensor | None) -> Tensor:
        weights = square.contiguous(), row.contiguous(), column.contiguous()
        ctx.save_for_backward(x, *weights)
        ctx.has_bias = biases[0] is not None
        dense = tuple(None if bias is None else bias.contiguous() for bias in biases)
        return mix(x, weights, dense, flipped=False)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        x, *weights = ctx.saved_tensors
        grad_x = mix(grad_y, tuple(weights), (None, None, None), flipped=True)
        first = x.shape[1] - 3 * weights[0].shape[0]
        grads: list[Tensor] = []
        biases: list[Tensor | None] = []
        for weight in weights:
            branch, _, rows, columns = weight.shape
            grad = torch.empty(weight.shape, device=x.device, dtype=torch.float32)
            with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
                weight_gradient_of_a_tap[(rows * columns, branch)](
                    x, grad_y, grad, x.shape[0], *x.stride(), *grad_y.stride(),
                    FIRST=first, H=x.shape[2], W=x.shape[3], KH=rows, KW=columns, BLOCK=1024,
                )  # fmt: skip
            grads.append(grad.to(weight.dtype))
            total = grad_y[:, first : first + branch].sum((0, 2, 3), dtype=torch.float32)
            biases.append(total.to(weight.dtype) if ctx.has_bias else None)
            first += branch
        return grad_x, *grads, *biases


def inception_dwconv(
    x: Tensor,
    w_square: Tensor,
    w_row: Tensor,
    w_column: Tensor,
    b_square: Tensor | None = None,
    b_row: Tensor | None = None,
    b_column: Tensor | None = None,
) -> Tensor:
    """As ``operation.inception_dwconv``, on a GPU or in Triton's interpreter, input and output of one type."""
    y: Tensor = _Naive.apply(x, w_square, w_row, w_column, b_square, b_row, b_column)
    return y


def variants(
    shape: tuple[int, int, int, int], dtype: torch.dtype, *, branch: int, square: int = 3, band: int = 11
) -> list[tuple[Any, dict[str, str], dict[str, Any], tuple[int, ...], dict[str, Any]]]:
    """What the forward pass launches for a dense NCHW input: (kernel, signature, constants, grid, options)."""
    kind = {torch.float32: "*fp32", torch.float16: "*fp16", torch.bfloat16: "*bf16"}[dtype]
    images, channels, height, width = shape
    signature = dict.fromkeys(("x", "square", "row", "column", "b_square", "b_row", "b_column", "y"), kind)
    strides = ("image_stride", "plane_stride", "row_stride", "column_stride")
    signature |= {prefix + name: "i32" for prefix in ("", "y_") for name in strides}
    constants = {"C": channels, "G": branch, "H": height, "W": width, "S": square, "K": band}
    constants |= {"HAS_BIAS": True, "FLIPPED": False, "BLOCK": BLOCK}
    grid = -(-height * width // BLOCK), channels, images
    return [(shifted_reloads, signature, constants, grid, {"num_warps": 4})]
