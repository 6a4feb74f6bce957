"""What does a kernel of the user's own do? A Python file whose ``example()`` returns a call that launches it."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchbench.access import cache, compiled, rows, traced, traffic
from benchbench.access.shipped import Variant

Row = dict[str, Any]


def load_example(path: str) -> Callable[[], Any]:
    """The call that ``example()`` of the file returns. Raises ValueError, in one line, for a file that has none."""
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"no such file: {path}")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"{path} can't be imported: {type(error).__name__}: {error}") from error
    example = getattr(module, "example", None)
    if not callable(example):
        raise ValueError(f"{path} has no example(): define one that returns a call which launches the kernel")
    call = example()
    if not callable(call):
        raise ValueError(f"example() of {path} must return a call, such as lambda: kernel[grid](x, y, n); got {call!r}")
    return call  # type: ignore[no-any-return]


def launches_of(call: Callable[[], Any]) -> list[Variant]:
    """The launches that a call would do, as triton.compile needs them; nothing is launched.

    Raises ValueError where it launches no kernel, or leaves out an argument.
    """
    found: list[Variant] = []
    with _capturing(found):
        call()
    if not found:
        raise ValueError("the example launched no Triton kernel")
    return found


@contextlib.contextmanager
def _capturing(found: list[Variant]) -> Iterator[None]:
    from triton.runtime.autotuner import Autotuner
    from triton.runtime.jit import JITFunction

    run, tuned = JITFunction.run, Autotuner.run

    def capture(function: Any, *args: Any, grid: Any, warmup: bool = False, **kwargs: Any) -> None:
        found.append(_variant(function, args, grid, kwargs))

    def first_configuration(tuner: Any, *args: Any, **kwargs: Any) -> Any:
        return tuner.fn.run(*args, **kwargs, **tuner.configs[0].all_kwargs())

    JITFunction.run, Autotuner.run = capture, first_configuration
    try:
        yield
    finally:
        JITFunction.run, Autotuner.run = run, tuned


def _variant(function: Any, args: tuple[Any, ...], grid: Any, kwargs: dict[str, Any]) -> Variant:
    names = inspect.signature(function.fn).parameters
    own = {name: value for name, value in kwargs.items() if name in names}
    try:
        bound = inspect.signature(function.fn).bind(*args, **own)
    except TypeError as error:
        raise ValueError(f"{function.__name__}: {error}") from None
    bound.apply_defaults()
    constexprs = {p.name for p in function.params if p.is_constexpr}
    signature, constants = {}, {}
    for name, value in bound.arguments.items():
        kind = "constexpr" if name in constexprs or value is None else _type_of(function.__name__, name, value)
        signature[name] = kind
        if kind == "constexpr":
            constants[name] = value
    options = {
        name: value for name, value in kwargs.items() if name not in names and value is not None and name != "stream"
    }
    shape = grid(dict(bound.arguments)) if callable(grid) else grid
    return Variant(function, signature, constants, tuple(int(size) for size in shape), options)


def _type_of(kernel: str, name: str, value: Any) -> str:
    if hasattr(value, "dtype") and hasattr(value, "data_ptr"):
        return "*" + TRITON_TYPES[str(value.dtype).removeprefix("torch.")]
    if isinstance(value, bool):
        return "i1"
    if isinstance(value, int):
        return "i32" if -(1 << 31) <= value < 1 << 31 else "i64"
    if isinstance(value, float):
        return "fp32"
    raise ValueError(f"{kernel}: argument {name} is a {type(value).__name__}, which can't be compiled for")


TRITON_TYPES = {
    "float64": "fp64",
    "float32": "fp32",
    "float16": "fp16",
    "bfloat16": "bf16",
    "float8_e4m3fn": "fp8e4nv",
    "float8_e5m2": "fp8e5",
    "int64": "i64",
    "int32": "i32",
    "int16": "i16",
    "int8": "i8",
    "uint8": "u8",
    "bool": "i1",
}


def resource_rows(path: str, *, archs: tuple[str, ...] = ("sm_90",)) -> list[Row]:
    """A row a launch of the file's example and architecture: registers, spills, occupancy, widths, instructions."""
    return [_resource_row(variant, arch) for variant in launches_of(load_example(path)) for arch in archs]


