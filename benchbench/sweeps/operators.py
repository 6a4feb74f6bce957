"""How fast are depthwise k x k on all channels, on a share of them, and the Inception depthwise convolution?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from benchbench import work
from benchbench.case import Skip, Workload, case
from benchbench.sweeps import axes, plain

if TYPE_CHECKING:
    from torch import Tensor

SHARED = (
    axes.SHAPE,
    axes.BATCH,
    axes.PRECISION,
    axes.LAYOUT,
    axes.OPERATOR_MODE,
    axes.BACKEND,
    axes.COMPILE,
    axes.CACHE,
)


@case(axes.KERNEL_SIZE, *SHARED)
def depthwise_conv(
    kernel_size: int,
    shape: str,
    batch: int,
    precision: str,
    layout: str,
    mode: str,
    backend: str,
    compile: str,
    cache: str,
) -> Workload:
    """Depthwise k x k on all channels."""
    channels, height, width = _sizes(shape)
    how = How(precision, layout, mode, backend, compile)
    return _workload(
        how,
        plain.depthwise,
        _stock_depthwise,
        size=(batch, channels, height, width),
        parameters=((channels, 1, kernel_size, kernel_size), (channels,)),
        least=work.depthwise(
            batch=batch,
            channels=channels,
            height=height,
            width=width,
            kernel_height=kernel_size,
            kernel_width=kernel_size,
            itemsize=how.itemsize,
            itemsize_out=how.itemsize_out,
            mode=mode,
        ),
    )


@case(axes.KERNEL_SIZE, axes.RATIO, *SHARED)
def partial_depthwise_conv(
    kernel_size: int,
    ratio: str,
    shape: str,
    batch: int,
    precision: str,
    layout: str,
    mode: str,
    backend: str,
    compile: str,
    cache: str,
) -> Workload:
    """Depthwise k x k on a share of the channels, the rest passed through."""
    channels, height, width = _sizes(shape)
    convolved = share_of(channels, ratio)
    how = How(precision, layout, mode, backend, compile)
    return _workload(
        how,
        plain.partial_depthwise,
        _stock_partial_depthwise,
        size=(batch, channels, height, width),
        parameters=((convolved, 1, kernel_size, kernel_size), (convolved,)),
        least=work.partial_depthwise(
            batch=batch,
            channels=channels,
            convolved_channels=convolved,
            height=height,
            width=width,
            kernel_height=kernel_size,
            kernel_width=kernel_size,
            itemsize=how.itemsize,
            itemsize_out=how.itemsize_out,
            mode=mode,
        ),
    )


@case(axes.KERNEL_SIZE, axes.RATIO, *SHARED)
def inception_dwconv(
    kernel_size: int,
    ratio: str,
    shape: str,
    batch: int,
    precision: str,
    layout: str,
    mode: str,
    backend: str,
    compile: str,
    cache: str,
) -> Workload:
    """The Inception depthwise convolution: identity, 3x3, 1xk and kx1 branches, the three on the given ratio each."""
    channels, height, width = _sizes(shape)
    branch = share_of(channels, ratio)
    if 3 * branch > channels:
        raise Skip(f"three branches of {ratio} are more than all channels: the ratio must be at most 1/3")
    how = How(precision, layout, mode, backend, compile)
    bands = ((3, 3), (1, kernel_size), (kernel_size, 1))
    return _workload(
        how,
        plain.inception_depthwise,
        _stock_inception,
        size=(batch, channels, height, width),
        parameters=tuple(s for kh, kw in bands for s in ((branch, 1, kh, kw), (branch,))),
        least=work.inception_depthwise(
            batch=batch,
            channels=channels,
            branch_channels=branch,
            height=height,
            width=width,
            band_size=kernel_size,
            itemsize=how.itemsize,
            itemsize_out=how.itemsize_out,
            mode=mode,
        ),
    )


def share_of(channels: int, ratio: str) -> int:
    """The channels of one branch, rounded down as timm does. Raises Skip where none is left."""
    convolved = int(channels * Fraction(ratio))
    if convolved < 1:
        raise Skip(f"{ratio} of {channels} channels is no channel")
    return convolved


@dataclass(frozen=True, slots=True)
class How:
    """The axes that every operator shares and that decide how the same mathematics is run."""

    precision: str
    layout: str
    mode: str
    backend: str
    compile: str

    def __post_init__(self) -> None:
        if self.backend == "triton-blocks":
            raise Skip("fused blocks are measured in networks")
        if self.compile != "eager" and self.backend in ("triton", "naive"):
            raise Skip("a hand-written kernel is one call either way: compilation is measured on aten and in networks")

    @property
    def itemsize(self) -> int:
        """Bytes of an element of the input. Under autocast it is float32, as the residual stream is."""
        return 2 if self.precision in ("fp16", "bf16") else 4

    @property
    def itemsize_out(self) -> int:
        """Bytes of an element of the output: no more than the narrower type needs, whatever stock writes."""
        return 4 if self.precision in ("fp32", "tf32") else 2


@dataclass(slots=True)
class Operator:
    """An operator ready to be launched: parameters in the order of the definition.

    output_dtype: what the backend returned when it was made (the judge's copy of the state says float64). y: the output
    whose graph the backward mode goes through again and again.
    """

    function: Callable[..., Tensor]
    x: Tensor
    parameters: tuple[Tensor, ...]
    grad: Tensor | None
    autocast: Any
    output_dtype: Any = None
    y: Tensor | None = None


def _sizes(shape: str) -> tuple[int, int, int]:
    channels, height, width = map(int, shape.split("x"))
    return channels, height, width


def _workload(
    how: How,
    definition: Callable[..., Tensor],
    stock: Callable[..., Tensor],
    *,
    size: tuple[int, int, int, int],
    parameters: tuple[tuple[int, ...], ...],
    least: work.Work,
) -> Workload:
    def make(device: str) -> Operator:
        return _make(how, _function(how, definition, stock, device), size, parameters, device)

    def call(state: Operator) -> Any:
        with state.autocast:
            y = state.function(state.x, *state.parameters)
        return y if how.mode == "forward" else _with_gradients(y, state)

    def backward(state: Operator) -> Any:
        if state.y is None:
            with state.autocast:
                state.y = state.function(state.x, *state.parameters)
        return _gradients(state.y, state, retain=True)

    def exact(state: Operator) -> Any:
        y = definition(state.x, *_narrowed(how, state)).to(state.output_dtype)
        if how.mode == "forward":
            return y
        return _with_gradients(y, state) if how.mode == "forward_backward" else _gradients(y, state)

    return Workload(make=make, call=backward if how.mode == "backward" else call, work=least, plain=exact)


def _make(
    how: How,
    function: Callable[..., Tensor],
    size: tuple[int, int, int, int],
    parameters: tuple[tuple[int, ...], ...],
    device: str,
) -> Operator:
    import torch

    from benchbench import machine

    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(how.precision, torch.float32)
    memory_format = torch.channels_last if how.layout == "nhwc" else torch.contiguous_format
    trains = how.mode != "forward"

    def normal(shape: tuple[int, ...], scale: float = 1.0) -> Tensor:
        tensor = torch.randn(shape, device=device).mul_(scale).to(dtype)
        return tensor.to(memory_format=memory_format) if len(shape) == 4 else tensor

    scales = [(1.0 / shape[2] / shape[3]) ** 0.5 if len(shape) == 4 else 1.0 for shape in parameters]
    state = Operator(
        _compiled(how, function),
        normal(size).requires_grad_(trains),
        tuple(normal(shape, scale).requires_grad_(trains) for shape, scale in zip(parameters, scales, strict=True)),
        None,
        machine.autocast(how.precision, device),
    )
    with state.autocast:
        y = function(state.x, *state.parameters)
    state.output_dtype = y.dtype
    if trains:
        state.grad = torch.randn_like(y)
    # What is compiled makes its own in the first call, so that compiling falls into the time of that call.
    if how.mode == "backward" and how.compile == "eager":
        state.y = y
    return state


def _function(
    how: How, definition: Callable[..., Tensor], stock: Callable[..., Tensor], device: str
) -> Callable[..., Tensor]:
    """The function of the backend. Raises Skip for what the device does not have."""
    if device == "cpu" and how.backend != "aten":
        raise Skip(f"{how.backend} runs on CUDA devices only")
    if device == "cpu" and how.precision in ("tf32", "fp16", "amp-fp16"):
        raise Skip(f"{how.precision} is not for CPUs")
    return _kernel(how.backend, definition) if how.backend in ("triton", "naive") else stock


def _compiled(how: How, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function, compiled where asked."""
    if how.compile == "eager":
        return function
    import torch._functorch.config

    # A donated buffer is overwritten by the backward pass, which the backward mode calls again and again.
    torch._functorch.config.donated_buffer = how.mode != "backward"
    torch._dynamo.reset()
    return torch.compile(function, mode=None if how.compile == "default" else how.compile)


def _kernel(backend: str, definition: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Our kernel for a definition, with the parameters in the definition's order. Raises Skip where there is none."""
    from benchbench import kernels

    operation = "inception_dwconv" if definition is plain.inception_depthwise else "depthwise_conv"
    name = operation if backend == "triton" else f"naive_{operation}"
    function = getattr(kernels, name, None)
    if function is None:
        raise Skip(f"{backend} has no kernel for {definition.__name__}")
    if definition is plain.depthwise:
        return function  # type: ignore[no-any-return]
    if definition is plain.partial_depthwise:
        return lambda x, weight, bias: function(x, weight, bias, identity_channels=x.shape[1] - weight.shape[0])
    return lambda x, *parameters: function(x, *parameters[0::2], *parameters[1::2])


def _narrowed(how: How, state: Operator) -> tuple[Tensor, ...]:
    """The parameters as the point's precision multiplies them; float64 stays float64."""
    import torch

    dtype = {"amp-fp16": torch.float16, "amp-bf16": torch.bfloat16}.get(how.precision)
    if dtype is None or state.x.dtype == torch.float64:
        return state.parameters
    return tuple(parameter.to(dtype) for parameter in state.parameters)


def _with_gradients(y: Tensor, state: Operator) -> tuple[Tensor, ...]:
    return (y.detach(), *_gradients(y, state))


def _gradients(y: Tensor | None, state: Operator, *, retain: bool = False) -> tuple[Tensor, ...]:
    import torch

    assert y is not None
    assert state.grad is not None
    grad = state.grad.to(y.dtype)
    return torch.autograd.grad(y, (state.x, *state.parameters), grad, retain_graph=retain)


def _stock_depthwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    from torch.nn.functional import conv2d

    return conv2d(x, weight, bias, padding="same", groups=weight.shape[0])


def _stock_partial_depthwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    import torch

    passed, convolved = torch.split(x, [x.shape[1] - weight.shape[0], weight.shape[0]], dim=1)
    return torch.cat((passed, _stock_depthwise(convolved, weight, bias)), dim=1)


def _stock_inception(x: Tensor, *parameters: Tensor) -> Tensor:
    import torch

    branch = parameters[0].shape[0]
    passed, *branches = torch.split(x, [x.shape[1] - 3 * branch, branch, branch, branch], dim=1)
    convolved = [
        _stock_depthwise(part, weight, bias)
        for part, weight, bias in zip(branches, parameters[0::2], parameters[1::2], strict=True)
    ]
    return torch.cat((passed, *convolved), dim=1)
