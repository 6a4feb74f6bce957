"""The function: depthwise convolution as a torch.library operation, with its gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import reference
from .launch import Layout

KERNEL_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def depthwise_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    identity_channels: int = 0,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """y[n, c] = bias[c] + weight[c] * x[n, c], cross-correlated with stride 1 and the padding that keeps the size.

    x: (N, C, H, W), float32, float16 or bfloat16; float64 runs the reference. weight: (G, 1, kernel height, kernel
    width), both odd, with G = C - identity_channels. bias: (G,). The first ``identity_channels`` of x pass through
    unchanged. The result has the memory format of x and ``out_dtype``, by default that of x; under autocast the
    autocast type, so that float32 comes in and 16 bits go out without a cast of its own. Sums are float32 throughout.

    On a GPU every shape runs this folder's Triton kernels. CPU tensors run the reference, unless Triton interprets
    its kernels. x may be a slice of the channels or have an expanded batch; what is dense neither channels first nor
    channels last is copied first, the one hidden copy there is (an output gradient in the other layout likewise).
    Differentiable once, weight gradients bit-equal from run to run; second derivatives: ``reference.depthwise_conv``.

    torch.vmap over x folds into the batch. torch.func.grad, vjp and jvp take no torch.library operation: under them the
    reference runs.

    Raises TypeError for a wrong dtype, ValueError for a wrong rank, shape or device.
    """
    check(x, weight, bias, identity_channels)
    if out_dtype is None and x.dtype in KERNEL_DTYPES:
        out_dtype = autocast_dtype(x)
    if _is_transformed():
        return reference.depthwise_conv(x, weight, bias, identity_channels=identity_channels, out_dtype=out_dtype)
    y: Tensor = _operation(x, weight, bias, identity_channels, x.dtype if out_dtype is None else out_dtype)
    return y


def autocast_dtype(x: Tensor) -> torch.dtype | None:
    """The type that autocast asks for where x is; None without autocast."""
    # PyTorch 2.11 refuses to answer for meta, which has no autocast.
    if x.is_meta or not torch.is_autocast_enabled(x.device.type):
        return None
    return torch.get_autocast_dtype(x.device.type)


def _is_transformed() -> bool:
    """Whether torch.func.grad, vjp, jvp or what is made of them is at work, which take no torch.library operation."""
    if torch.compiler.is_compiling() or not torch._C._are_functorch_transforms_active():
        return False
    differentiating = (torch._C._functorch.TransformType.Grad, torch._C._functorch.TransformType.Jvp)
    return any(level.key() in differentiating for level in torch._C._functorch.get_interpreter_stack() or ())


def check(x: Tensor, weight: Tensor, bias: Tensor | None, identity_channels: int) -> None:
    """Raise for what no kernel and no reference takes."""
    if x.dim() != 4:
        raise ValueError(f"depthwise_conv: expected x of 4 dimensions (N, C, H, W), got {x.dim()}: {list(x.shape)}")
    if weight.dim() != 4 or weight.shape[1] != 1 or weight.shape[0] == 0:
        raise ValueError(f"depthwise_conv: expected a weight (channels, 1, height, width), got {list(weight.shape)}")
    if weight.shape[2] % 2 == 0 or weight.shape[3] % 2 == 0:
        size = f"{weight.shape[2]}x{weight.shape[3]}"
        raise ValueError(f"depthwise_conv: kernel sizes must be odd to keep the size of the image, got {size}")
    if identity_channels < 0 or weight.shape[0] + identity_channels != x.shape[1]:
        raise ValueError(
            f"depthwise_conv: {weight.shape[0]} filters and {identity_channels} identity channels do not make the "
            f"{x.shape[1]} channels of x"
        )
    if bias is not None and tuple(bias.shape) != (weight.shape[0],):
        raise ValueError(f"depthwise_conv: expected a bias of shape [{weight.shape[0]}], got {list(bias.shape)}")
    for name, tensor in (("x", x), ("weight", weight), ("bias", bias)):
        if tensor is not None and tensor.dtype not in (*KERNEL_DTYPES, torch.float64):
            raise TypeError(f"depthwise_conv: expected float32, float16, bfloat16 or float64, {name} is {tensor.dtype}")
        if tensor is not None and tensor.device != x.device:
            raise ValueError(f"depthwise_conv: x is on {x.device} but {name} on {tensor.device}")


def layout_of(x: Tensor) -> Layout:
    """ "nhwc" where the channels of a pixel are neighbours in memory, slices of channels included; else "nchw"."""
    if x.is_contiguous() or x.shape[1] == 1 or x.shape[2] * x.shape[3] == 1:
        return "nchw"
    return "nhwc" if x.stride(1) == 1 else "nchw"


def runs_kernels(x: Tensor, weight: Tensor) -> bool:
    """Whether the Triton kernels compute this: on a GPU, or anywhere while Triton interprets its kernels."""
    if x.dtype not in KERNEL_DTYPES or weight.dtype not in KERNEL_DTYPES or x.numel() == 0:
        return False
    return x.is_cuda or interpreted()


def interpreted() -> bool:
    """Whether Triton was imported to interpret its kernels (TRITON_INTERPRET=1)."""
    try:
        import triton

        from .triton_forward import depthwise_conv_forward
    except ImportError:
        return False
    return not isinstance(depthwise_conv_forward, triton.JITFunction)


def readable(x: Tensor, layout: Layout) -> bool:
    """Whether the kernels read x as it lies: each image dense, or a slice of the channels of dense images."""
    _, channels, height, width = x.shape
    _, channel, row, column = x.stride()
    if layout == "nchw":
        return (
            (width == 1 or column == 1)
            and (height == 1 or row == width)
            and (channels == 1 or channel == height * width)
        )
    return channel == 1 and (height == 1 or width == 1 or row == width * column)


def ready(x: Tensor, layout: Layout) -> Tensor:
    """x as the kernels read it in ``layout``: itself, or the one hidden copy."""
    if layout_of(x) == layout and readable(x, layout):
        return x
    return x.contiguous(memory_format=memory_format(layout))


def memory_format(layout: Layout) -> torch.memory_format:
    return torch.channels_last if layout == "nhwc" else torch.contiguous_format


def empty_like(x: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.empty(x.shape, dtype=dtype, device=x.device, memory_format=memory_format(layout_of(x)))


@torch.library.custom_op("benchbench::depthwise_conv", mutates_args=())
def _operation(
    x: Tensor, weight: Tensor, bias: Tensor | None, identity_channels: int, out_dtype: torch.dtype
) -> Tensor:
    y = empty_like(x, out_dtype)
    if runs_kernels(x, weight) and out_dtype in KERNEL_DTYPES:
        from .start import convolve

        layout = layout_of(x)
        summand = None if bias is None else bias.contiguous()
        convolve(ready(x, layout), weight.contiguous(), summand, y, layout, identity_channels, "forward")
        return y
    return y.copy_(reference.depthwise_conv(x, weight, bias, identity_channels=identity_channels, out_dtype=out_dtype))


@_operation.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None, identity_channels: int, out_dtype: torch.dtype) -> Tensor:
    return empty_like(x, out_dtype)


@torch.library.custom_op("benchbench::depthwise_conv_backward", mutates_args=())
def _gradients(
    x: Tensor, grad_y: Tensor, weight: Tensor, identity_channels: int, input_wanted: bool, sums_wanted: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of input, weight and bias; what is not wanted is empty."""
    grad_x = x.new_empty(0)
    grad_weight, grad_bias = weight.new_empty(0), weight.new_empty(0)
    if runs_kernels(x, weight) and grad_y.dtype in KERNEL_DTYPES:
        from .start import backward

        layout = layout_of(x)
        found, sums = backward(
            ready(x, layout), ready(grad_y, layout), weight.contiguous(), layout, identity_channels,
            input_wanted=input_wanted, sums_wanted=sums_wanted,
        )  # fmt: skip
        if found is not None:
            grad_x = found
        if sums is not None:
            grad_weight = sums[:, :-1].reshape(weight.shape).to(weight.dtype, copy=True)
            grad_bias = sums[:, -1].to(weight.dtype, copy=True)
        return grad_x, grad_weight, grad_bias
    all_grads = reference.backward(x, grad_y, weight, identity_channels=identity_channels)
    if input_wanted:
        grad_x = empty_like(x, x.dtype).copy_(all_grads[0])
    if sums_wanted:
        grad_weight, grad_bias = all_grads[1].contiguous(), all_grads[2]
    return grad_x, grad_weight, grad_bias


