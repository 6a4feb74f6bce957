"""Are the answers of our kernels right on this GPU? Every kernel of the goals' table, at batch 128, against float64."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

import torch
from kernel_goals import STATISTICS_DTYPE
from torch import Tensor, nn

from benchbench.verify import allowance

DEVICE = "cuda"
BATCH = 128
STAGES = {"s1": (96, 56), "s2": (192, 28), "s3": (384, 14), "s4": (768, 7)}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
FORMATS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
BAND = 11
# Compiling keeps a core busy; this process and the driver keep two.
WORKERS = max(1, len(os.sched_getaffinity(0)) - 2)

Point = tuple[str, str, str, str]
"""Operation, stage, type of the input, layout."""


class StockMixer(nn.Module):
    """The Inception depthwise convolution as published: split, three convolutions, cat."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        branch = channels // 8
        self.sizes = [channels - 3 * branch, branch, branch, branch]
        half = BAND // 2
        self.square = nn.Conv2d(branch, branch, 3, padding=1, groups=branch)
        self.row = nn.Conv2d(branch, branch, (1, BAND), padding=(0, half), groups=branch)
        self.column = nn.Conv2d(branch, branch, (BAND, 1), padding=(half, 0), groups=branch)

    def forward(self, x: Tensor) -> Tensor:
        passed, square, row, column = torch.split(x, self.sizes, dim=1)
        return torch.cat((passed, self.square(square), self.row(row), self.column(column)), dim=1)

    def tensors(self) -> list[Tensor]:
        convs = (self.square, self.row, self.column)
        return [conv.weight for conv in convs] + [conv.bias for conv in convs if conv.bias is not None]


def mixer_of(channels: int, dtype: torch.dtype) -> StockMixer:
    torch.manual_seed(0)
    return StockMixer(channels).to(DEVICE, dtype)


def inputs_of(stage: str, dtype: torch.dtype, layout: str, seed: int, *, batch: int = BATCH) -> Tensor:
    channels, side = STAGES[stage]
    made = torch.Generator(DEVICE).manual_seed(seed)
    x = torch.randn(batch, channels, side, side, generator=made, device=DEVICE).to(dtype)
    return x.contiguous(memory_format=FORMATS[layout])


def checks() -> Iterator[Point]:
    """Everything that is checked; sorted so that slow ones begin first."""
    for operation in ("inception_dwconv", "depthwise 3x3", "depthwise 7x7"):
        for stage in STAGES:
            for layout in FORMATS:
                for dtype in DTYPES if operation == "inception_dwconv" else ("fp32", "bf16"):
                    yield operation, stage, dtype, layout
    for stage in STAGES:
        for layout in FORMATS:
            yield "inception_dwconv amp", stage, "fp32", layout
            yield "inception_dwconv statistics", stage, STATISTICS_DTYPE, layout


def tensors_of(point: Point, *, batch: int = BATCH) -> tuple[Tensor, list[Tensor], Tensor]:
    """What the operation of a point is called with: x, the parameters, and the gradient of the output in its type."""
    operation, stage, dtype, layout = point
    kind = DTYPES[dtype]
    x = inputs_of(stage, kind, layout, 1, batch=batch)
    g = inputs_of(stage, torch.bfloat16 if operation.endswith("amp") else kind, layout, 2, batch=batch)
    if operation.startswith("inception"):
        return x, mixer_of(x.shape[1], kind).tensors(), g
    size = int(operation[-1])
    torch.manual_seed(0)
    return x, [torch.randn(x.shape[1], 1, size, size, device=DEVICE).to(kind)], g


