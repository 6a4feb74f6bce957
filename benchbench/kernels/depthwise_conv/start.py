"""Starts the kernels that the plan names, and names the same kernels to those who compile them without a GPU."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .launch import (
    Direction,
    Layout,
    Plan,
    constants,
    convolving_programs,
    copying_programs,
    plan,
    splits,
)

Strides = tuple[int, int]
REDUCED_AT_ONCE = 32
SUMS_PER_PROGRAM = 64


def architecture(x: Tensor) -> str:
    """ "sm_90" and so on; what has no compute capability is planned as sm_90."""
    if not x.is_cuda:
        return "sm_90"
    major, minor = torch.cuda.get_device_capability(x.device)
    return f"sm_{major}{minor}"


def widest(*tensors: Tensor) -> torch.dtype:
    return max((tensor.dtype for tensor in tensors), key=lambda dtype: dtype.itemsize)


def image_strides(x: Tensor, layout: Layout) -> Strides:
    """Elements from image to image and, channels last, from pixel to pixel. A single image has no stride of its own."""
    pixel = 1 if layout == "nchw" else x.stride(3) if x.shape[3] > 1 else x.stride(2)
    return x.stride(0) if x.shape[0] > 1 else 0, pixel


@dataclass(frozen=True, slots=True)
class Launch:
    """What is launched for one kind of call: worked out once and kept."""

    planned: Plan
    multiply: int
    programs: int
    arguments: dict[str, Any]
    splits: int


@functools.lru_cache(maxsize=4096)
def launch_of(
    shape: tuple[int, ...],
    dtype: torch.dtype,
    layout: Layout,
    arch: str,
    kernel_size: tuple[int, int],
    identity: int,
    direction: Direction,
    x_strides: Strides,
    g_strides: Strides,
    has_bias: bool,
) -> Launch:
    """The plan with everything that a launch needs beside the tensors. Raises ValueError for too large a batch."""
    planned = plan(shape, dtype, layout, arch, kernel_size=kernel_size, identity_channels=identity, direction=direction)
    if planned.coding == "split":
        return Launch(planned, 0, 0, {}, 0)
    multiply = convolving_programs(planned, shape, kernel_size, identity)
    programs = multiply + copying_programs(planned, shape, identity)
    # Units and places within an image are counted in 32 bits.
    if max(multiply * planned.units, programs, math.prod(shape[1:]), *x_strides) >= 2**31:
        raise ValueError(f"depthwise_conv: {list(shape)} is too large for one launch: split the batch or the images")
    strides = {"x": x_strides, "g": g_strides}
    fixed = constants(planned, shape, kernel_size, identity, strides, has_bias=has_bias)
    return Launch(planned, multiply, programs, fixed | planned.options(), splits(planned, shape))


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, y: Tensor, layout: Layout, identity: int, direction: Direction
) -> None:
    """Write y, the forward pass; with direction "input_gradient" and x the output's gradient, the input's gradient.

    weight and bias are dense.
    """
    from .triton_forward import depthwise_conv_forward

    strides = image_strides(x, layout)
    launch = launch_of(
        tuple(x.shape), widest(x, y), layout, architecture(x), (weight.shape[2], weight.shape[3]), identity, direction,
        strides, strides, bias is not None,
    )  # fmt: skip
    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
        depthwise_conv_forward[(launch.programs,)](
            x, weight, weight if bias is None else bias, y, x.shape[0], launch.multiply, **launch.arguments
        )


def backward(
    x: Tensor, g: Tensor, weight: Tensor, layout: Layout, identity: int, *, input_wanted: bool, sums_wanted: bool
) -> tuple[Tensor | None, Tensor | None]:
    """The gradient of the input, and (C - identity, taps + 1) sums: the weight's gradient, and the bias's behind it."""
    kernel_size = (weight.shape[2], weight.shape[3])

    def launched(direction: Direction) -> Launch:
        return launch_of(
            tuple(x.shape), widest(x, g), layout, architecture(x), kernel_size, identity, direction,
            image_strides(x, layout), image_strides(g, layout), False,
        )  # fmt: skip

    launch = launched("backward")
    fused = launch.planned.coding == "fused" and input_wanted and sums_wanted
    grad_x = torch.empty_like(g, dtype=x.dtype, memory_format=memory_format(layout)) if input_wanted else None
    if grad_x is not None and not fused:
        convolve(g, weight, None, grad_x, layout, identity, "input_gradient")
    if not sums_wanted:
        return grad_x, None
    if not fused:
        launch = launched("weight_gradient")
    group, taps = x.shape[1] - identity, kernel_size[0] * kernel_size[1]
    partials = torch.empty((launch.splits, group, taps + 1), device=x.device, dtype=torch.float32)
    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
        start_backward(x, g, weight, grad_x if fused else None, partials, launch)
        return grad_x, sum_of(partials)


def start_backward(
    x: Tensor, g: Tensor, weight: Tensor, grad_x: Tensor | None, partials: Tensor, launch: Launch
) -> None:
    """Launch the fused kernel, or without grad_x the one for the weights alone."""
    from .triton_backward import depthwise_conv_backward, depthwise_conv_weight_gradient

    grid = (launch.programs,)
    if grad_x is None:
        depthwise_conv_weight_gradient[grid](x, g, partials, x.shape[0], **launch.arguments)
    else:
        depthwise_conv_backward[grid](x, g, weight, grad_x, partials, x.shape[0], launch.multiply, **launch.arguments)


def sum_of(partials: Tensor) -> Tensor:
    """The sum over the first axis, in an order that depends on nothing but the shape."""
    from .triton_backward import sum_partials

    if partials.shape[0] == 1:
        return partials[0]
    length = partials[0].numel()
    sums = torch.empty(partials.shape[1:], device=partials.device, dtype=torch.float32)
    grid = (-(-length // SUMS_PER_PROGRAM),)
    sum_partials[grid](
        partials, sums, partials.shape[0], LENGTH=length, BLOCK=SUMS_PER_PROGRAM, ROWS=REDUCED_AT_ONCE, num_warps=4
    )
    return sums


def memory_format(layout: Layout) -> torch.memory_format:
    return torch.channels_last if layout == "nhwc" else torch.contiguous_format


def variants(
    shape: Sequence[int],
    dtype: torch.dtype,
    layout: Layout = "nchw",
    arch: str = "sm_90",
    *,
    kernel_size: tuple[int, int],
    identity_channels: int = 0,
    direction: Direction = "forward",
    out_dtype: torch.dtype | None = None,
    part: int = -1,
) -> list[tuple[Any, dict[str, str], dict[str, Any], tuple[int, ...], dict[str, Any]]]:
    """What is launched for a dense input of ``shape``: (kernel, signature, constants, grid, options), one an entry.

    part: -1 what ships; 0 and 1 the copy and the convolution of it alone.
    """
    from .triton_backward import depthwise_conv_backward, depthwise_conv_weight_gradient
    from .triton_forward import depthwise_conv_forward

    out = dtype if out_dtype is None else out_dtype
    wide = max((dtype, out), key=lambda each: each.itemsize)
    planned = plan(
        shape, wide, layout, arch, kernel_size=kernel_size, identity_channels=identity_channels, direction=direction
    )
    if planned.coding == "split":
        given = {
            "kernel_size": kernel_size,
            "identity_channels": identity_channels,
            "out_dtype": out_dtype,
            "part": part,
        }
        return [
            *variants(shape, dtype, layout, arch, direction="input_gradient", **given),  # type: ignore[arg-type]
            *variants(shape, dtype, layout, arch, direction="weight_gradient", **given),  # type: ignore[arg-type]
        ]
    image = shape[1] * shape[2] * shape[3]
    strides = dict.fromkeys(("x", "g"), (image, shape[1] if layout == "nhwc" else 1))
    fixed = constants(
        planned, shape, kernel_size, identity_channels, strides, has_bias=direction == "forward", part=part
    )
    multiply = convolving_programs(planned, shape, kernel_size, identity_channels)
    grid = (multiply + copying_programs(planned, shape, identity_channels),)
    x_type, y_type = f"*{type_name(dtype)}", f"*{type_name(out)}"
    if planned.coding == "taps":
        fixed.pop("PART", None)
        kernel = depthwise_conv_weight_gradient
        signature = {"x": x_type, "grad_y": y_type, "partials": "*fp32", "images": "i32"}
    elif planned.coding == "fused":
        kernel = depthwise_conv_backward
        signature = {"x": x_type, "grad_y": y_type, "weight": "*fp32", "grad_x": x_type, "partials": "*fp32"}
        signature |= {"images": "i32", "convolving": "i32"}
    else:
        kernel = depthwise_conv_forward
        read, written = (y_type, x_type) if direction == "input_gradient" else (x_type, y_type)
        signature = {"x": read, "weight": "*fp32", "bias": "*fp32", "y": written, "images": "i32", "convolving": "i32"}
    return [(kernel, signature, fixed, grid, planned.options())]


def type_name(dtype: torch.dtype) -> str:
    """Triton's name of a type."""
    names = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}
    if dtype not in names:
        raise TypeError(f"the kernels take float32, float16 and bfloat16, not {dtype}")
    return names[dtype]
