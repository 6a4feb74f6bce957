"""The function: Inception depthwise convolution as a torch.library operation, with its gradients."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
import triton
from torch import Tensor

from . import reference, triton_nchw_backward, triton_nchw_forward, triton_nhwc_backward, triton_nhwc_forward
from .launch import Plan, plan

# layout -> forward(x, weights, biases, plan, out_dtype) -> y
FORWARD: dict[str, Callable[..., Tensor]] = {
    "nchw": triton_nchw_forward.forward,
    "nhwc": triton_nhwc_forward.forward,
}
# layout -> backward(x, grad_y, weights, plan) -> (grad_x, [grad_w] * 3, [grad_b] * 3)
BACKWARD: dict[str, Callable[..., tuple[Tensor, list[Tensor], list[Tensor]]]] = {
    "nchw": triton_nchw_backward.backward,
    "nhwc": triton_nhwc_backward.backward,
}

INTERPRETED = not isinstance(triton_nchw_forward.forward_kernel, triton.JITFunction)
KERNEL_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
WEIGHT_NAMES = ("square", "row", "column")


def inception_dwconv(
    x: Tensor,
    w_square: Tensor,
    w_row: Tensor,
    w_column: Tensor,
    b_square: Tensor | None = None,
    b_row: Tensor | None = None,
    b_column: Tensor | None = None,
    *,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """cat(x_i, conv(x_s), conv(x_r), conv(x_c)) along the channels, in one pass; the package docstring has the formula.

    x: [N, C, H, W], float32, float16 or bfloat16 (float64 runs the reference). Weights in PyTorch's shapes: square
    [g, 1, s, s], row [g, 1, 1, k], column [g, 1, k, 1], with s and k odd and 3 g <= C; biases [g] each, or all None.
    The result has the memory format of x and out_dtype, by default that of x; under autocast the autocast type, so that
    float32 comes in and 16 bits go out without a cast of its own.

    On a GPU every shape runs this folder's Triton kernels. CPU tensors run the reference, unless Triton interprets its
    kernels. x may be a slice of the channels or have an expanded batch; any other non-dense x, and a gradient of y that
    is not dense, is copied first: the one hidden copy there is. Differentiable once; for second derivatives use the
    reference (InceptionDWConv2d with backend="reference"). torch.func.grad and jvp take no torch.library operation:
    under them the reference runs.

    Raises TypeError for a wrong dtype, ValueError for a wrong rank, shape or device.
    """
    weights, biases = (w_square, w_row, w_column), (b_square, b_row, b_column)
    wanted = checked(x, weights, biases, out_dtype)
    if is_transformed():
        return reference.forward(x, weights, biases, wanted)
    y: Tensor = _operation(x, *weights, *biases, wanted)
    return y


def is_transformed() -> bool:
    """Whether torch.func.grad, vjp, jvp or what is made of them is at work, which take no torch.library operation."""
    if torch.compiler.is_compiling() or not torch._C._are_functorch_transforms_active():
        return False
    differentiating = (torch._C._functorch.TransformType.Grad, torch._C._functorch.TransformType.Jvp)
    return any(level.key() in differentiating for level in torch._C._functorch.get_interpreter_stack() or ())


def checked(
    x: Tensor, weights: tuple[Tensor, ...], biases: tuple[Tensor | None, ...], out_dtype: torch.dtype | None
) -> torch.dtype:
    """The type of the result. Raises TypeError and ValueError for what the operation does not take."""
    if x.dim() != 4:
        raise ValueError(f"inception_dwconv: expected x of 4 dimensions [N, C, H, W], got {x.dim()}: {list(x.shape)}")
    if x.dtype not in (*KERNEL_DTYPES, torch.float64):
        raise TypeError(f"inception_dwconv: expected a float32, float16, bfloat16 or float64 x, got {x.dtype}")
    if out_dtype not in (None, *KERNEL_DTYPES, x.dtype):
        raise TypeError(f"inception_dwconv: expected out_dtype float32, float16 or bfloat16, got {out_dtype}")
    branch = weights[0].shape[0] if weights[0].dim() == 4 else 0
    side, band = (weights[0].shape[-1], weights[1].shape[-1]) if branch else (0, 0)
    shapes = ((branch, 1, side, side), (branch, 1, 1, band), (branch, 1, band, 1))
    for name, weight, shape in zip(WEIGHT_NAMES, weights, shapes, strict=True):
        if tuple(weight.shape) != shape or branch == 0:
            raise ValueError(
                "inception_dwconv: expected weights [g, 1, s, s], [g, 1, 1, k] and [g, 1, k, 1], "
                f"got {[list(w.shape) for w in weights]}"
            )
        if weight.device != x.device:
            raise ValueError(f"inception_dwconv: x is on {x.device} but the {name} weight on {weight.device}")
        if not weight.dtype.is_floating_point:
            raise TypeError(f"inception_dwconv: expected floating-point weights, the {name} weight is {weight.dtype}")
    if side % 2 == 0 or band % 2 == 0:
        raise ValueError(f"inception_dwconv: kernel sizes must be odd to keep the size, got {side} and {band}")
    if 3 * branch > x.shape[1]:
        raise ValueError(f"inception_dwconv: 3 branches of {branch} channels do not fit the {x.shape[1]} channels of x")
    _check_biases(x, biases, branch)
    if out_dtype is None and x.dtype in KERNEL_DTYPES:
        out_dtype = autocast_dtype(x)
    return out_dtype or x.dtype


def autocast_dtype(x: Tensor) -> torch.dtype | None:
    """The type that autocast asks for where x is; None without autocast."""
    # PyTorch 2.11 refuses to answer for meta, which has no autocast.
    if x.is_meta or not torch.is_autocast_enabled(x.device.type):
        return None
    return torch.get_autocast_dtype(x.device.type)


def _check_biases(x: Tensor, biases: tuple[Tensor | None, ...], branch: int) -> None:
    given = [bias for bias in biases if bias is not None]
    if len(given) not in (0, 3):
        raise ValueError(f"inception_dwconv: give all three biases or none, got {len(given)}")
    for name, bias in zip(WEIGHT_NAMES, given, strict=False):
        if tuple(bias.shape) != (branch,):
            raise ValueError(f"inception_dwconv: expected a {name} bias of shape [{branch}], got {list(bias.shape)}")
        if bias.device != x.device:
            raise ValueError(f"inception_dwconv: x is on {x.device} but the {name} bias on {bias.device}")


def layout_of(x: Tensor) -> str:
    """ "nhwc" where x is in channels_last or a slice of its channels, and not in the plain format, else "nchw"."""
    if x.is_contiguous():
        return "nchw"
    channels_follow = x.shape[1] > 1 and x.stride(1) == 1 and x.stride(3) >= x.shape[1]
    rows_follow = x.stride(2) == x.shape[3] * x.stride(3)
    dense = x.is_contiguous(memory_format=torch.channels_last)
    return "nhwc" if dense or (channels_follow and rows_follow) else "nchw"


def runs_kernels(x: Tensor) -> bool:
    """Whether this tensor is for the Triton kernels: on a GPU, or anywhere when Triton interprets its kernels."""
    return x.dtype in KERNEL_DTYPES and x.numel() > 0 and (x.is_cuda or INTERPRETED)


@functools.lru_cache(maxsize=4096)
def _plan(
    shape: tuple[int, ...], dtype: torch.dtype, layout: str, arch: int, settings: tuple[tuple[str, Any], ...]
) -> Plan:
    return plan(shape, dtype, layout, arch, **dict(settings))


def plan_for(x: Tensor, weights: list[Tensor], out_dtype: torch.dtype, direction: str, layout: str) -> Plan:
    major, minor = torch.cuda.get_device_capability(x.device) if x.is_cuda else (9, 0)
    settings = {
        "branch": weights[0].shape[0],
        "square": weights[0].shape[2],
        "band": weights[1].shape[3],
        "out_dtype": out_dtype,
        "direction": direction,
        # One image has no distance to the next: whatever PyTorch says must not make another kernel.
        "batch_stride": x.stride(0) if x.shape[0] > 1 else None,
    }
    return _plan(tuple(x.shape), x.dtype, layout, 10 * major + minor, tuple(settings.items()))


def ready(x: Tensor) -> tuple[Tensor, str]:
    """x in a form that the kernels read, and its layout. Only what is neither dense nor a channel slice is copied."""
    layout = layout_of(x)
    if layout not in FORWARD:
        return x.contiguous(), "nchw"
    planes_are_dense = x.stride()[1:] == (x.shape[2] * x.shape[3], x.shape[3], 1)
    return (x if layout == "nhwc" or planes_are_dense else x.contiguous()), layout


def empty_like(x: Tensor, dtype: torch.dtype) -> Tensor:
    memory_format = torch.channels_last if layout_of(x) == "nhwc" else torch.contiguous_format
    return torch.empty(x.shape, dtype=dtype, device=x.device, memory_format=memory_format)


def by_reference(x: Tensor, weights: list[Tensor], biases: list[Tensor | None], out_dtype: torch.dtype) -> Tensor:
    """y from the reference as the kernels give it: in the memory format of x, summed in no type of autocast's."""
    with torch.autocast(x.device.type, enabled=False):
        return empty_like(x, out_dtype).copy_(reference.forward(x, weights, biases, out_dtype))


