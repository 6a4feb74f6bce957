"""With which coding and which sizes a depthwise convolution is launched: one plan for launching, tracing and compiling.

The rules count registers: a thread that needs more than 128 leaves fewer than 16 warps on a multiprocessor. What a
candidate needs is estimated from its live values; the limits are where ptxas (sm_90, Triton 3.9) stopped spilling.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

Direction = Literal["forward", "backward", "input_gradient", "weight_gradient"]
Layout = Literal["nchw", "nhwc"]

THREADS = 128
MAX_REGISTERS = 128
WINDOW_TAPS = 25
SPARE_REGISTERS = 24
WINDOW_REGISTERS = 140
WINDOW_REGISTERS_FP32 = 130
LOOP_REGISTERS = 112
FUSED_REGISTERS = 130
FUSED_REGISTERS_NHWC_FP32 = 118
WEIGHT_REGISTERS = 110
# ptxas fetches further ahead for sm_100 and sm_120, where 7 x 7 at 56 x 56 spilled with 110.
WEIGHT_REGISTERS_NEWER = 86
MULTIPROCESSORS = {"sm_80": 108, "sm_86": 84, "sm_89": 128, "sm_90": 132, "sm_100": 148, "sm_120": 188}
PROGRAMS_PER_MULTIPROCESSOR = 16
# Programs of 128 threads of 128 registers that a multiprocessor holds.
RESIDENT_PROGRAMS = 4
MOST_ROUNDS = 512
# Partial sums cost at most this share of the pass's own bytes, where a program is left for each multiprocessor.
MOST_PARTIALS = 0.02
SUM_BYTES = 4
LEAST_COLUMNS = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """How one direction is computed. The sizes are those of triton_window.py; None of them depends on pointers.

    coding: "window" or "loop" (forward, input_gradient), "taps" (weight_gradient), "fused" or "split" (backward;
    split is the input_gradient and the weight_gradient one after the other, each by its own plan).
    """

    direction: Direction
    layout: Layout
    coding: Literal["window", "loop", "taps", "fused", "split"]
    rows: int = 1
    columns: int = 1
    vector: int = 1
    halo: int = 1
    ahead: int = 0
    units: int = THREADS
    channels: int = 1
    tap_rows: int = 1
    rounds: int = 1
    copy: int = 1
    copies: int = 1
    copy_channels: int = 1
    warps: int = THREADS // 32
    registers: int = MAX_REGISTERS

    def options(self) -> dict[str, Any]:
        """What the compiler is told beside the constants."""
        return {"num_warps": self.warps, "num_stages": 2, "maxnreg": self.registers, "enable_fp_fusion": True}


def plan(
    shape: Sequence[int],
    dtype: torch.dtype,
    layout: Layout,
    arch: str = "sm_90",
    *,
    kernel_size: tuple[int, int],
    identity_channels: int = 0,
    direction: Direction = "forward",
) -> Plan:
    """The plan for an input of ``shape`` (N, C, H, W) whose widest element, of input and output, is ``dtype``.

    kernel_size: (height, width), both odd. arch: "sm_90" and so on; an unknown one is planned as sm_90. Pure and cheap.
    """
    if direction == "backward":
        found = next(fitting(shape, dtype, layout, kernel_size, arch, "fused", direction), None)
        if found is None or found.columns < min(LEAST_COLUMNS, shape[3]):
            return Plan(direction, layout, "split")
    elif direction == "weight_gradient":
        found = next(fitting(shape, dtype, layout, kernel_size, arch, "taps", direction), None)
    else:
        found = next(fitting(shape, dtype, layout, kernel_size, arch, "window", direction), None)
        found = found or next(fitting(shape, dtype, layout, kernel_size, arch, "loop", direction), None)
    if found is None:
        raise ValueError(f"no coding of a {kernel_size[0]}x{kernel_size[1]} kernel fits the registers")
    return completed(found, shape, dtype, arch, kernel_size, identity_channels)


def fitting(
    shape: Sequence[int],
    dtype: torch.dtype,
    layout: Layout,
    kernel_size: tuple[int, int],
    arch: str,
    coding: Literal["window", "loop", "taps", "fused"],
    direction: Direction,
) -> Iterator[Plan]:
    """The sizes with which a coding fits the registers, the best first."""
    height, width = shape[2:]
    found: list[tuple[tuple[float, int], Plan]] = []
    most = most_registers(coding, dtype, layout, arch)
    # Of 7 x 7 outputs ptxas for sm_90 spills 16 bytes where the taps are flipped.
    tallest = 4 if direction == "input_gradient" and layout == "nchw" and dtype.itemsize == 2 else 7
    # Channels a thread, channels last: the loop loads all rows of a unit at once, which in 32 bits leaves room for one.
    one = layout == "nchw" or (coding == "loop" and dtype.itemsize == 4)
    for wide in (1,) if one else (2, 1):
        for columns, vector in column_choices(width, layout, dtype):
            halo = min(vector, power_of_two(kernel_size[1] // 2))
            beside = 0 if columns >= width else -(-(kernel_size[1] // 2) // halo) * halo
            rows, tap_rows = row_choice(
                height, columns, kernel_size, coding, most, whole=columns >= width, tallest=tallest
            )
            needed = registers(kernel_size, coding, rows, columns, beside, tap_rows) * wide + SPARE_REGISTERS
            if needed > most or tap_rows < 1:
                continue
            # A warp whose threads are further apart than they read takes several turns for one load.
            turns = 1 if layout == "nhwc" else min(columns, 32 // dtype.itemsize) / vector
            loads = (columns // vector * (1 + turns) / 2 + 2 * (beside // halo)) / wide
            seen = (rows + kernel_size[0] - 1) / rows if coding in ("window", "fused") else kernel_size[0]
            ragged = 2 if width % columns else 1
            cost = seen * (columns + 2 * beside + 2 * loads) / columns * ragged
            ahead = 2 if coding == "window" and layout == "nchw" else 0
            sized = Plan(
                direction, layout, coding, rows, columns, vector, halo, ahead, wide * THREADS, tap_rows=tap_rows
            )
            found.append(((cost, -columns), sized))
    if coding == "window" and kernel_size[0] * kernel_size[1] > WINDOW_TAPS:
        return iter(())
    return iter([sized for _, sized in sorted(found, key=lambda pair: pair[0])])


def column_choices(width: int, layout: Layout, dtype: torch.dtype) -> Iterator[tuple[int, int]]:
    """Columns a thread and the vector they are loaded by: the vector divides the columns and the row."""
    widest, most = (1, 8) if layout == "nhwc" else (16 // dtype.itemsize, 16)
    for vector in (u for u in (8, 4, 2, 1) if u <= widest and width % u == 0):
        for columns in range(vector, min(width, most) + 1, vector):
            if width % columns == 0 or (columns == 8 and vector == 1):
                yield columns, vector


def row_choice(
    height: int, columns: int, kernel_size: tuple[int, int], coding: str, most: int, *, whole: bool, tallest: int
) -> tuple[int, int]:
    """Rows a unit, and rows of the taps a program. Few rows where code is unrolled twice: Triton is slow to compile."""
    if coding == "window":
        return divisor(height, 8), kernel_size[0]
    if coding == "fused":
        return height if height <= 7 else divisor(height, 4), kernel_size[0]
    if coding == "loop":
        # ptxas loads all rows of a unit before it multiplies the first.
        loaded = (16 if kernel_size[1] > 20 else 49) // columns
        return divisor(height, max(1, min(tallest if whole else 4, loaded))), kernel_size[0]
    beside = 0 if whole else kernel_size[1] // 2
    each = kernel_size[1] + columns + 2 * beside
    tap_rows = max(1, min(kernel_size[0], (most - SPARE_REGISTERS - columns) // each))
    tap_rows = -(-kernel_size[0] // -(-kernel_size[0] // tap_rows))
    return divisor(height, 4), tap_rows


def registers(kernel_size: tuple[int, int], coding: str, rows: int, columns: int, beside: int, tap_rows: int) -> int:
    """The values that a thread must hold at once."""
    height, width = kernel_size
    lanes = columns + 2 * beside
    if coding == "window":
        return height * width + height * lanes + columns
    if coding == "loop":
        return rows * columns + width + min(lanes, 24)
    if coding == "fused":
        return 2 * height * width + height * lanes + 3 * columns
    return tap_rows * width + tap_rows * lanes + columns


def most_registers(coding: str, dtype: torch.dtype, layout: Layout, arch: str) -> int:
    if coding == "fused":
        return FUSED_REGISTERS_NHWC_FP32 if layout == "nhwc" and dtype.itemsize == 4 else FUSED_REGISTERS
    if coding == "window" and dtype.itemsize == 4:
        return WINDOW_REGISTERS_FP32
    if coding == "taps" and arch in ("sm_100", "sm_120"):
        return WEIGHT_REGISTERS_NEWER
    return {"window": WINDOW_REGISTERS, "loop": LOOP_REGISTERS, "taps": WEIGHT_REGISTERS}[coding]


def completed(
    sized: Plan, shape: Sequence[int], dtype: torch.dtype, arch: str, kernel_size: tuple[int, int], identity: int
) -> Plan:
    """The plan with its tile, its copy and, where sums are carried, its rounds."""
    _, channels, height, width = shape
    group = channels - identity
    wide = sized.units // THREADS
    carried = sized.direction in ("backward", "weight_gradient")
    copy_channels, tiles = 1, [1]
    if sized.layout == "nhwc":
        tiles = sorted((64, 32, 16), key=lambda size: (-(-group // size) * size, -size))
        copy_channels = min((128, 64, 32, 16), key=lambda size: (-(-max(identity, 1) // size) * size, -size))
    elif carried and height * width * dtype.itemsize < 512:
        tiles = [min(8, power_of_two(group))]
    planned = [
        replace(
            sized,
            units=THREADS * wide // tile if sized.layout == "nhwc" else THREADS,
            channels=tile,
            copy=THREADS * 16 // dtype.itemsize,
            copies=4 if sized.layout == "nhwc" else 8,
            copy_channels=copy_channels,
        )
        for tile in tiles
    ]
    if not carried:
        return planned[0]

    each = multiprocessors(arch)

    def order(one: Plan) -> tuple[float, int]:
        share = partial_share(one, shape, dtype, kernel_size, identity)
        programs = convolving_programs(one, shape, kernel_size, identity)
        return share if share > MOST_PARTIALS else 0.0, -min(programs, each * RESIDENT_PROGRAMS)

    # A program of few channels takes more units of each: fewer partial sums from as many programs.
    return min((with_rounds(one, shape, dtype, each, kernel_size, identity) for one in planned), key=order)


def with_rounds(
    planned: Plan, shape: Sequence[int], dtype: torch.dtype, each: int, kernel_size: tuple[int, int], identity: int
) -> Plan:
    """The plan with as many rounds a program as leave `each` multiprocessors busy, and more for fewer partial sums."""
    tiles = programs_of_tiles(planned, shape, kernel_size, identity)
    rounds = 1
    while rounds < MOST_ROUNDS and tiles // (2 * rounds) >= each * PROGRAMS_PER_MULTIPROCESSOR:
        rounds *= 2
    found = replace(planned, rounds=rounds)
    if planned.coding == "fused" and planned.rows >= shape[2] and kernel_size[0] * kernel_size[1] >= WINDOW_TAPS:
        # Where a thread holds a whole 7 x 7 plane and 25 taps, ptxas for sm_90 spills 16 bytes around a loop (16 bit).
        return found
    while found.rounds < MOST_ROUNDS and partial_share(found, shape, dtype, kernel_size, identity) > MOST_PARTIALS:
        more = replace(found, rounds=2 * found.rounds)
        if convolving_programs(more, shape, kernel_size, identity) < each:
            break
        found = more
    return found


def multiprocessors(arch: str) -> int:
    return MULTIPROCESSORS.get(arch, MULTIPROCESSORS["sm_90"])


def partial_share(
    planned: Plan, shape: Sequence[int], dtype: torch.dtype, kernel_size: tuple[int, int], identity: int
) -> float:
    """Bytes of partial sums, written and read again, over the least that a backward pass moves; one sum is no part."""
    images, channels, height, width = shape
    parts = splits(planned, shape)
    sums = (channels - identity) * (kernel_size[0] * kernel_size[1] + 1) * SUM_BYTES
    least = images * (3 * channels - identity) * height * width * dtype.itemsize
    return 2 * parts * sums / least if parts > 1 else 0.0


def units_of_image(planned: Plan, shape: Sequence[int]) -> int:
    return -(-shape[2] // planned.rows) * -(-shape[3] // planned.columns)


def programs_of_tiles(planned: Plan, shape: Sequence[int], kernel_size: tuple[int, int], identity: int) -> int:
    """Programs of one round each that carry sums."""
    tap_blocks = -(-kernel_size[0] // planned.tap_rows) if planned.coding == "taps" else 1
    return channel_blocks(planned, shape, identity) * tap_blocks * tiles_of_channel(planned, shape)


def channel_blocks(planned: Plan, shape: Sequence[int], identity: int) -> int:
    return -(-(shape[1] - identity) // planned.channels)


def tiles_of_channel(planned: Plan, shape: Sequence[int]) -> int:
    units = planned.units if planned.layout == "nhwc" else planned.units // planned.channels
    return -(-shape[0] * units_of_image(planned, shape) // units)


def splits(planned: Plan, shape: Sequence[int]) -> int:
    """Partial sums a tap, when sums are carried."""
    return -(-tiles_of_channel(planned, shape) // planned.rounds)


def convolving_programs(planned: Plan, shape: Sequence[int], kernel_size: tuple[int, int], identity: int) -> int:
    """Programs that multiply."""
    if planned.direction in ("backward", "weight_gradient"):
        tap_blocks = -(-kernel_size[0] // planned.tap_rows) if planned.coding == "taps" else 1
        return channel_blocks(planned, shape, identity) * tap_blocks * splits(planned, shape)
    if planned.layout == "nhwc":
        return channel_blocks(planned, shape, identity) * -(-shape[0] * units_of_image(planned, shape) // planned.units)
    return -(-shape[0] * (shape[1] - identity) * units_of_image(planned, shape) // planned.units)


def copying_programs(planned: Plan, shape: Sequence[int], identity: int) -> int:
    """Programs that copy the identity channels."""
    images, _, height, width = shape
    if identity == 0 or planned.direction == "weight_gradient":
        return 0
    if planned.layout == "nchw":
        return images * -(-identity * height * width // (planned.copy * planned.copies))
    pixels = planned.copy // planned.copy_channels * planned.copies
    return images * -(-identity // planned.copy_channels) * -(-height * width // pixels)


def constants(
    planned: Plan,
    shape: Sequence[int],
    kernel_size: tuple[int, int],
    identity: int,
    strides: Mapping[str, tuple[int, int]],
    *,
    has_bias: bool = False,
    part: int = -1,
) -> dict[str, Any]:
    """The compile-time arguments of the kernel that the plan names.

    strides: for "x" and, in the gradients of weights, "g": elements from image to image and from pixel to pixel.
    """
    _, channels, height, width = shape
    last = planned.layout == "nhwc"
    shared: dict[str, Any] = {"C": channels, "H": height, "W": width, "FIRST": identity}
    shared |= {"KH": kernel_size[0], "KW": kernel_size[1]}
    shared |= {"S": planned.rows, "V": planned.columns, "U": planned.vector, "E": planned.halo}
    shared |= {"T": planned.units, "B": planned.channels}
    shared |= {"X_STRIDE": strides["x"][0], "X_PIXEL": strides["x"][1] if last else 0}
    copied = {"COPY": planned.copy, "COPIES": planned.copies, "CHANNELS": planned.copy_channels, "PART": part}
    if planned.direction in ("forward", "input_gradient"):
        flipped = planned.direction == "input_gradient"
        own = {"Y_PIXEL": channels if last else 0, "HAS_BIAS": has_bias, "FLIPPED": flipped, "AHEAD": planned.ahead}
        return shared | copied | own | {"LOOP": planned.coding == "loop"}
    shared |= {"G_STRIDE": strides["g"][0], "G_PIXEL": strides["g"][1] if last else 0, "ROUNDS": planned.rounds}
    if planned.coding == "taps":
        return shared | {"R": planned.tap_rows}
    return shared | copied | {"Y_PIXEL": channels if last else 0}


def divisor(length: int, most: int) -> int:
    """``length`` if it is at most ``most``, else its largest divisor from half of ``most`` on, else ``most``."""
    if length <= most:
        return length
    exact = [size for size in range(most, (most - 1) // 2, -1) if length % size == 0]
    return exact[0] if exact else most


def power_of_two(least: int) -> int:
    """The smallest power of two that is at least ``least``."""
    return 1 << max(0, least - 1).bit_length()
