"""How the channels_last kernels are launched: runs of positions a thread, channels a vector, and whose turn it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, gcd
from typing import TYPE_CHECKING

import triton

if TYPE_CHECKING:
    from .launch import Geometry

THREADS = 128
VECTOR_BYTES = 16
SECTOR_BYTES = 32
COPY_VECTORS = 8
# A line of at most this many positions is one thread's, and nothing beside it is read.
LONGEST_LINE = 14
# A band kernel longer than this leaves no registers for the taps and sums of two channels a thread.
WIDEST_BAND_OF_TWO = 15
# Programs of a branch: three branches are nearly a wave of 132 multiprocessors; more would add rows of partial sums.
BRANCH_PROGRAMS = 160
# With statistics a program copies so many elements at once, of so many channels. Of programs four a multiprocessor are
# enough beside those of the branches; each adds a row of moments, and joins its threads.
COPIED_AT_ONCE, COPIED_CHANNELS, COPY_PROGRAMS = 1024, 64, 528
Constants = dict[str, int | bool]
NO_STATISTICS: Constants = dict.fromkeys(("ACROSS", "COPY_PIXELS", "COPY_CHANNELS", "COPY_STEPS"), 0)
NO_STATISTICS |= {"STATISTICS": False, "COPY_WHOLE": False}
PARTS = ("row", "column", "square", "identity")


def forward(
    geometry: Geometry, itemsize: int, batch_stride: int, choices: Mapping[str, int]
) -> tuple[Constants, dict[str, int]]:
    """The constants of the forward kernel, and the programs of each part. itemsize: of the narrower of x and y."""
    g = geometry
    vector = channels_at_once(g)
    shares = overruled({"row": share(g.width), "column": share(g.height), "square": share(g.height, 7, 7)}, choices)
    copy_vector, copy_count = copies(g, itemsize, choices)
    wanted = [places(g, part, shares[part]) * (g.branch // vector) / THREADS for part in PARTS[:3]]
    wanted.append(g.plane * (g.identity // copy_vector) / (copy_count * THREADS))
    constants = _constants(g, batch_stride, vector, shares, copy_vector, copy_count) | NO_STATISTICS
    return _with_turns(constants, wanted, [ceil(g.batch * programs) for programs in wanted])


def statistics(
    geometry: Geometry, itemsize: int, batch_stride: int, choices: Mapping[str, int]
) -> tuple[Constants, dict[str, int], dict[str, int]]:
    """The same for the forward kernel with moments, and the rows of moments of each part."""
    g = geometry
    vector = channels_at_once(g)
    shares = overruled({"row": share(g.width), "column": share(g.height), "square": share(g.height, 7, 7)}, choices)
    constants = _constants(g, batch_stride, vector, shares, *copies(g, itemsize, choices)) | {"STATISTICS": True}
    constants["ACROSS"] = across = threads_across(g.branch // vector, vector * itemsize)
    slices = triton.cdiv(g.branch // vector, across)
    runs = {part: places(g, part, shares[part]) for part in PARTS[:3]}
    rows = {part: triton.cdiv(g.batch * count * across, THREADS) for part, count in runs.items()}
    channels = min(COPIED_CHANNELS, int(triton.next_power_of_2(max(g.identity, 1))))
    pixels, copied_slices = COPIED_AT_ONCE // channels, triton.cdiv(g.identity, channels)
    blocks = triton.cdiv(g.batch * g.plane, pixels)
    enough = [s for s in (8, 4, 2) if blocks % s == 0 and blocks * copied_slices / s >= COPY_PROGRAMS]
    steps = enough[0] if enough else 1
    whole = g.batch * g.plane == blocks * pixels
    constants |= {"COPY_PIXELS": pixels, "COPY_CHANNELS": channels, "COPY_STEPS": steps, "COPY_WHOLE": whole}
    rows["identity"] = triton.cdiv(blocks, steps)
    wanted = [count * across * slices / THREADS for count in runs.values()]
    wanted.append(g.plane * copied_slices / (pixels * steps))
    needed = [*(rows[part] * slices for part in PARTS[:3]), rows["identity"] * copied_slices]
    return *_with_turns(constants, wanted, needed), rows


def backward(
    geometry: Geometry, itemsize: int, batch_stride: int, arch: int, choices: Mapping[str, int]
) -> tuple[Constants, dict[str, int]]:
    """The constants of the backward kernel, and the programs of each part."""
    g = geometry
    vector = channels_at_once(g)
    across = choices.get("ACROSS", threads_across(g.branch // vector, vector * itemsize))
    is_full = g.branch // vector % across == 0
    shares = {
        "row": share(g.width, *longest_lines("row", g.width, itemsize, arch, is_full=is_full)),
        "column": share(g.height, *longest_lines("column", g.height, itemsize, arch, is_full=is_full)),
        "square": share(g.height, 7, 7),
    }
    shares = overruled(shares, choices)
    copy_vector, copy_count = copies(g, itemsize, choices)
    constants = _constants(g, batch_stride, vector, shares, copy_vector, copy_count) | {"ACROSS": across}
    slices = triton.cdiv(g.branch // vector, across)
    wanted, needed = [], []
    for part in PARTS[:3]:
        runs = places(g, part, shares[part])
        programs = g.batch * runs * across * slices / THREADS
        steps = max(s for s in (1, 2, 4, 8) if s == 1 or programs / s >= BRANCH_PROGRAMS)
        steps = constants[f"STEPS_{part.upper()}"] = choices.get(f"STEPS_{part.upper()}", steps)
        wanted.append(runs * across * slices / (THREADS * steps))
        needed.append(triton.cdiv(g.batch * runs * across, THREADS * steps) * slices)
    wanted.append(g.plane * (g.identity // copy_vector) / (copy_count * THREADS))
    return _with_turns(constants, wanted, [*needed, ceil(g.batch * wanted[3])])


def longest_lines(part: str, length: int, itemsize: int, arch: int, *, is_full: bool) -> tuple[int, int]:
    """The most positions of a line that a thread of the backward takes, of longer lines and of those it has whole.

    With 14 sm_100 spills a few registers, and sm_120 in float32 does where they have neighbours. With 7, sm_100 spills
    16 bytes in 16 bits, in columns longer than 28 where no thread across idles (is_full).
    """
    if itemsize == 4:
        return (8 if arch >= 100 else LONGEST_LINE), LONGEST_LINE
    if arch != 100:
        return LONGEST_LINE, LONGEST_LINE
    return (6 if part == "column" and length > 28 and is_full else 7), 8


def channels_at_once(geometry: Geometry) -> int:
    """Channels of a thread: two where every group begins at an even channel and registers allow it, else one."""
    even = geometry.branch % 2 == 0 and geometry.channels % 2 == 0
    return 2 if even and geometry.band <= WIDEST_BAND_OF_TWO else 1


def share(length: int, most: int = LONGEST_LINE, whole: int = LONGEST_LINE) -> int:
    """Positions of a line that a thread takes: all of up to `whole`, else at most `most` that leave the fewest idle."""
    if length <= whole:
        return length
    return min(range(most, most // 2, -1), key=lambda positions: triton.cdiv(length, positions) * positions)


def overruled(shares: Mapping[str, int], choices: Mapping[str, int]) -> dict[str, int]:
    """The shares, with the choices that are named after them: "SHARE_ROW" is the row's."""
    return {part: choices.get(f"SHARE_{part.upper()}", positions) for part, positions in shares.items()}


