"""The negative control: the depthwise convolution as one writes it first, every tap loaded anew, shifted and masked.

y[n, c, h, w] = bias[c] + sum over i, j of weight[c, i, j] x[n, c, h + i - KH // 2, w + j - KW // 2]

A program computes BLOCK neighbouring places of one plane. It is right, and it shows what the other codings are for: one
load and one mask an output and tap, none of them wide. ``plane_stride`` and the like let it read any layout.
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
def shifted_reloads(
    x, weight, bias, y, image_stride, plane_stride, row_stride, column_stride,
    y_image_stride, y_plane_stride, y_row_stride, y_column_stride,
    CHANNELS: tl.constexpr, FIRST: tl.constexpr, H: tl.constexpr, W: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr,
    HAS_BIAS: tl.constexpr, FLIPPED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Program (block, channel, image) of y; channels are counted from FIRST on."""
    channel = tl.program_id(1)
    image = tl.program_id(2).to(tl.int64)
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    row, column = place // W, place % W
    m = place < H * W
    plane = x + image * image_stride + (channel + FIRST) * plane_stride

    total = tl.zeros((BLOCK,), tl.float32)
    if HAS_BIAS:
        total += tl.load(bias + channel).to(tl.float32)
    for i in tl.static_range(KH):
        for j in tl.static_range(KW):
            seen_row, seen_column = row + i - KH // 2, column + j - KW // 2
            inside = m & (seen_row >= 0) & (seen_row < H) & (seen_column >= 0) & (seen_column < W)
            value = tl.load(plane + seen_row * row_stride + seen_column * column_stride, mask=inside, other=0.0)
            tap = tl.load(weight + channel * (KH * KW) + (KH * KW - 1 - i * KW - j if FLIPPED else i * KW + j))
            total += tap.to(tl.float32) * value.to(tl.float32)

    target = y + image * y_image_stride + (channel + FIRST) * y_plane_stride
    tl.store(target + row * y_row_stride + column * y_column_stride, total.to(y.dtype.element_ty), mask=m)


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


def correlate(x: Tensor, weight: Tensor, bias: Tensor | None, identity_channels: int, *, flipped: bool) -> Tensor:
    """The convolution of all channels but the first ones, which are copied. weight and bias are dense."""
    y = torch.empty_like(x)
    y[:, :identity_channels] = x[:, :identity_channels]
    images, channels, height, width = x.shape
    grid = -(-height * width // BLOCK), channels - identity_channels, images
    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
        shifted_reloads[grid](
            x, weight, weight if bias is None else bias, y, *x.stride(), *y.stride(),
            CHANNELS=channels, FIRST=identity_channels, H=height, W=width, KH=weight.shape[2], KW=weight.shape[3],
            HAS_BIAS=bias is not None, FLIPPED=flipped, BLOCK=BLOCK,
        )  # fmt: skip
    return y


class _Naive(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, identity_channels: int) -> Tensor:
        weight, bias = weight.contiguous(), None if bias is None else bias.contiguous()
        ctx.save_for_backward(x, weight)
        ctx.identity_channels, ctx.has_bias = identity_channels, bias is not None
        return correlate(x, weight, bias, identity_channels, flipped=False)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        grad_x = correlate(grad_y, weight, None, ctx.identity_channels, flipped=True)
        grad_weight = torch.empty(weight.shape, device=x.device, dtype=torch.float32)
        rows, columns = weight.shape[2:]
        with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
            weight_gradient_of_a_tap[(rows * columns, weight.shape[0])](
                x, grad_y, grad_weight, x.shape[0], *x.stride(), *grad_y.stride(),
                FIRST=ctx.identity_channels, H=x.shape[2], W=x.shape[3], KH=rows, KW=columns, BLOCK=1024,
            )  # fmt: skip
        grad_bias = grad_y[:, ctx.identity_channels :].sum((0, 2, 3), dtype=torch.float32).to(weight.dtype)
        return grad_x, grad_weight.to(weight.dtype), grad_bias if ctx.has_bias else None, None


def depthwise_conv(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, identity_channels: int = 0) -> Tensor:
    """As ``operation.depthwise_conv``, on a GPU or in Triton's interpreter, input and output of one type."""
    y: Tensor = _Naive.apply(x, weight, bias, identity_channels)
    return y


def variants(
    shape: tuple[int, int, int, int], dtype: torch.dtype, *, kernel_size: tuple[int, int]
) -> list[tuple[Any, dict[str, str], dict[str, Any], tuple[int, ...], dict[str, Any]]]:
    """What the forward pass launches for a dense NCHW input: (kernel, signature, constants, grid, options)."""
    from .start import type_name

    images, channels, height, width = shape
    kind = f"*{type_name(dtype)}"
    strides = ("image_stride", "plane_stride", "row_stride", "column_stride")
    signature = {"x": kind, "weight": kind, "bias": kind, "y": kind}
    signature |= {prefix + name: "i32" for prefix in ("", "y_") for name in strides}
    constants = {"CHANNELS": channels, "FIRST": 0, "H": height, "W": width, "KH": kernel_size[0], "KW": kernel_size[1]}
    constants |= {"HAS_BIAS": True, "FLIPPED": False, "BLOCK": BLOCK}
    grid = -(-height * width // BLOCK), channels, images
    return [(shifted_reloads, signature, constants, grid, {"num_warps": 4})]
