"""How the kernels are launched: from shape, types, layout and architecture to block sizes, programs and options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import gcd, prod
from typing import Any

import torch
import triton

from . import launch_nhwc, launch_table

THREADS = 128
# What a kernel is compiled with to run one part alone is the part's place here; -1 is all of them.
PARTS = ("identity", "square", "row", "column")
VECTOR_BYTES = 16
# A row of at most this many columns is one thread's, and nothing beside it is read. A square window keeps as many rows
# as the kernel is high, hence fewer columns.
LONGEST_ROW = 28
LONGEST_SQUARE = 14
# Elements of grad_y that a thread of the backward sums before the threads of its program add up.
SUMMED = 128
# The widest load or store of a thread. Eight of them in flight a thread are 64 KiB a multiprocessor at a quarter of the
# occupancy, above the 24 to 35 KiB that latency times bandwidth asks for.
COPY_VECTORS = 8
# Where a program copies the identity and gives its moments: elements of an image, of each plane at most, and images.
COPIED_ELEMENTS, COPIED_LANES, COPIED_IMAGES = 1024, 512, 8
Choices = Mapping[str, int]


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

    parts: how many programs serve the identity and each branch, by the names in PARTS. rows: how many rows of moments
    of y's channels each of them writes; empty where none are asked for.
    maxnreg: registers that a thread may have; with 128 threads of 128 registers a quarter of the warps fit. None: all.
    """

    direction: str
    layout: str
    geometry: Geometry
    constants: Mapping[str, int | bool]
    parts: Mapping[str, int]
    rows: Mapping[str, int] = field(default_factory=dict)
    num_warps: int = THREADS // 32
    num_stages: int = 1
    maxnreg: int | None = 128

    @property
    def programs(self) -> int:
        """All programs of the launch."""
        return sum(self.parts.values())

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
    choices: Choices | None = None,
) -> Plan:
    """The launch of one call. Used by the launchers, by `bench traffic` and by `bench resources` alike.

    shape: (N, C, H, W), whatever the layout. dtype: of x; out_dtype: of y (and of its gradient), by default that of x.
    branch: channels of each branch, by default C // 8. arch: 10 * major + minor of the compute capability.
    direction: "forward", "statistics" (forward with the moments of y's channels) or "backward". batch_stride: elements
    between images of x, by default C H W.
    choices: of the rules below, those to overrule: constants by name ("ROW_S": 2), and "maxnreg" (0: all registers). By
    default what was measured to be faster on the architecture (`launch_table`); {} is the rules alone.
    Raises ValueError for what has no plan, and for a choice that the planner does not leave open.
    """
    batch, channels, height, width = shape
    geometry = Geometry(batch, channels, height, width, channels // 8 if branch is None else branch, square, band)
    if (layout, direction) not in PLANNERS:
        known = ", ".join(f"{layout} {direction}" for layout, direction in PLANNERS)
        raise ValueError(f"no plan for layout {layout!r}, direction {direction!r}; there are: {known}")
    itemsize = min(dtype.itemsize, (out_dtype or dtype).itemsize)
    stride = prod(shape[1:]) if batch_stride is None else batch_stride
    if choices is None:
        choices = launch_table.choices_of(geometry, itemsize, layout, direction, arch)
    return _chosen(PLANNERS[layout, direction](geometry, itemsize, stride, arch, choices), choices)


def _chosen(found: Plan, choices: Choices) -> Plan:
    """The plan with its registers chosen. Raises ValueError for a choice that did not reach it."""
    for name, value in choices.items():
        if name != "maxnreg" and found.constants.get(name) != value:
            raise ValueError(f"{name}={value} is no choice of {found.layout} {found.direction} here")
    return replace(found, maxnreg=choices["maxnreg"] or None) if "maxnreg" in choices else found


def overruled(tiles: Mapping[str, Mapping[str, int]], choices: Choices) -> dict[str, dict[str, int]]:
    """The tile of each part, with the choices that are named after it: "ROW_S" is S of the row's."""
    found = {
        part: {key: choices.get(f"{part.upper()}_{key}", value) for key, value in tile.items()}
        for part, tile in tiles.items()
    }
    # A column's thread has one vector of columns.
    return found | {"column": found["column"] | {"SEG": found["column"]["V"]}}


def vector(length: int, itemsize: int) -> int:
    """Elements of the widest vector that divides every run of `length` elements: a power of two, at most 16 bytes."""
    return min(length & -length, VECTOR_BYTES // itemsize)


def window(height: int, most: int) -> int:
    """Rows that a thread owns: a divisor of the height between half of `most` and `most`, else `most` or the height."""
    divisors = [rows for rows in range((most + 1) // 2, most + 1) if height % rows == 0]
    return max(divisors, default=min(height, most))


def grouped(units: int, batch: int, threads: int = THREADS) -> int:
    """How many images share their programs, so that few threads of the last program idle: 1, 2, 4 or 8."""
    groups = [group for group in (1, 2, 4, 8) if group <= max(batch, 1)]
    return min(groups, key=lambda group: (triton.cdiv(group * units, threads) * threads / group, group))


def nchw_forward(
    geometry: Geometry, itemsize: int, batch_stride: int, arch: int, choices: Choices, *, statistics: bool = False
) -> Plan:
    """Threads own small windows of one plane: see the docstring of `triton_nchw_forward`.

    With statistics a plane has a power of two of threads, and what is left of them idles.
    """
    g = geometry
    v = vector(g.width, itemsize)
    square, row = segment(g.width, LONGEST_SQUARE, 8), segment(g.width, LONGEST_ROW, 16)
    tiles = {
        "square": {"S": window(g.height, rows(g.width, square, 64)), "SEG": square, "V": v},
        "row": {"S": window(g.height, rows(g.width, row, 32)), "SEG": row, "V": v},
        "column": {"S": column_rows(g.height, v, itemsize, arch, statistics=statistics), "SEG": v, "V": v},
    }
    tiles = overruled(tiles, choices)
    sizes = {"C": g.channels, "H": g.height, "W": g.width, "GC": g.branch, "KS": g.square, "KB": g.band}
    constants = {**sizes, "X_STRIDE": batch_stride, "THREADS": THREADS}
    largest = 0
    moments = {}
    if statistics:
        lanes = min(COPIED_LANES, power_of_two(g.plane))
        shares, images = triton.cdiv(g.plane, lanes), gcd(COPIED_IMAGES, g.batch)
        moments["identity"] = g.batch // images * shares
        programs = triton.cdiv(g.identity * shares, COPIED_ELEMENTS // lanes)
        parts = {"identity": g.batch // images * programs}
        constants |= {"COPY": COPIED_ELEMENTS, "COPY_LANES": lanes, "COPY_IMAGES": images}
    else:
        copy = choices.get("COPY", copied(g, itemsize))
        parts = {"identity": g.batch * triton.cdiv(g.identity * g.plane, copy)}
        constants |= {"COPY": copy, "COPY_LANES": 0, "COPY_IMAGES": 0}
    for name, tile in tiles.items():
        plane = triton.cdiv(g.height, tile["S"]) * triton.cdiv(g.width, tile["SEG"])
        if statistics:
            plane = power_of_two(plane)
            moments[name] = g.batch * triton.cdiv(plane, THREADS)
        group = grouped(g.branch * plane, g.batch)
        programs = triton.cdiv(group * g.branch * plane, THREADS)
        parts[name] = triton.cdiv(g.batch, group) * programs
        largest = max(largest, programs * THREADS)
        tile = {**tile, "PLANE": plane, "GROUP": group, "PROGRAMS": programs}
        constants |= {f"{name.upper()}_{key}": value for key, value in tile.items()}
    del constants["COLUMN_SEG"]
    constants["STATISTICS"] = statistics
    # The copy's last program counts beyond the image; a row of moments has four counts.
    largest = max(largest, *(4 * count for count in moments.values()), sum(parts.values()))
    launch_nhwc.refuse_beyond_32_bits(g, max(largest, g.plane * g.channels + constants["COPY"]))
    return Plan("statistics" if statistics else "forward", "nchw", geometry, constants, parts, moments)


def power_of_two(count: int) -> int:
    """The least power of two that is no less."""
    return int(triton.next_power_of_2(count))


def column_rows(height: int, columns: int, itemsize: int, arch: int, *, statistics: bool) -> int:
    """Rows that a thread of the forward's column branch owns: 14, or less where ptxas for sm_100 spills 8 bytes."""
    if arch == 100 and columns == 4 and itemsize == 2:
        return min(10, height)
    if columns == 8 or (arch == 100 and columns == 4 and statistics):
        return window(height, 7)
    return window(height, 14)


def segment(width: int, longest: int, ragged: int) -> int:
    """Columns that a thread owns: the whole row where it is short, else 8 or, where these don't divide it, `ragged`."""
    if width <= longest:
        return width
    return 8 if width % 8 == 0 else ragged


def rows(width: int, columns: int, most: int) -> int:
    """Rows that a thread owns: about `most` elements, but few whole rows, so that a warp reads neighbouring ones."""
    return max(1, min(2, 28 // width)) if columns == width else min(8, most // columns)


def nchw_statistics(geometry: Geometry, itemsize: int, batch_stride: int, arch: int, choices: Choices) -> Plan:
    """The forward pass with the moments of y's channels."""
    return nchw_forward(geometry, itemsize, batch_stride, arch, choices, statistics=True)


def nhwc_forward(geometry: Geometry, itemsize: int, batch_stride: int, arch: int, choices: Choices) -> Plan:
    """Threads own runs of a line, two channels wide: see the docstring of `triton_nhwc_forward`."""
    return Plan("forward", "nhwc", geometry, *launch_nhwc.forward(geometry, itemsize, batch_stride, choices))


def nhwc_statistics(geometry: Geometry, itemsize: int, batch_stride: int, arch: int, choices: Choices) -> Plan:
    """The forward pass with the moments of y's channels."""
    return Plan("statistics", "nhwc", geometry, *launch_nhwc.statistics(geometry, itemsize, batch_stride, choices))


def nhwc_backward(geometry: Geometry, itemsize: int, batch_stride: int, arch: int, choices: Choices) -> Plan:
    """The same, with the sums of the weight gradients in registers: see the docstring of `triton_nhwc_backward`."""
    return Plan("backward", "nhwc", geometry, *launch_nhwc.backward(geometry, itemsize, batch_stride, arch, choices))


def nchw_backward(geometry: Geometry, itemsize: int, batch_stride: int, arch: int, choices: Choices) -> Plan:
    """Threads own windows of one channel over many images: see the docstring of `triton_nchw_backward`."""
    g = geometry
    v = vector(g.width, itemsize)
    square, row = segment(g.width, LONGEST_SQUARE, 8), segment(g.width, LONGEST_ROW, 16)
    tiles = {
        "square": {"S": window(g.height, rows(g.width, square, 32)), "SEG": square, "V": v},
        "row": {"S": window(g.height, rows(g.width, row, 32)), "SEG": row, "V": v},
        "column": {"S": min(3, g.height) if v == 8 else window(g.height, 7 if v == 4 else 14), "SEG": v, "V": v},
    }
    tiles = overruled(tiles, choices)
    copy = choices.get("COPY", copied(g, itemsize))
    sizes = {"C": g.channels, "H": g.height, "W": g.width, "GC": g.branch, "KS": g.square, "KB": g.band}
    constants = {**sizes, "X_STRIDE": batch_stride, "COPY": copy, "THREADS": THREADS}
    parts = {"identity": g.batch * triton.cdiv(g.identity * g.plane, copy)}
    largest = 0
    for name, tile in tiles.items():
        units = g.batch * triton.cdiv(g.height, tile["S"]) * triton.cdiv(g.width, tile["SEG"])
        # With a loop around its widest vectors ptxas spills an address of the column branch on sm_90 and sm_100; for
        # sm_100 it writes out more of the row branch's loop in the whole kernel than it does in that branch alone.
        summed = SUMMED // 2 if name == "row" and arch == 100 else SUMMED
        wanted = 1 if name == "column" and v == 8 else max(1, summed // (tile["S"] * tile["SEG"]))
        most = triton.next_power_of_2(triton.cdiv(units, THREADS))
        tile["TILES"] = choices.get(f"{name.upper()}_TILES", min(wanted, most))
        parts[name] = g.branch * triton.cdiv(units, tile["TILES"] * THREADS)
        largest = max(largest, units + tile["TILES"] * THREADS)
        constants |= {f"{name.upper()}_{key}": value for key, value in tile.items()}
    del constants["COLUMN_SEG"]
    constants["LENGTH"] = triton.next_power_of_2(max(g.square**2, g.band) + 1)
    launch_nhwc.refuse_beyond_32_bits(g, max(g.plane * g.channels + copy, largest, sum(parts.values())))
    return Plan("backward", "nchw", geometry, constants, parts)


def copied(geometry: Geometry, itemsize: int) -> int:
    """Elements that a program of the identity copies."""
    chunk = geometry.identity * geometry.plane
    return min(COPY_VECTORS * THREADS * VECTOR_BYTES // itemsize, int(triton.next_power_of_2(max(chunk, 1))))


Planner = Callable[[Geometry, int, int, int, Choices], Plan]
# (layout, direction) -> planner(geometry, itemsize, batch_stride, arch, choices)
PLANNERS: dict[tuple[str, str], Planner] = {
    ("nchw", "forward"): nchw_forward,
    ("nhwc", "forward"): nhwc_forward,
    ("nchw", "statistics"): nchw_statistics,
    ("nhwc", "statistics"): nhwc_statistics,
    ("nhwc", "backward"): nhwc_backward,
    ("nchw", "backward"): nchw_backward,
}


# (kernel, signature, constants, grid, options): what triton.compile and a launch need
Variant = tuple[Any, dict[str, str], dict[str, int | bool], tuple[int, ...], dict[str, int | bool]]
TYPES = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}


def signature_of(kernel: Any, arguments: Sequence[torch.dtype | str]) -> dict[str, str]:
    """The signature of a kernel: pointers to the given types, or words such as "i32"; then its constants."""
    words = [f"*{TYPES[a]}" if isinstance(a, torch.dtype) else a for a in arguments]
    names = list(inspect.signature(kernel.fn).parameters)
    return dict(zip(names, words + ["constexpr"] * (len(names) - len(words)), strict=True))


def variants_of(
    kernel: Any, signature: dict[str, str], constants: Mapping[str, int | bool], plan: Plan
) -> list[Variant]:
    """The launch itself (PART -1) and each part that has programs, whose grid is the programs that serve it."""
    whole: Variant = (kernel, signature, {**constants, "PART": -1}, (plan.programs,), plan.options)
    return [whole] + [
        (kernel, signature, {**constants, "PART": PARTS.index(part)}, (programs,), plan.options)
        for part, programs in plan.parts.items()
        if programs
    ]
