"""What does a Triton kernel become? Registers, spills, widths, instructions and occupancy, compiled without a GPU.

Definitions are those of docs/bytes.md: instructions are the lines of SASS without NOP, each counted as often as its
loops run; spills are stack bytes, and local loads and stores, which the LOCAL of cuobjdump does not count.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import linecache
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchbench.access import sass, trips, ttir
from benchbench.access.assembly import SHARED_PER_SM, Assembly, assembled, cache_folder, disassembled, write_whole
from benchbench.access.assembly import capability as capability

ARCHITECTURES = ("sm_80", "sm_90", "sm_100", "sm_120")
MMA_OPCODES = ("HMMA", "HGMMA", "IMMA", "IGMMA", "QGMMA", "QMMA", "DMMA", "BMMA", "UTCHMMA", "UTCIMMA", "UTCQMMA")


@dataclass(frozen=True, slots=True)
class Access:
    """One global load or store of the machine code: bytes a thread, trips, source line, and the kernel's arguments."""

    kind: str  # load, store or atomic
    width: int
    times: int
    file: str
    line: int
    tensors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Resources:
    """What one compiled variant of a kernel needs of a multiprocessor. Bytes and counts, never rounded.

    spill_bytes is the stack; local_accesses counts STL and LDL, local_places are their source lines, most first.
    instructions is None, with the reason, where a loop has no constant trip count. loaded_before_store: bytes that one
    thread loads ahead of its first store.
    """

    kernel: str
    arch: str
    threads: int
    registers: int
    spill_bytes: int
    local_accesses: int
    local_places: tuple[str, ...]
    shared_bytes: int
    ctas_per_sm: int
    occupancy: float
    instructions: int | None
    instructions_reason: str
    mix: Mapping[str, int]
    mma: str
    accesses: tuple[Access, ...]
    loaded_before_store: int
    sass_bytes: int

    @property
    def bytes_in_flight(self) -> int:
        """Bytes that one multiprocessor has asked for before its threads store: the latency that it can hide."""
        return self.loaded_before_store * self.threads * self.ctas_per_sm

    def of(self, kind: str, tensors: Sequence[str] = ()) -> tuple[Access, ...]:
        """The loads, stores or atomics; of these tensors only, where some are named."""
        return tuple(a for a in self.accesses if a.kind == kind and (not tensors or set(a.tensors) & set(tensors)))


def compile_kernel(
    function: Any,
    signature: Mapping[str, str],
    constexprs: Mapping[str, Any],
    *,
    arch: str = "sm_90",
    options: Mapping[str, Any] | None = None,
    cache: Path | None = None,
) -> Resources:
    """Compile a ``@triton.jit`` function for ``arch``, a GPU not needed, and read its resources from the machine code.

    signature maps parameters to types ("*fp32", "i32"); all others are in constexprs, which gives the constants.
    options are launch options (num_warps, num_stages, maxnreg). Pointers are taken as divisible by 16, integers as not.
    Code and results are kept under ``cache`` (default: BENCHBENCH_CACHE, else the user's cache folder) by source,
    options and Triton version. Raises ValueError for an unknown architecture or for a kernel that
    was decorated for the interpreter.
    """
    made = assembled(function, signature, constexprs, arch=arch, options=options, cache=cache)
    name = hashlib.sha256((made.key + _analysis_hash()).encode()).hexdigest()
    file = cache_folder(cache, "resources") / f"{name}.json"
    if not file.exists():
        write_whole(file, json.dumps(dataclasses.asdict(resources_of(function.__name__, arch, made))))
    return _read_here(_from_json(file.read_text()), Path(function.fn.__code__.co_filename).parent)


def machine_code(
    function: Any,
    signature: Mapping[str, str],
    constexprs: Mapping[str, Any],
    *,
    arch: str = "sm_90",
    options: Mapping[str, Any] | None = None,
) -> sass.Listing:
    """The instructions of the compiled kernel with their source lines, for ``bench resources --sass``."""
    made = assembled(function, signature, constexprs, arch=arch, options=options)
    return sass.parse(disassembled(made.cubin)[0])


def with_source(listing: sass.Listing) -> list[str]:
    """The instructions as text, each run of them under the source line that it is from, labels kept."""
    labels: dict[int, list[str]] = {}
    for name, index in listing.labels.items():
        labels.setdefault(index, []).append(name)
    text, current = [], ("", 0)
    for index, one in enumerate(listing.instructions):
        text += [f"{name}:" for name in labels.get(index, ()) if name.startswith(".L")]
        if (one.file, one.line) != current:
            current = (one.file, one.line)
            text.append(f"// {place(*current)}  {linecache.getline(*current).strip()}")
        text.append(f"    {one.predicate:6}{one.opcode} {', '.join(one.operands)}".rstrip())
    return text


def place(file: str, line: int) -> str:
    """A source line as people write it: kernel.py:12."""
    return f"{os.path.basename(file)}:{line}"


