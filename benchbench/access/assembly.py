"""A Triton kernel turned into machine code for any NVIDIA architecture, no GPU needed, and kept on disk."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import json
import os
import re
import subprocess
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHARED_PER_SM = {"sm_80": 164, "sm_86": 100, "sm_89": 100, "sm_90": 228, "sm_100": 228, "sm_103": 228, "sm_120": 100}
"""KiB of shared memory of one multiprocessor: CUDA C++ programming guide, table of technical specifications."""


@dataclass(frozen=True, slots=True)
class Assembly:
    """The machine code (a cubin), Triton's intermediate code, threads and dynamic shared bytes of one variant.

    key names everything that it was made from.
    """

    key: str
    cubin: bytes
    intermediate: str
    threads: int
    shared_bytes: int


def assembled(
    function: Any,
    signature: Mapping[str, str],
    constexprs: Mapping[str, Any],
    *,
    arch: str,
    options: Mapping[str, Any] | None = None,
    cache: Path | None = None,
) -> Assembly:
    """As ``compiled.compile_kernel``, but the code itself. Kept by source, options, architecture and Triton version."""
    key = _key(function, signature, constexprs, arch, options)
    file = cache_folder(cache, "assembly") / f"{key}.json"
    if file.exists():
        kept = json.loads(file.read_text())
        cubin, intermediate = (zlib.decompress(base64.b64decode(kept[name])) for name in ("cubin", "intermediate"))
        return Assembly(key, cubin, intermediate.decode(), kept["threads"], kept["shared_bytes"])
    made = _compiled(function, signature, constexprs, arch, options)
    found = Assembly(key, made.asm["cubin"], made.asm["ttir"], 32 * made.metadata.num_warps, made.metadata.shared)
    text = {
        "cubin": base64.b64encode(zlib.compress(found.cubin)).decode(),
        "intermediate": base64.b64encode(zlib.compress(found.intermediate.encode())).decode(),
        "threads": found.threads,
        "shared_bytes": found.shared_bytes,
    }
    write_whole(file, json.dumps(text))
    return found


def capability(arch: str) -> int:
    """90 for sm_90. Raises ValueError for what this file has no occupancy limits of."""
    if arch not in SHARED_PER_SM:
        raise ValueError(f"unknown architecture {arch!r}: known are {', '.join(SHARED_PER_SM)}")
    return int(arch.removeprefix("sm_"))


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


@functools.cache
def _tool(name: str) -> str:
    import triton

    path = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / name
    if not path.exists():
        raise ValueError(f"this Triton has no {name}: install the wheel from the package index, which ships it")
    return str(path)


def disassembled(cubin: bytes) -> tuple[str, str]:
    """What ``nvdisasm -c -g`` and ``cuobjdump -res-usage`` print for a cubin."""
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
    text = json.dumps([triton.__version__, _own_hash(), source, arch, asked], default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def _own_hash() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def write_whole(file: Path, text: str) -> None:
    """Write a file so that a reader sees all of it or nothing."""
    with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as part:
        part.write(text)
    os.replace(part.name, file)
