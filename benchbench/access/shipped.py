"""Which kernels does the suite ship, at which shapes, and how is each compiled and launched for a static check?"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

STAGES = {
    "T": ("96x56x56", "192x28x28", "384x14x14", "768x7x7"),
    "B": ("128x56x56", "256x28x28", "512x14x14", "1024x7x7"),
}
"""Channels x height x width of the four stages at 224 pixels; S has T's."""
DTYPES = ("fp32", "fp16", "bf16")
LAYOUTS = ("nchw", "nhwc")
DIRECTIONS = ("forward", "backward")
"""What every operation has; the mixer has "statistics" too, its forward pass with an epilogue for BatchNorm."""
ITEMSIZE = {"fp32": 4, "fp16": 2, "bf16": 2}
COUNTED_BATCH = 128
TRACED_BATCH = 2
# What streams through the kernel. Weights, biases, their gradients and partial sums are everything else.
STREAMED = ("x", "y", "grad_x", "grad_y", "g")


@dataclass(frozen=True, slots=True)
class Spec:
    """One shipped kernel at one point. shape is "96x56x56"; kernel_size the band's or the kernel's; ratio "" is 1/8."""

    op: str
    direction: str
    dtype: str
    layout: str
    shape: str
    arch: str = "sm_90"
    kernel_size: int = 0
    ratio: str = ""

    @property
    def branch(self) -> int:
        """Channels of one branch of the mixer."""
        return int(self.sizes[0] * Fraction(self.ratio or "1/8"))

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = (int(part) for part in self.shape.split("x"))
        return channels, height, width

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return ITEMSIZE[self.dtype]


@dataclass(frozen=True, slots=True)
class Variant:
    """What triton.compile needs for one kernel function, and the grid that it is launched with."""

    function: Any
    signature: Mapping[str, str]
    constants: Mapping[str, Any]
    grid: tuple[int, ...]
    options: Mapping[str, Any]

    @property
    def part(self) -> int:
        """-1 for what ships, else the number of the branch that is compiled alone."""
        return int(self.constants.get("PART", -1))

    @property
    def programs(self) -> int:
        """Programs of the grid."""
        return math.prod(self.grid)


def specs(
    op: str,
    *,
    archs: Sequence[str] = ("sm_90",),
    directions: Sequence[str] = DIRECTIONS,
    dtypes: Sequence[str] = DTYPES,
    layouts: Sequence[str] = LAYOUTS,
    shapes: Sequence[str] = STAGES["T"],
    kernel_size: int = 0,
) -> list[Spec]:
    """Every combination that has a kernel. Raises ValueError for an operation that ships none."""
    adapter(op)
    found = [
        Spec(op, direction, dtype, layout, shape, arch, kernel_size)
        for arch in archs
        for layout in layouts
        for direction in directions
        for dtype in dtypes
        for shape in shapes
    ]
    return [spec for spec in found if adapter(op).ships(spec)]


@dataclass(frozen=True, slots=True)
class Adapter:
    """How one operation is asked for its kernels.

    ships: whether there is a kernel; variants: the launches of a call at a batch; launcher: for interpreted kernels, a
    call at a batch on CPU tensors; host: the module that starts the launches; floor_elements: streamed elements that an
    image must at least move; kernel_size: what 0 stands for; directions, gated_shapes, traced_shapes: what the static
    gate compiles and traces.
    """

    ships: Callable[[Spec], bool]
    variants: Callable[[Spec, int], list[Variant]]
    launcher: Callable[[Spec, int], Callable[[], Any]]
    host: Callable[[Spec], Any]
    floor_elements: Callable[[Spec], int]
    kernel_size: int
    directions: tuple[str, ...]
    gated_shapes: tuple[str, ...]
    traced_shapes: tuple[str, ...]


def adapter(op: str) -> Adapter:
    """The adapter of an operation, by the name of its folder. Raises ValueError for an unknown one."""
    if op not in ADAPTERS:
        raise ValueError(f"no kernels of {op!r} are shipped: there are {', '.join(ADAPTERS)}")
    return ADAPTERS[op]


def _module(op: str, name: str) -> Any:
    return importlib.import_module(f"benchbench.kernels.{op}.{name}")


def _torch_dtype(name: str) -> Any:
    import torch

    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[name]


def _tensor(spec: Spec, batch: int) -> Any:
    import torch

    x = torch.randn(batch, *spec.sizes, generator=torch.Generator().manual_seed(0)).to(_torch_dtype(spec.dtype))
    return x.contiguous(memory_format=torch.channels_last) if spec.layout == "nhwc" else x


# ---- the Inception depthwise convolution --------------------------------------------------------------------------


def _inception_ships(spec: Spec) -> bool:
    return spec.direction in ADAPTERS[spec.op].directions