def check(point: Point) -> str:
    """Compile what the point launches, compare outputs and gradients with float64; "" or what is wrong."""
    operation, _, dtype, _ = point
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    kind = DTYPES[dtype]
    x, parameters, g = tensors_of(point)
    found = with_gradients(ours(operation, g.dtype), x, parameters, g)
    plain = with_gradients(by_convolution(operation, kind), x, parameters, g.to(kind))
    exact = with_gradients(
        by_convolution(operation, torch.float64), x.double(), [each.double() for each in parameters], g.double()
    )
    names = ["y", "grad x", *(f"grad {k}" for k in range(len(parameters)))]
    # Each weight meets each pixel of each image three times.
    multiply_adds = 3 * sum(each.numel() for each in parameters) * (x.numel() // x.shape[1])
    for name, one, near, true in zip(names, found, plain, exact, strict=True):
        allowed = allowance(near.to(one.dtype), true, multiply_adds=multiply_adds)
        error = (one.double() - true).abs().max().item()
        if not error <= allowed:
            return f"{name}: error {error:.3e}, allowed {allowed:.3e}"
    return check_moments(x, parameters) if operation.endswith("statistics") else ""


def check_moments(x: Tensor, parameters: Sequence[Tensor]) -> str:
    """The mean and the variance of y's channels against float64; "" or what is wrong."""
    from benchbench.kernels.inception_dwconv import inception_dwconv_with_statistics

    y, *moments = inception_dwconv_with_statistics(x, *parameters)
    plain, exact = (torch.var_mean(each, (0, 2, 3), correction=0) for each in (y.float(), y.double()))
    for name, one, near, true in zip(("variance", "mean"), reversed(moments), plain, exact, strict=True):
        allowed = allowance(near, true, multiply_adds=y.numel())
        error = (one.double() - true).abs().max().item()
        if not error <= allowed:
            return f"{name}: error {error:.3e}, allowed {allowed:.3e}"
    return ""


def ours(operation: str, out: torch.dtype) -> Callable[..., Tensor]:
    from benchbench.kernels import depthwise_conv, inception_dwconv
    from benchbench.kernels.inception_dwconv import inception_dwconv_with_statistics

    if operation.endswith("statistics"):
        return lambda x, *parameters: inception_dwconv_with_statistics(x, *parameters, out_dtype=out)[0]
    function = inception_dwconv if operation.startswith("inception") else depthwise_conv
    return lambda x, *parameters: function(x, *parameters, out_dtype=out)


def by_convolution(operation: str, dtype: torch.dtype) -> Callable[..., Tensor]:
    """The same by PyTorch's own convolutions in one type."""
    conv = nn.functional.conv2d
    if not operation.startswith("inception"):
        return lambda x, weight: conv(x, weight, padding="same", groups=weight.shape[0])

    def mix(x: Tensor, *parameters: Tensor) -> Tensor:
        weights, biases = parameters[:3], parameters[3:]
        branch = weights[0].shape[0]
        passed, *taken = torch.split(x, [x.shape[1] - 3 * branch, branch, branch, branch], dim=1)
        pairs = zip(taken, weights, biases, strict=True)
        return torch.cat((passed, *(conv(part, w, b, padding="same", groups=branch) for part, w, b in pairs)), dim=1)

    return mix


def with_gradients(
    function: Callable[..., Tensor], x: Tensor, parameters: Sequence[Tensor], g: Tensor
) -> tuple[Tensor, ...]:
    leaves = [leaf.detach().requires_grad_() for leaf in (x, *parameters)]
    y = function(*leaves)
    return (y.detach(), *torch.autograd.grad(y, leaves, g.to(y.dtype)))


def compile_and_check(until: float) -> tuple[list[str], list[str]]:
    """Fill Triton's cache from several processes and check; the lines of what is wrong, the points without time."""
    wrong: list[str] = []
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        left = {pool.submit(check, point): " ".join(point) for point in checks()}
        number = len(left)
        try:
            for future in as_completed(tuple(left), timeout=max(1.0, until - time.monotonic())):
                point, error = left.pop(future), future.exception()
                said = f"{type(error).__name__}: {error}" if error is not None else future.result()
                if said:
                    wrong.append(f"{point}: {said}")
        except TimeoutError:
            print(f"stopped checking with {len(left)} of {number} points left: no time", flush=True)
            pool.shutdown(wait=False, cancel_futures=True)
    print(f"checked {number - len(left)} of {number} points against float64: {len(wrong)} wrong", flush=True)
    return wrong, list(left.values())
