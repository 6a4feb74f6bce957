"""What does a kernel of the user's own do? A Python file whose ``example()`` returns a call that launches it."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchbench.access import compiled, launched, rows
from benchbench.access.launched import Launch
from benchbench.access.shipped import COUNTED_BATCH, Spec, adapter

Row = dict[str, Any]


def load_example(path: str) -> Callable[[], Any]:
    """The call that ``example()`` of the file returns. Raises ValueError, in one line, for a file that has none."""
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"no such file: {path}")
    example = getattr(_imported(file, path), "example", None)
    if not callable(example):
        raise ValueError(f"{path} has no example(): define one that returns a call which launches the kernel")
    try:
        call = example()
    except Exception as error:
        raise ValueError(f"example() of {path} failed: {_in_one_line(error)}{_without_gpu(error)}") from error
    if not callable(call):
        raise ValueError(f"example() of {path} must return a call, such as lambda: kernel[grid](x, y, n); got {call!r}")
    return call  # type: ignore[no-any-return]


def _imported(file: Path, path: str) -> Any:
    # A name of its own: the file may be called copy.py, and what is imported later wants the library's copy.
    name = f"example_in_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    # Its neighbours can be imported, as if it were run, but they hide no library.
    sys.path.append(str(file.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"{path} can't be imported: {_in_one_line(error)}") from error
    return module


def _in_one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")


def _without_gpu(error: BaseException) -> str:
    """What to do where the file asks for a GPU, which neither the interpreter nor the compiler needs."""
    return (
        "; make its tensors on the CPU, no GPU is needed here"
        if any(word in str(error).lower() for word in ("cuda", "nvidia"))
        else ""
    )


def launches_of(call: Callable[[], Any]) -> list[Launch]:
    """The launches that a call would do, as triton.compile needs them; nothing is launched.

    Raises ValueError where it launches no kernel, or leaves out an argument.
    """
    found: list[Launch] = []
    with _capturing(found), first_configurations():
        try:
            call()
        except ValueError:
            raise
        except Exception as error:
            raise ValueError(f"the example's call failed: {_in_one_line(error)}{_without_gpu(error)}") from error
    if not found:
        raise ValueError(
            "the example launched no Triton kernel: its call must launch one, as kernel[grid](x, y, n) does"
        )
    return found


def launches_of_file(path: str) -> list[Launch]:
    """As ``launches_of``, of the example in a file."""
    return launches_of(load_example(path))


@contextlib.contextmanager
def _capturing(found: list[Launch]) -> Iterator[None]:
    from triton.runtime.jit import JITFunction

    run = JITFunction.run

    def capture(function: Any, *args: Any, grid: Any, warmup: bool = False, **kwargs: Any) -> None:
        found.append(launched.launch_of(function, args, grid, kwargs))

    JITFunction.run = capture
    try:
        yield
    finally:
        JITFunction.run = run


@contextlib.contextmanager
def first_configurations() -> Iterator[None]:
    """Inside, an autotuned kernel runs with its first configuration: without a GPU nothing can be timed."""
    from triton.runtime.autotuner import Autotuner

    tuned = Autotuner.run

    def first_configuration(tuner: Any, *args: Any, **kwargs: Any) -> Any:
        return tuner.fn.run(*args, **kwargs, **tuner.configs[0].all_kwargs())

    Autotuner.run = first_configuration
    try:
        yield
    finally:
        Autotuner.run = tuned


def resource_rows(path: str, *, archs: tuple[str, ...] = ("sm_90",)) -> list[Row]:
    """A row a launch of the file's example and architecture: registers, spills, occupancy, widths, instructions."""
    return [_resource_row(launch, arch) for launch in launches_of_file(path) for arch in archs]


def _resource_row(launch: Launch, arch: str) -> Row:
    found = launched.resources_of(launch, arch)
    # What the tensor memory accelerator moves is asked for by no thread.
    by_threads = not any(word in found.mix for word in ("UTMALDG", "UBLKCP"))
    return {
        "kernel": found.kernel,
        "arch": arch,
        "programs": launch.programs,
        "threads": found.threads,
        "registers": found.registers,
        "spill_bytes": found.spill_bytes,
        "local_accesses": found.local_accesses,
        "shared_bytes": found.shared_bytes,
        "occupancy": found.occupancy,
        "bytes_in_flight": found.bytes_in_flight if by_threads else None,
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
    for launch in launches_of_file(path):
        listing = launched.listing_of(launch, arch)
        text += [f"{launch.function.__name__} on {arch}", *compiled.with_source(listing)]
    return text


def shipped_sass_lines(spec: Spec) -> list[str]:
    """The machine code of one of our own calls as it ships, its branches not compiled apart."""
    text: list[str] = []
    for one in adapter(spec.op).variants(spec, COUNTED_BATCH):
        if one.part < 0:
            listing = compiled.machine_code(
                one.function, one.signature, one.constants, arch=spec.arch, options=one.options
            )
            text += [f"{one.function.__name__} on {spec.arch}", *compiled.with_source(listing)]
    return text
