"""What does a Triton kernel become? Registers, spills, widths, instructions and occupancy, compiled without a GPU.

Definitions are those of docs/bytes.md: instructions are the lines of SASS without NOP, each counted as often as its
loops run; spills are stack bytes, and local loads and stores, which the LOCAL of cuobjdump does not count.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import linecache
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchbench.access import sass, trips, ttir

ARCHITECTURES = ("sm_80", "sm_90", "sm_100", "sm_120")
SHARED_PER_SM = {"sm_80": 164, "sm_86": 100, "sm_89": 100, "sm_90": 228, "sm_100": 228, "sm_103": 228, "sm_120": 100}
"""KiB of shared memory of one multiprocessor: CUDA C++ programming guide, table of technical specifications."""
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

    spill_bytes is the stack; local_accesses counts STL and LDL, local_places are their source lines. instructions is
    None, with the reason, where a loop has no constant trip count. loaded_before_store: bytes that one thread loads
    ahead of its first store.
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
    Results are kept under ``cache`` (default: BENCHBENCH_CACHE, else the user's cache folder) by source, options,
    Triton version and the source of this analysis. Raises ValueError for an unknown architecture or for a kernel that
    was decorated for the interpreter.
    """
    file = cache_folder(cache, "resources") / f"{_key(function, signature, constexprs, arch, options)}.json"
    if file.exists():
        return _from_json(file.read_text())
    made = _compiled(function, signature, constexprs, arch, options)
    found = _resources(function.__name__, arch, made)
    write_whole(file, json.dumps(dataclasses.asdict(found)))
    return found


def machine_code(
    function: Any,
    signature: Mapping[str, str],
    constexprs: Mapping[str, Any],
    *,
    arch: str = "sm_90",
    options: Mapping[str, Any] | None = None,
) -> sass.Listing:
    """The instructions of the compiled kernel with their source lines, for ``bench resources --sass``."""
    made = _compiled(function, signature, constexprs, arch, options)
    return sass.parse(_disassembled(made.asm["cubin"])[0])


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


def capability(arch: str) -> int:
    """90 for sm_90. Raises ValueError for what this file has no occupancy limits of."""
    if arch not in SHARED_PER_SM:
        raise ValueError(f"unknown architecture {arch!r}: known are {', '.join(SHARED_PER_SM)}")
    return int(arch.removeprefix("sm_"))


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


def _compiled(
    function: Any,
    signature: Mapping[str, str],
    constexprs: Mapping[str, Any],
    arch: str,
    options: Mapping[str, Any] | None,
) -> Any:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    number = capability(arch)
    if not hasattr(function, "cache_key"):
        raise ValueError(
            f"{getattr(function, '__name__', function)} is interpreted (TRITON_INTERPRET was set when it was "
            "decorated) and can't be compiled: use a process without that variable"
        )
    signature = {name: signature.get(name, "constexpr") for name in function.arg_names}
    missing = [name for name, kind in signature.items() if kind == "constexpr" and name not in constexprs]
    if missing:
        raise ValueError(f"{function.__name__} needs {', '.join(missing)}: give a type or a constant")
    pointers = [(i,) for i, name in enumerate(function.arg_names) if signature[name].startswith("*")]
    aligned = {path: [["tt.divisibility", 16]] for path in pointers}
    source = ASTSource(function, dict(signature), dict(constexprs), aligned)
    chosen = {"enable_fp_fusion": True, **(options or {})}
    with _true_lines():
        return triton.compile(source, target=GPUTarget("cuda", number, 32), options=chosen)


def _one_place(assembly: re.Match[str]) -> str:
    rows = assembly[0].splitlines(keepends=True)
    places = [i for i, row in enumerate(rows) if row.lstrip().startswith(".loc")]
    return "".join(row for i, row in enumerate(rows) if i not in places[1:])


@contextlib.contextmanager
def _true_lines() -> Iterator[None]:
    """Compile anew, with the source line of every load right.

    A masked load is several lines of inline assembly, and LLVM numbers them as if they were lines of the source.
    """
    from triton import knobs
    from triton.backends.nvidia.compiler import CUDABackend

    original, always = CUDABackend.make_ptx, knobs.compilation.always_compile

    def make_ptx(*args: Any, **named: Any) -> str:
        return re.sub(r"(?s)// begin inline asm.*?// end inline asm", _one_place, original(*args, **named))

    CUDABackend.make_ptx, knobs.compilation.always_compile = make_ptx, True
    try:
        yield
    finally:
        CUDABackend.make_ptx, knobs.compilation.always_compile = original, always


def _resources(name: str, arch: str, made: Any) -> Resources:
    text, usage = _disassembled(made.asm["cubin"])
    threads, shared = 32 * made.metadata.num_warps, made.metadata.shared
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
    accesses = _accesses(code, ttir.tensors_by_line(made.asm["ttir"]))
    return Resources(
        kernel=name,
        arch=arch,
        threads=threads,
        registers=registers,
        spill_bytes=stack,
        local_accesses=sum(mix.get(word, 0) for word in ("STL", "LDL")),
        local_places=tuple(dict.fromkeys(place(one.file, one.line) for one in code if one.name in ("STL", "LDL"))),
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
def _tool(name: str) -> str:
    import triton

    path = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / name
    if not path.exists():
        raise ValueError(f"this Triton has no {name}: install the wheel from the package index, which ships it")
    return str(path)


def _disassembled(cubin: bytes) -> tuple[str, str]:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        text = subprocess.run([_tool("nvdisasm"), "-c", "-g", file.name], check=True, capture_output=True, text=True)
        usage = subprocess.run(
            [_tool("cuobjdump"), "-res-usage", file.name], check=True, capture_output=True, text=True
        )
    return text.stdout, usage.stdout.split("Function", 1)[1]


def cache_folder(cache: Path | None, name: str) -> Path:
    """Where results of one kind are kept: under ``cache``, else BENCHBENCH_CACHE, else the user's cache folder."""
    if cache is None:
        named = os.environ.get("BENCHBENCH_CACHE")
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        cache = Path(named) if named else Path(base) / "benchbench"
    folder = cache / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@functools.cache
def _analysis_hash() -> str:
    here = Path(__file__).parent
    sources = b"".join((here / name).read_bytes() for name in ("compiled.py", "sass.py", "trips.py", "ttir.py"))
    return hashlib.sha256(sources).hexdigest()


def _key(
    function: Any,
    signature: Mapping[str, str],
    constexprs: Mapping[str, Any],
    arch: str,
    options: Mapping[str, Any] | None,
) -> str:
    import triton

    capability(arch)
    source = getattr(function, "cache_key", "")
    asked = [
        sorted(signature.items()),
        sorted((k, repr(v)) for k, v in constexprs.items()),
        sorted((options or {}).items()),
    ]
    text = json.dumps([triton.__version__, _analysis_hash(), source, arch, asked], default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


def _from_json(text: str) -> Resources:
    found = json.loads(text)
    found["local_places"] = tuple(found["local_places"])
    found["accesses"] = tuple(Access(**{**a, "tensors": tuple(a["tensors"])}) for a in found["accesses"])
    return Resources(**found)


def write_whole(file: Path, text: str) -> None:
    """Write a file so that a reader sees all of it or nothing."""
    with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as part:
        part.write(text)
    os.replace(part.name, file)