@torch.library.custom_op("benchbench::inception_dwconv", mutates_args=())
def _operation(
    x: Tensor,
    w_square: Tensor,
    w_row: Tensor,
    w_column: Tensor,
    b_square: Tensor | None,
    b_row: Tensor | None,
    b_column: Tensor | None,
    out_dtype: torch.dtype,
) -> Tensor:
    weights, biases = [w_square, w_row, w_column], [b_square, b_row, b_column]
    if not runs_kernels(x):
        return by_reference(x, weights, biases, out_dtype)
    dense, layout = ready(x)
    launch = plan_for(dense, weights, out_dtype, "forward", layout)
    with torch.cuda.device(dense.get_device()):
        y = FORWARD[layout](dense, weights, [bias for bias in biases if bias is not None], launch, out_dtype)
    return y if layout == layout_of(x) else y.contiguous(memory_format=torch.channels_last)


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
) -> Tensor:
    return empty_like(x, out_dtype)


Seven = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


@torch.library.custom_op(
    "benchbench::inception_dwconv_backward",
    mutates_args=(),
    schema="(Tensor x, Tensor grad_y, Tensor w_square, Tensor w_row, Tensor w_column)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def _gradients(x: Tensor, grad_y: Tensor, w_square: Tensor, w_row: Tensor, w_column: Tensor) -> Seven:
    """Gradients of x, of the three weights and of the three biases, in this order."""
    weights = [w_square, w_row, w_column]
    if not runs_kernels(x):
        grad_x, grads_w, grads_b = reference.backward(x, grad_y, weights)
        return _seven(empty_like(x, x.dtype).copy_(grad_x), [grad.contiguous() for grad in grads_w], grads_b)
    dense, layout = ready(x)
    memory_format = torch.channels_last if layout == "nhwc" else torch.contiguous_format
    grad_y = grad_y.contiguous(memory_format=memory_format)
    launch = plan_for(dense, weights, grad_y.dtype, "backward", layout)
    with torch.cuda.device(dense.get_device()):
        grad_x, grads_w, grads_b = BACKWARD[layout](dense, grad_y, weights, launch)
    if layout != layout_of(x):
        grad_x = grad_x.contiguous(memory_format=torch.channels_last)
    return _seven(grad_x, grads_w, grads_b)


def _seven(grad_x: Tensor, grads_w: list[Tensor], grads_b: list[Tensor]) -> Seven:
    return grad_x, grads_w[0], grads_w[1], grads_w[2], grads_b[0], grads_b[1], grads_b[2]


@_gradients.register_fake
def _(x: Tensor, grad_y: Tensor, w_square: Tensor, w_row: Tensor, w_column: Tensor) -> Seven:
    weights = [w_square, w_row, w_column]
    biases = [weight.new_empty(weight.shape[0]) for weight in weights]
    return _seven(empty_like(x, x.dtype), [weight.new_empty(weight.shape) for weight in weights], biases)


def save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:4])
    ctx.has_bias = inputs[4] is not None


def differentiate(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
    gradients = _gradients(ctx.saved_tensors[0], grad_y, *ctx.saved_tensors[1:])
    return (*gradients[:4], *(gradients[4:] if ctx.has_bias else (None, None, None)), None)


def _refuse(ctx: Any, *grads: Any) -> None:
    raise NotImplementedError(
        "inception_dwconv has no second derivative: use the reference, InceptionDWConv2d(..., backend='reference')"
    )


_operation.register_autograd(differentiate, setup_context=save)
_gradients.register_autograd(_refuse)