def _inception_plan(spec: Spec, batch: int) -> Any:
    return _module(spec.op, "launch").plan(
        (batch, *spec.sizes),
        _torch_dtype(spec.dtype),
        spec.layout,
        int(spec.arch.removeprefix("sm_")),
        branch=spec.branch,
        band=spec.kernel_size or 11,
        direction=spec.direction,
    )


def _inception_host(spec: Spec) -> Any:
    return _module(spec.op, f"triton_{spec.layout}_{'backward' if spec.direction == 'backward' else 'forward'}")


def _inception_variants(spec: Spec, batch: int) -> list[Variant]:
    found = _inception_host(spec).variants(_inception_plan(spec, batch), _torch_dtype(spec.dtype))
    return [Variant(*one) for one in found]


def _inception_launcher(spec: Spec, batch: int) -> Callable[[], Any]:
    import torch

    module, x, plan = _inception_host(spec), _tensor(spec, batch), _inception_plan(spec, batch)
    branch, band, dtype = spec.branch, spec.kernel_size or 11, x.dtype
    weights = [torch.randn(branch, 1, *kernel).to(dtype) for kernel in ((3, 3), (1, band), (band, 1))]
    if spec.direction == "backward":
        grad_y = torch.randn_like(x)
        return lambda: module.backward(x, grad_y, weights, plan)
    biases = [torch.randn(branch).to(dtype) for _ in weights]
    forward = module.forward_with_statistics if spec.direction == "statistics" else module.forward
    return lambda: forward(x, weights, biases, plan, dtype)


def _inception_floor(spec: Spec) -> int:
    channels, height, width = spec.sizes
    convolved = 3 * spec.branch if spec.direction == "backward" else 0
    return (2 * channels + convolved) * height * width


# ---- the depthwise convolution ------------------------------------------------------------------------------------


def _depthwise_ships(spec: Spec) -> bool:
    return spec.direction in ADAPTERS[spec.op].directions


def _depthwise_host(spec: Spec) -> Any:
    return _module(spec.op, "start")


def _depthwise_variants(spec: Spec, batch: int) -> list[Variant]:
    size = spec.kernel_size or DEPTHWISE_KERNEL_SIZE
    found = _depthwise_host(spec).variants(
        (batch, *spec.sizes),
        _torch_dtype(spec.dtype),
        spec.layout,
        spec.arch,
        kernel_size=(size, size),
        direction=spec.direction,
    )
    return [Variant(*one) for one in found]


def _depthwise_launcher(spec: Spec, batch: int) -> Callable[[], Any]:
    import torch

    start, x = _depthwise_host(spec), _tensor(spec, batch)
    size = spec.kernel_size or DEPTHWISE_KERNEL_SIZE
    weight, bias = torch.randn(spec.sizes[0], 1, size, size), torch.randn(spec.sizes[0])
    other = torch.randn_like(x)
    if spec.direction == "backward":
        return lambda: start.backward(x, other, weight, spec.layout, 0, input_wanted=True, sums_wanted=True)
    return lambda: start.convolve(x, weight, bias, other, spec.layout, 0, "forward")


def _depthwise_floor(spec: Spec) -> int:
    channels, height, width = spec.sizes
    return (2 if spec.direction == "forward" else 3) * channels * height * width


DEPTHWISE_KERNEL_SIZE = 7

ADAPTERS = {
    "inception_dwconv": Adapter(
        _inception_ships,
        _inception_variants,
        _inception_launcher,
        _inception_host,
        _inception_floor,
        kernel_size=11,
        directions=("forward", "statistics", "backward"),
        gated_shapes=(*STAGES["T"], *STAGES["B"]),
        traced_shapes=STAGES["T"],
    ),
    "depthwise_conv": Adapter(
        _depthwise_ships,
        _depthwise_variants,
        _depthwise_launcher,
        _depthwise_host,
        _depthwise_floor,
        kernel_size=DEPTHWISE_KERNEL_SIZE,
        directions=DIRECTIONS,
        gated_shapes=STAGES["T"],
        # Planes of few channels: every channel is traced tap by tap, and channels are all alike.
        traced_shapes=("8x14x14",),
    ),
}


def widest_access(spec: Spec) -> int:
    """Bytes of the widest vector that the alignment of rows (NCHW) or of channel groups (NHWC) allows, at most 16."""
    run = spec.sizes[2] if spec.layout == "nchw" else spec.branch
    length = run * spec.itemsize
    return min(16, length & -length)


def shapes_of(variants: str) -> Iterator[str]:
    """The stage shapes of "T", "S", "B" or several, as "T,B"."""
    for name in variants.split(","):
        yield from STAGES["T" if name == "S" else name]