@_gradients.register_fake
def _(
    x: Tensor, grad_y: Tensor, weight: Tensor, identity_channels: int, input_wanted: bool, sums_wanted: bool
) -> tuple[Tensor, Tensor, Tensor]:
    grad_x = empty_like(x, x.dtype) if input_wanted else x.new_empty(0)
    if not sums_wanted:
        return grad_x, weight.new_empty(0), weight.new_empty(0)
    return grad_x, weight.new_empty(weight.shape), weight.new_empty(weight.shape[0])


def _save(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None, int, torch.dtype], output: Tensor) -> None:
    x, weight, bias, identity_channels, _ = inputs
    ctx.save_for_backward(x, weight)
    ctx.identity_channels = identity_channels
    ctx.bias_dtype = None if bias is None else bias.dtype


def _differentiate(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
    x, weight = ctx.saved_tensors
    wanted = ctx.needs_input_grad
    grad_x, grad_weight, grad_bias = _gradients(
        x, grad_y, weight, ctx.identity_channels, wanted[0], wanted[1] or wanted[2]
    )
    return (
        grad_x if wanted[0] else None,
        grad_weight if wanted[1] else None,
        grad_bias.to(ctx.bias_dtype) if wanted[2] else None,
        None,
        None,
    )


def _refuse(ctx: Any, *grads: Any) -> None:
    raise NotImplementedError(
        "depthwise_conv has no second derivative: use benchbench.kernels.depthwise_conv.reference.depthwise_conv"
    )


_operation.register_autograd(_differentiate, setup_context=_save)
_gradients.register_autograd(_refuse)


@_operation.register_vmap
def _(info: Any, in_dims: tuple[Any, ...], x: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any) -> Any:
    if in_dims[0] is None or in_dims[1] is not None or in_dims[2] is not None:
        raise NotImplementedError("depthwise_conv: torch.vmap goes over x alone; loop over weights and biases")
    stacked = x.movedim(in_dims[0], 0)
    return _operation(stacked.flatten(0, 1), weight, bias, *rest).unflatten(0, stacked.shape[:2]), 0
