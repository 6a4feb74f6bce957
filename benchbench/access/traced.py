"""Which bytes does a Triton kernel ask for? Every address of every load and store, recorded in the interpreter.

The kernel's module must be imported in a process with TRITON_INTERPRET=1, because the variable is read when a kernel
is decorated. The interpreter has no warps: a request is modelled as 32 consecutive vectors of the pointer block in
row-major order, a vector being the widest aligned, contiguous, equally masked run of up to 16 bytes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from benchbench.access.arguments import Argument, arguments_of, nearest
from benchbench.access.launched import grid_of
from benchbench.access.traffic import SECTOR_BYTES, Addresses, OutOfBounds, Site, Step, TensorTraffic, Traffic
from benchbench.access.warps import modelled_requests, vector_elements


def trace(
    call: Callable[[], Any],
    *,
    limit_s: float = 120.0,
    keep_steps: bool = False,
    told: Callable[[str], None] | None = None,
) -> Traffic:
    """Run ``call``, which launches interpreted kernels on CPU tensors, and return what they asked of memory.

    keep_steps keeps every access in order, for the modelled cache. told: called with how long a long launch will take.
    Raises ValueError where no kernel ran in the interpreter or one failed, or where the grid would take longer than
    ``limit_s`` seconds: the message says how long.
    """
    recorder = Recorder(limit_s=limit_s, keep_steps=keep_steps, told=told)
    with recorder.listening():
        try:
            call()
        except Exception as error:
            # The interpreter wraps what is raised while a program runs; the refusal itself is what the caller wants.
            if recorder.refusal is not None:
                raise recorder.refusal from None
            if type(error).__name__ == "InterpreterError":
                raise recorder.failure(error) from error
            raise
    if not recorder.launches:
        unset = os.environ.get("TRITON_INTERPRET") != "1"
        how = "set TRITON_INTERPRET=1 before its module is imported" if unset else "call one as kernel[grid](x, y, n)"
        raise ValueError(f"the call launched no Triton kernel in the interpreter: {how}")
    return recorder.traffic()


class Recorder:
    """Listens to the interpreter's memory operations, launch by launch."""

    def __init__(self, *, limit_s: float, keep_steps: bool, told: Callable[[str], None] | None = None) -> None:
        self.limit_s, self.keep_steps, self._told = limit_s, keep_steps, told
        self.launches: list[tuple[str, int]] = []
        self.steps: list[Step] = []
        self._beyond: dict[tuple[str, str, str, int], tuple[OutOfBounds, int]] = {}
        self.refusal: ValueError | None = None
        self._sites: dict[tuple[str, str, str, int, str], list[int]] = {}
        self._tensors: list[TensorTraffic] = []
        self._begin("", ())

    def traffic(self) -> Traffic:
        """Everything heard so far."""
        sites = tuple(Site(*place, *numbers) for place, numbers in self._sites.items())
        beyond = tuple(one for one, _ in self._beyond.values())
        return Traffic(tuple(self.launches), sites, tuple(self._tensors), beyond, tuple(self.steps))

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Replace the interpreter's memory operations by ones that record and pass on."""
        from triton.runtime import interpreter

        builder, executor = interpreter.InterpreterBuilder, interpreter.GridExecutor
        kept = {
            (builder, name): getattr(builder, name)
            for name in ("create_masked_load", "create_masked_store", "create_atomic_rmw", "create_atomic_cas")
        }
        kept |= {(builder, "set_grid_idx"): builder.set_grid_idx, (builder, "set_grid_dim"): builder.set_grid_dim}
        kept |= {(executor, name): getattr(executor, name) for name in ("__call__", "_init_args_hst")}
        for (owner, name), original in kept.items():
            setattr(owner, name, self._heard(name, original))
        patch_lang = interpreter._patch_lang
        interpreter._patch_lang = self._patched_once(patch_lang)
        try:
            yield
        finally:
            interpreter._patch_lang = patch_lang
            for (owner, name), original in kept.items():
                setattr(owner, name, original)

    def _patched_once(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Once a launch: the interpreter patches the language at each call of a device function, half of its time."""

        def patch_lang(function: Any) -> Any:
            key = id(function.__globals__)
            if key in self._patched and self._seen >= 0:
                return None
            self._patched.add(key)
            return original(function)

        return patch_lang

    def _heard(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        # Only the leading parameters are named: the ones behind them differ between Triton versions.
        def masked_load(builder: Any, pointers: Any, mask: Any, *rest: Any, **named: Any) -> Any:
            return original(builder, pointers, self._access("load", pointers, mask), *rest, **named)

        def masked_store(builder: Any, pointers: Any, value: Any, mask: Any, *rest: Any, **named: Any) -> Any:
            return original(builder, pointers, value, self._access("store", pointers, mask), *rest, **named)

        def atomic_rmw(builder: Any, operation: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
            return original(builder, operation, pointers, value, self._access("atomic", pointers, mask), *rest)

        def atomic_cas(builder: Any, pointers: Any, compared: Any, *rest: Any) -> Any:
            self._access("atomic", pointers, None)
            if self._outside:
                # It has no mask: it is not done, and answers that the value was the one compared with.
                return type(compared)(compared.data, compared.dtype.scalar)
            return original(builder, pointers, compared, *rest)

        def set_grid_dim(builder: Any, *dimensions: int) -> None:
            self._grid, self._programs = (dimensions[0], dimensions[1], dimensions[2]), int(np.prod(dimensions))
            self._started = time.perf_counter()
            original(builder, *dimensions)

        def set_grid_idx(builder: Any, x: int, y: int, z: int) -> None:
            self._next_program((x, y, z))
            original(builder, x, y, z)

        def init_args(executor: Any, args: Any, kwargs: Any) -> Any:
            hosted = original(executor, args, kwargs)
            self._begin(executor.fn.__name__, arguments_of(_bound(executor.fn, *hosted)))
            return hosted

        def run(executor: Any, *args: Any, **named: Any) -> Any:
            if not callable(executor.grid):
                executor.grid = grid_of(executor.fn.__name__, executor.grid)
            try:
                result = original(executor, *args, **named)
            except (AssertionError, KeyError, TypeError) as error:
                # The interpreter's own, before a program runs: an argument or a grid that it cannot take.
                text = f"{type(error).__name__}: {' '.join(str(error).split())}"
                raise ValueError(f"{executor.fn.__name__} can't be launched: {text}") from error
            self._end()
            return result

        wrappers: dict[str, Callable[..., Any]] = {
            "create_masked_load": masked_load,
            "create_masked_store": masked_store,
            "create_atomic_rmw": atomic_rmw,
            "create_atomic_cas": atomic_cas,
            "set_grid_dim": set_grid_dim,
            "set_grid_idx": set_grid_idx,
            "_init_args_hst": init_args,
            "__call__": run,
        }
        return wrappers[name]

    def failure(self, error: BaseException) -> ValueError:
        """What a program of the running kernel raised, in one line with its kernel, source line and program."""
        place = ""
        while True:
            for frame, number in traceback.walk_tb(error.__traceback__):
                if _is_kernel_source(frame.f_code.co_filename):
                    place = f"{os.path.basename(frame.f_code.co_filename)}:{number}"
            if error.__cause__ is None:
                break
            error = error.__cause__
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return ValueError(f"{self._kernel}, {place}: program {self._program} failed: {text}")

    # ---- one launch ---------------------------------------------------------------------------------------------

    def _begin(self, kernel: str, tensors: tuple[Argument, ...]) -> None:
        self._kernel, self._arguments = kernel, tensors
        self._grid = (1, 1, 1)
        self._programs, self._program, self._seen = 1, (0, 0, 0), -1
        self._announced = False
        self._started = time.perf_counter()
        self._patched: set[int] = set()
        self._touched: dict[tuple[str, str, int], tuple[Argument, npt.NDArray[np.int64]]] = {}
        self._requested: dict[tuple[str, str], int] = {}
        self._sectors: dict[tuple[str, str], int] = {}
        self._of_program: dict[tuple[str, str], list[Addresses]] = {}

    def _next_program(self, program: tuple[int, int, int]) -> None:
        self._flush_program()
        self._program = program
        self._seen += 1
        spent = time.perf_counter() - self._started
        expected = spent / max(self._seen, 1) * self._programs
        if self._seen >= 3 and spent > min(2.0, self.limit_s / 10) and expected > self.limit_s:
            self.refusal = ValueError(
                f"{self._kernel}: {self._programs} programs would take about {expected:.0f} s to trace, more than the "
                f"limit of {self.limit_s:.0f} s: shrink the batch or the planes so that the grid gets "
                f"{math.ceil(expected / self.limit_s)} times smaller, or raise the limit (--limit)"
            )
            raise self.refusal
        if self._told is not None and not self._announced and self._seen >= 3 and spent > 2.0 and expected > 8.0:
            self._announced = True
            self._told(f"{self._kernel}: tracing {self._programs} programs takes about {expected:.0f} s")

    def _flush_program(self) -> None:
        for key, pieces in self._of_program.items():
            distinct = np.unique(np.concatenate(pieces)).size
            self._sectors[key] = self._sectors.get(key, 0) + distinct * SECTOR_BYTES
        self._of_program.clear()

    def _end(self) -> None:
        self._flush_program()
        launch = len(self.launches)
        self.launches.append((self._kernel, self._programs))
        for (kind, tensor), requested in self._requested.items():
            unique, size, counts, argument = self._unique_bytes(kind, tensor)
            view = argument.shapes.get(tensor)
            sectors = self._sectors.get((kind, tensor), 0)
            numbers = (requested, unique, sectors)
            self._tensors.append(TensorTraffic(launch, self._kernel, kind, tensor, *numbers, view, size, counts))

    def _unique_bytes(self, kind: str, tensor: str) -> tuple[int, int, npt.NDArray[np.int64] | None, Argument]:
        """Distinct bytes, and the size and counts of elements; those of several sizes are joined byte by byte."""
        found = [(size, *kept) for (k, t, size), kept in self._touched.items() if (k, t) == (kind, tensor)]
        if len(found) == 1:
            size, argument, counts = found[0]
            return int(np.count_nonzero(counts)) * size, size, counts, argument
        union = np.zeros(found[0][1].stop - found[0][1].start, dtype=bool)
        for size, _, counts in found:
            wide = np.repeat(counts > 0, size)
            union[: wide.size] |= wide[: union.size]
        return int(np.count_nonzero(union)), 0, None, found[0][1]

    # ---- one access ---------------------------------------------------------------------------------------------

    def _access(self, kind: str, pointers: Any, mask: Any) -> Any:
        """Record the active lanes; the mask without the lanes that are out of bounds."""
        self._outside = False
        block = np.asarray(pointers.data)
        lanes = block.reshape(-1).astype(np.int64)
        # Block pointers have a bare array of numpy's where others have the interpreter's handle.
        bare = isinstance(mask, np.ndarray)
        active = np.ones(lanes.shape, bool)
        if mask is not None:
            active = np.broadcast_to(mask if bare else mask.data, block.shape).reshape(-1).astype(bool)
        if not active.any():
            return mask
        element = pointers.get_element_ty()
        size = max(1, element.primitive_bitwidth // 8)
        file, line = _place()
        owner = self._owner(lanes, active, size)
        inside = active & (owner >= 0)
        self._outside = not np.array_equal(inside, active)
        if self._outside:
            self._report_outside(kind, file, line, lanes[active & (owner < 0)], size)
            if mask is not None:
                kept = inside.reshape(block.shape)
                mask = kept if bare else type(mask)(kept, mask.dtype)
        for number in np.unique(owner[inside]):
            chosen = inside & (owner == number)
            self._record(kind, file, line, self._arguments[number], lanes, chosen, size)
        return mask

    def _owner(self, lanes: Addresses, active: npt.NDArray[np.bool_], size: int) -> npt.NDArray[np.int64]:
        """For each lane the number of the argument whose storage holds all of its bytes, -1 where none does."""
        asked = lanes[active]
        low, high = int(asked.min()), int(asked.max())
        for number, argument in enumerate(self._arguments):
            if argument.start <= low and high + size <= argument.stop:
                return np.full(lanes.shape, number, dtype=np.int64)
        owner = np.full(lanes.shape, -1, dtype=np.int64)
        for number, argument in enumerate(self._arguments):
            owner[(lanes >= argument.start) & (lanes + size <= argument.stop)] = number
        return owner

    def _report_outside(self, kind: str, file: str, line: int, outside: Addresses, size: int) -> None:
        place = (self._kernel, kind, file, line)
        known = self._beyond.get(place)
        if known is None:
            address = int(outside[0])
            where = nearest(address, size, self._arguments)
            first = OutOfBounds(*place, self._program, address, where, lanes=int(outside.size))
            self._beyond[place] = (first, self._seen)
            return
        one, last = known
        more = one.programs + (last != self._seen)
        self._beyond[place] = (dataclasses.replace(one, lanes=one.lanes + int(outside.size), programs=more), self._seen)

    def _record(
        self,
        kind: str,
        file: str,
        line: int,
        argument: Argument,
        lanes: Addresses,
        chosen: npt.NDArray[np.bool_],
        size: int,
    ) -> None:
        asked = lanes[chosen]
        name = argument.name_of(int(asked.min()), int(asked.max()))
        vector = vector_elements(lanes, chosen, size)
        requests, sectors = modelled_requests(lanes, chosen, size, vector)
        numbers = self._sites.setdefault((self._kernel, kind, file, line, name), [0, 0, 0, 0, 1 << 30])
        for place, more in enumerate((1, asked.size * size, requests, sectors)):
            numbers[place] += more
        numbers[4] = min(numbers[4], vector * size)
        self._requested[kind, name] = self._requested.get((kind, name), 0) + asked.size * size
        if (kind, name, size) not in self._touched:
            elements = -(-(argument.stop - argument.start) // size)
            self._touched[kind, name, size] = (argument, np.zeros(elements, np.int64))
        np.add.at(self._touched[kind, name, size][1], (asked - argument.start) // size, 1)
        touched = asked // SECTOR_BYTES
        if size > 1 and argument.start % size:
            touched = np.concatenate([touched, (asked + size - 1) // SECTOR_BYTES])
        self._of_program.setdefault((kind, name), []).append(touched)
        if self.keep_steps:
            distinct = touched[np.sort(np.unique(touched, return_index=True)[1])]
            # The hardware launches along x first; the interpreter runs along z first.
            x, y, z = self._program
            number = x + self._grid[0] * (y + self._grid[1] * z)
            self.steps.append(Step(len(self.launches), number, kind, distinct))


def _place() -> tuple[str, int]:
    """File and line of the kernel's source that runs now: the innermost frame outside Triton and this file."""
    frame = sys._getframe(2)
    while frame.f_back is not None:
        file = frame.f_code.co_filename
        if _is_kernel_source(file):
            return file, frame.f_lineno
        frame = frame.f_back
    return "", 0


def _is_kernel_source(file: str) -> bool:
    return file != __file__ and f"{os.sep}triton{os.sep}" not in file and not file.startswith("<")


def _bound(function: Any, args: Any, kwargs: Any) -> Any:
    try:
        return inspect.signature(function).bind(*args, **kwargs).arguments
    except TypeError as error:
        raise ValueError(f"{function.__name__}: {error}") from None
