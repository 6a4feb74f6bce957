"""How the kernels are launched: from shape, types, layout and architecture to block sizes, programs and options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
import triton

THREADS = 128
VECTOR_BYTES = 16
# The widest load or store of a thread. Eight of them in flight a thread are 64 KiB a multiprocessor at a quarter of the
# occupancy, above the 24 to 35 KiB that latency times bandwidth asks for.
COPY_VECTORS = 8


@dataclass(frozen=True, slots=True)
class Geometry:
    """The sizes of one call: batch x channels x height x width, channels of a branch, and the two kernel sizes."""

    batch: int
    channels: int
    height: int
    width: int
    branch: int
    square: int = 3
    band: int = 11

    @property
    def identity(self) -> int:
        """How many channels are passed through."""
        return self.channels - 3 * self.branch

    @property
    def plane(self) -> int:
        """Elements of one channel of one image."""
        return self.height * self.width


@dataclass(frozen=True, slots=True)
class Plan:
    """One launch: the constants a kernel is compiled with (sizes of the call and of its blocks), the grid, the options.

    maxnreg: registers that a thread may have; with 128 threads of 128 registers a quarter of the warps fit. None: all.
    """

    direction: str
    layout: str
    geometry: Geometry
    constants: Mapping[str, int | bool]
    programs: int
    num_warps: int = THREADS // 32
    num_stages: int = 1
    maxnreg: int | None = 128

    @property
    def options(self) -> dict[str, int | bool]:
        """The launch options, as keyword arguments of the launch and as the options of triton.compile."""
        options: dict[str, int | bool] = {
            "num_warps": self.num_warps,
            "num_stages": self.num_stages,
            "enable_fp_fusion": True,
        }
        return options if self.maxnreg is None else {**options, "maxnreg": self.maxnreg}


def plan(
    shape: Sequence[int],
    dtype: torch.dtype,
    layout: str = "nchw",
    arch: int = 90,
    *,
    branch: int | None = None,
    square: int = 3,
    band: int = 11,
    out_dtype: torch.dtype | None = None,
    direction: str = "forward",
    batch_stride: int | None = None,
) -> Plan:
    """The launch of one call. Used by the launchers, by `bench traffic` and by `bench resources` alike.

    shape: (N, C, H, W), whatever the layout. dtype: of x; out_dtype: of y (and of its gradient), by default that of x.
    branch: channels of each branch, by default C // 8. arch: 10 * major + minor of the compute capability.
    direction: "forward" or "backward". batch_stride: elements between images of x, by default C H W.
    Raises ValueError for what has no plan.
    """
    batch, channels, height, width = shape
    geometry = Geometry(batch, channels, height, width, channels // 8 if branch is None else branch, square, band)
    if (layout, direction) not in PLANNERS:
        known = ", ".join(f"{layout} {direction}" for layout, direction in PLANNERS)
        raise ValueError(f"no plan for layout {layout!r}, direction {direction!r}; there are: {known}")
    itemsize = min(dtype.itemsize, (out_dtype or dtype).itemsize)
    stride = prod(shape[1:]) if batch_stride is None else batch_stride
    return PLANNERS[layout, direction](geometry, itemsize, stride, arch)


def vector(length: int, itemsize: int) -> int:
    """Elements of the widest vector that divides every run of `length` elements: a power of two, at most 16 bytes."""
    return min(length & -length, VECTOR_BYTES // itemsize)


def divisor(number: int, most: int) -> int:
    """The largest divisor of a number that is at most `most`."""
    return max(d for d in range(1, most + 1) if number % d == 0)


def grouped(units: int, batch: int, threads: int = THREADS) -> int:
    """How many images share their programs, so that few threads of the last program idle: 1, 2, 4 or 8."""
    groups = [group for group in (1, 2, 4, 8) if group <= max(batch, 1)]
    return min(groups, key=lambda group: (triton.cdiv(group * units, threads) * threads / group, group))


def nchw_forward(geometry: Geometry, itemsize: int, batch_stride: int, arch: int) -> Plan:
    """Threads own small windows of one plane: see the docstring of `triton_nchw_forward`."""
    raise NotImplementedError


Planner = Callable[[Geometry, int, int, int], Plan]
# (layout, direction) -> planner(geometry, itemsize, batch_stride, arch)
PLANNERS: dict[tuple[str, str], Planner] = {("nchw", "forward"): nchw_forward}