def places(geometry: Geometry, part: str, positions: int) -> int:
    """Runs of so many positions along all lines of one channel of one image."""
    lines, length = geometry.width, geometry.height
    if part == "row":
        lines, length = length, lines
    runs: int = lines * triton.cdiv(length, positions)
    return runs


def copies(geometry: Geometry, itemsize: int, choices: Mapping[str, int]) -> tuple[int, int]:
    """(elements of a vector, vectors of a thread) of the copy: as alignment allows, COPY_VECTORS x 16 bytes in all."""
    run = gcd(geometry.identity, 3 * geometry.branch)
    vector = min(run & -run, VECTOR_BYTES // itemsize)
    count = min(2 * COPY_VECTORS, COPY_VECTORS * VECTOR_BYTES // (vector * itemsize))
    return vector, choices.get("COPY_COUNT", count)


def threads_across(groups: int, group_bytes: int) -> int:
    """Neighbouring threads on neighbouring channels: a sector, no more, so that many runs add up in a program."""
    return min(int(triton.next_power_of_2(groups)), SECTOR_BYTES // group_bytes)


def turns(wanted: Sequence[float], most: int = 8) -> list[int]:
    """Small whole numbers in about the ratio of the programs that each part wants, none too small; 0 where none is."""
    least = min(programs for programs in wanted if programs)
    choices = [[ceil(count * programs / least - 1e-9) for programs in wanted] for count in range(1, most + 1)]

    def waste(choice: list[int]) -> float:
        rounds = max(programs / turn for programs, turn in zip(wanted, choice, strict=True) if turn)
        return rounds * sum(choice) / sum(wanted)

    # A long round is worth only what it saves: neighbours in memory should stay neighbours in time.
    return min(choices, key=lambda choice: (round(waste(choice), 2), sum(choice)))


def refuse_beyond_32_bits(geometry: Geometry, largest: int) -> None:
    """Raise ValueError where the largest position that a kernel counts in 32 bits does not fit them."""
    if largest >= 2**31:
        sizes = f"{geometry.height} x {geometry.width} x {geometry.channels}"
        raise ValueError(
            f"{geometry.batch} images of {sizes} elements do not fit 32-bit positions: "
            "use a smaller batch or smaller images"
        )


def _constants(
    g: Geometry, batch_stride: int, vector: int, shares: dict[str, int], copy_vector: int, copy_count: int
) -> Constants:
    units = g.batch * max(places(g, part, positions) for part, positions in shares.items()) * g.branch
    refuse_beyond_32_bits(g, max(g.plane * g.channels, 2 * units))
    return {
        "H": g.height,
        "W": g.width,
        "C": g.channels,
        "G": g.branch,
        "K_SQUARE": g.square,
        "K_BAND": g.band,
        "X_IMAGE": batch_stride,
        "X_PIXEL": g.channels,
        "VECTOR": vector,
        **{f"SHARE_{part.upper()}": positions for part, positions in shares.items()},
        "COPY_VECTOR": copy_vector,
        "COPY_COUNT": copy_count,
        "BLOCK": THREADS,
    }


def _with_turns(constants: Constants, wanted: list[float], needed: list[int]) -> tuple[Constants, dict[str, int]]:
    each = turns(wanted)
    rounds = max(triton.cdiv(programs, turn) for programs, turn in zip(needed, each, strict=True) if turn)
    names = ("TURN_ROW", "TURN_COLUMN", "TURN_SQUARE", "TURN_COPY")
    parts = {part: rounds * turn for part, turn in zip(PARTS, each, strict=True)}
    return {**constants, **dict(zip(names, each, strict=True))}, parts