def ctas_per_sm(arch: str, *, threads: int, registers: int, shared_bytes: int) -> int:
    """How many thread blocks one multiprocessor holds (registers in chunks of 256 a warp, 1 KiB of shared a block)."""
    warps = (threads + 31) // 32
    newest = capability(arch) >= 120
    most_warps, most_blocks = (48, 24) if newest else (64, 32)
    if capability(arch) in (86, 89):
        most_warps, most_blocks = 48, 16 if arch == "sm_86" else 24
    per_warp = 256 * max(1, -(-registers * 32 // 256))
    by_registers = 4 * (16384 // per_warp) // warps
    by_shared = SHARED_PER_SM[arch] * 1024 // (shared_bytes + 1024)
    return min(by_registers, by_shared, most_blocks, most_warps // warps)


def occupancy(arch: str, *, threads: int, registers: int, shared_bytes: int) -> float:
    """The share of a multiprocessor's warps that can be resident."""
    most = 48 if capability(arch) in (86, 89) or capability(arch) >= 120 else 64
    blocks = ctas_per_sm(arch, threads=threads, registers=registers, shared_bytes=shared_bytes)
    return blocks * ((threads + 31) // 32) / most


def resources_of(name: str, arch: str, made: Assembly) -> Resources:
    """What machine code that is at hand needs: as ``compile_kernel``, nothing compiled or kept."""
    text, usage = disassembled(made.cubin)
    threads, shared = made.threads, made.shared_bytes
    listing = sass.parse(text)
    reason = ""
    try:
        listing = trips.with_trip_counts(listing)
    except trips.TripCountError as error:
        reason = str(error)
    code = listing.instructions
    registers, stack = (_number_after(usage, word) for word in ("REG:", "STACK:"))
    mix = sass.opcode_counts(code)
    limits = {"threads": threads, "registers": registers, "shared_bytes": shared}
    accesses = _accesses(code, ttir.tensors_by_line(made.intermediate))
    return Resources(
        kernel=name,
        arch=arch,
        threads=threads,
        registers=registers,
        spill_bytes=stack,
        local_accesses=sum(mix.get(word, 0) for word in ("STL", "LDL")),
        local_places=_local_places(code),
        shared_bytes=shared,
        ctas_per_sm=ctas_per_sm(arch, **limits),
        occupancy=occupancy(arch, **limits),
        instructions=None if reason else sum(one.times for one in code),
        instructions_reason=reason,
        mix=mix,
        mma=next((word for word in MMA_OPCODES if word in mix), ""),
        accesses=accesses,
        loaded_before_store=loaded_before_store(accesses),
        sass_bytes=16 * len(code),
    )


def loaded_before_store(accesses: Sequence[Access]) -> int:
    """Bytes that one thread loads ahead of the first store among these accesses, in the order of the code.

    A load in the same loop as that store counts once: the store of the first trip comes before the load of the second.
    """
    store = next((i for i, access in enumerate(accesses) if access.kind == "store"), len(accesses))
    shared_trips = accesses[store].times if store < len(accesses) else 1
    ahead = (access for access in accesses[:store] if access.kind == "load")
    return sum(access.width * max(1, access.times // shared_trips) for access in ahead)


_KINDS = {
    "LDG": "load",
    "LD": "load",
    "STG": "store",
    "ST": "store",
    "RED": "atomic",
    "ATOMG": "atomic",
    "ATOM": "atomic",
}
_KINDS |= {"LDGSTS": "load", "REDG": "atomic"}


def _accesses(
    code: Sequence[sass.Instruction], tensors: Mapping[tuple[str, str, int], tuple[str, ...]]
) -> tuple[Access, ...]:
    return tuple(
        Access(
            _KINDS[one.name],
            sass.width_of(one),
            one.times,
            one.file,
            one.line,
            tensors.get((_KINDS[one.name], os.path.basename(one.file), one.line), ()),
        )
        for one in code
        if one.name in _KINDS
    )


def _number_after(text: str, word: str) -> int:
    rest = text.split(word, 1)[1]
    return int(rest[: next((i for i, c in enumerate(rest) if not c.isdigit()), len(rest))])


@functools.cache
def _analysis_hash() -> str:
    here = Path(__file__).parent
    sources = b"".join((here / name).read_bytes() for name in ("compiled.py", "sass.py", "trips.py", "ttir.py"))
    return hashlib.sha256(sources).hexdigest()


def _local_places(code: Sequence[sass.Instruction]) -> tuple[str, ...]:
    """The source lines of local loads and stores, the one with most of them first."""
    places = Counter(place(one.file, one.line) for one in code if one.name in ("STL", "LDL"))
    return tuple(name for name, _ in places.most_common())


def _read_here(found: Resources, folder: Path) -> Resources:
    """With the sources in the kernel's own folder: the kept code may be of the same kernel in another checkout."""

    def here(file: str) -> str:
        own = folder / os.path.basename(file)
        return str(own) if own.exists() else file

    return dataclasses.replace(
        found, accesses=tuple(dataclasses.replace(access, file=here(access.file)) for access in found.accesses)
    )


def _from_json(text: str) -> Resources:
    found = json.loads(text)
    found["local_places"] = tuple(found["local_places"])
    found["accesses"] = tuple(Access(**{**a, "tensors": tuple(a["tensors"])}) for a in found["accesses"])
    return Resources(**found)
