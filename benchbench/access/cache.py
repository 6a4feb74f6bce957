"""How much of a kernel's traffic reaches DRAM? A least-recently-used L2 behind programs that run in launch order."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from benchbench.access.traffic import SECTOR_BYTES, Step


@dataclass(frozen=True, slots=True)
class L2:
    """A modelled cache. Lines are kept and evicted whole, fetched and written back by sectors of 32 bytes.

    sms x programs_per_sm programs are resident at once; each does one load or store in turn, and the next program in
    launch order takes the place of one that ends. The defaults are an H100's 50 MB and 132 multiprocessors.
    """

    size_bytes: int = 50 * 1024 * 1024
    line_bytes: int = 128
    sms: int = 132
    programs_per_sm: int = 4

    def __post_init__(self) -> None:
        if self.line_bytes % SECTOR_BYTES or self.line_bytes <= 0:
            raise ValueError(f"an L2 line must be a multiple of {SECTOR_BYTES} bytes, got {self.line_bytes}")
        if self.size_bytes < self.line_bytes:
            raise ValueError(f"an L2 of {self.size_bytes} bytes does not hold one line of {self.line_bytes}")
        if min(self.sms, self.programs_per_sm) < 1:
            raise ValueError("an L2 model needs at least one multiprocessor and one program on it")


@dataclass(frozen=True, slots=True)
class Dram:
    """What the modelled cache asked of DRAM: bytes fetched, and written back (what is still dirty at the end too)."""

    read_bytes: int
    written_bytes: int
    hit_sectors: int
    missed_sectors: int

    @property
    def moved_bytes(self) -> int:
        """Bytes read and written."""
        return self.read_bytes + self.written_bytes


def modelled_dram(steps: Iterable[Step], l2: L2) -> Dram:
    """DRAM traffic of the traced steps, launch by launch, the cache kept between launches and written back at the end.

    A store does not fetch: the L2 keeps which bytes of a sector were written.
    """
    lines: OrderedDict[int, list[int]] = OrderedDict()  # line -> [mask of valid sectors, mask of dirty ones]
    capacity, per_line = l2.size_bytes // l2.line_bytes, l2.line_bytes // SECTOR_BYTES
    fetched = written = hits = 0
    for step in _interleaved(steps, l2.sms * l2.programs_per_sm):
        stores = step.kind != "load"
        for sector in step.sectors.tolist():
            number, bit = sector // per_line, 1 << sector % per_line
            line = lines.get(number)
            if line is None:
                if len(lines) >= capacity:
                    written += lines.popitem(last=False)[1][1].bit_count()
                line = lines[number] = [0, 0]
            else:
                lines.move_to_end(number)
            if line[0] & bit:
                hits += 1
            elif step.kind != "store":
                fetched += 1
            line[0] |= bit
            if stores:
                line[1] |= bit
    written += sum(dirty.bit_count() for _, dirty in lines.values())
    return Dram(fetched * SECTOR_BYTES, written * SECTOR_BYTES, hits, fetched)


def _interleaved(steps: Iterable[Step], resident: int) -> Iterator[Step]:
    """The steps in the order in which ``resident`` places would do them."""
    launches: dict[int, dict[int, list[Step]]] = {}
    for step in steps:
        launches.setdefault(step.launch, {}).setdefault(step.program, []).append(step)
    for launch in sorted(launches):
        yield from _one_launch([launches[launch][program] for program in sorted(launches[launch])], resident)


def _one_launch(programs: Sequence[Sequence[Step]], resident: int) -> Iterator[Step]:
    places = [iter(program) for program in programs[:resident]]
    following = resident
    while places:
        still = []
        for place in places:
            step = next(place, None)
            while step is None and following < len(programs):
                place = iter(programs[following])
                following += 1
                step = next(place, None)
            if step is not None:
                still.append(place)
                yield step
        places = still