def _resource_row(variant: Variant, arch: str) -> Row:
    found = compiled.compile_kernel(
        variant.function, variant.signature, variant.constants, arch=arch, options=variant.options
    )
    return {
        "kernel": found.kernel,
        "arch": arch,
        "programs": variant.programs,
        "threads": found.threads,
        "registers": found.registers,
        "spill_bytes": found.spill_bytes,
        "local_accesses": found.local_accesses,
        "shared_bytes": found.shared_bytes,
        "occupancy": found.occupancy,
        "bytes_in_flight": found.bytes_in_flight,
        "instructions": found.instructions,
        "reason": found.instructions_reason,
        "load_widths": sorted({a.width for a in found.of("load")}, reverse=True),
        "store_widths": sorted({a.width for a in found.of("store")}, reverse=True),
        "mma": found.mma,
        "spilled_at": list(found.local_places),
        "accesses": rows.accesses([found]),
        "mix": dict(found.mix),
    }


def sass_lines(path: str, *, arch: str = "sm_90") -> list[str]:
    """The machine code of every launch of the example, each run of instructions under its source line."""
    text: list[str] = []
    for variant in launches_of(load_example(path)):
        listing = compiled.machine_code(
            variant.function, variant.signature, variant.constants, arch=arch, options=variant.options
        )
        text += [f"{variant.function.__name__} on {arch}", *compiled.with_source(listing)]
    return text


def traffic_of(path: str, *, limit_s: float = 120.0, l2: cache.L2 | None = None) -> Row:
    """What the example asks of memory, as JSON-able rows; call it in a process with TRITON_INTERPRET=1.

    {"sites": a row a load or store, "tensors": a row a tensor, "out_of_bounds": lines, "dram": the modelled cache's,
    "statements": as ``rows.sites``, "heat": {kernel, kind, tensor, touches} where a map can be drawn}.
    """
    found = traced.trace(load_example(path), limit_s=limit_s, keep_steps=True)
    dram = cache.modelled_dram(found.steps, l2 or cache.L2())
    return {
        "sites": [site_row(site) for site in found.sites],
        "statements": rows.sites(found),
        "tensors": [tensor_row(tensor) for tensor in found.tensors],
        "heat": [
            {"kernel": t.kernel, "kind": t.kind, "tensor": t.tensor, "touches": touches}
            for t in found.tensors
            if (touches := traffic.heat_map(t))
        ],
        "out_of_bounds": [str(one) for one in found.out_of_bounds],
        "dram": {"read_bytes": dram.read_bytes, "written_bytes": dram.written_bytes, "hit_sectors": dram.hit_sectors},
        "launches": [{"kernel": kernel, "programs": programs} for kernel, programs in found.launches],
    }


def site_row(site: traffic.Site) -> Row:
    """A load or store of the source as a flat row; requests and sectors are modelled."""
    return {
        "kernel": site.kernel,
        "kind": site.kind,
        "file": Path(site.file).name,
        "line": site.line,
        "tensor": site.tensor,
        "executions": site.executions,
        "requested_bytes": site.requested_bytes,
        "requests_modelled": site.requests,
        "sectors_modelled": site.sectors,
        "sectors_per_request_modelled": site.sectors_per_request,
        "vector_bytes_modelled": site.narrowest_vector_bytes,
    }


def tensor_row(tensor: traffic.TensorTraffic) -> Row:
    """What one launch asks of one tensor."""
    return {
        "launch": tensor.launch,
        "kernel": tensor.kernel,
        "kind": tensor.kind,
        "tensor": tensor.tensor,
        "requested_bytes": tensor.requested_bytes,
        "unique_bytes": tensor.unique_bytes,
        "program_sector_bytes": tensor.program_sector_bytes,
        "amplification": tensor.requested_bytes / tensor.unique_bytes if tensor.unique_bytes else None,
    }
