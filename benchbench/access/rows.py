"""One row a shipped kernel, shape, dtype and layout: what it needs of the machine, and what it asks of memory."""

from __future__ import annotations

import hashlib
import inspect
import json
import linecache
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchbench.access import arguments, assembly, compiled, origin, shipped, traced, traffic, warps
from benchbench.access.compiled import Resources
from benchbench.access.shipped import STREAMED, Spec, Variant
from benchbench.access.traffic import Traffic

Row = dict[str, Any]
# What the worker says before its answer, on its standard error.
NOTE = "note: "


def resource_rows(specs: Sequence[Spec], *, jobs: int = 1, told: Callable[[Row], None] | None = None) -> list[Row]:
    """A row a spec, in their order; ``jobs`` processes compile. Kept results are returned at once.

    told: called with each row as it is finished.
    """
    if jobs <= 1 or len(specs) < 2:
        return _told(map(resource_row, specs), told)
    import multiprocessing

    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        return _told(pool.map(resource_row, specs, chunksize=1), told)


def _told(found: Iterable[Row], told: Callable[[Row], None] | None) -> list[Row]:
    made = []
    for row in found:
        made.append(row)
        if told is not None:
            told(row)
    return made


def resource_row(spec: Spec) -> Row:
    """Registers, spills, occupancy, instructions per output, widths, by the definitions of docs/bytes.md."""
    variants = shipped.adapter(spec.op).variants(spec, shipped.COUNTED_BATCH)
    made = [
        (v, compiled.compile_kernel(v.function, v.signature, v.constants, arch=spec.arch, options=v.options))
        for v in variants
    ]
    main, whole = made[0]
    parts = [pair for pair in made if pair[0].part >= 0 and pair[0].function is main.function]
    others = [pair for pair in made if pair[0].part < 0 and pair[0].function is not main.function]
    identity = next((pair for pair in parts if is_copy(pair[1])), None)
    branches = [found for _, found in parts if identity is None or found is not identity[1]] or [whole]
    counted = (parts or [(main, whole)]) + others
    return {
        "kernel": whole.kernel,
        "direction": spec.direction,
        "arch": spec.arch,
        "dtype": spec.dtype,
        "layout": spec.layout,
        "shape": spec.shape,
        "kernel_size": spec.kernel_size or shipped.adapter(spec.op).kernel_size,
        "registers": max(found.registers for found in [whole, *(found for _, found in others)]),
        "spill_bytes": max(found.spill_bytes for found in [whole, *(found for _, found in others)]),
        "local_accesses": sum(found.local_accesses for found in [whole, *(found for _, found in others)]),
        "shared_bytes": whole.shared_bytes,
        "occupancy": whole.occupancy,
        "bytes_in_flight": bytes_in_flight(whole, identity[1] if identity else None, branches),
        "instructions_per_output": instructions_per_output(spec, counted),
        "reason": "; ".join(found.instructions_reason for _, found in counted if found.instructions_reason),
        "instructions_over_parts": instructions_over_parts(whole, [found for _, found in parts]),
        "store_widths": widths(branches, "store"),
        "wide_load_share": wide_load_share(branches, shipped.widest_access(spec)),
        "identity_widths": widths([identity[1]], "") if identity else [],
        "widest_bytes": shipped.widest_access(spec),
        "mma": whole.mma,
        "spilled_at": [place for found in [whole, *(found for _, found in others)] for place in found.local_places],
        "accesses": accesses([whole, *(found for _, found in others)]),
        "programs": main.programs,
        "threads": whole.threads,
        "mix": whole.mix,
    }


def accesses(found: Iterable[Resources]) -> list[list[Any]]:
    """[kind, tensors, width, times, place, statement] of the machine code's loads and stores, equal ones together."""
    together: dict[tuple[Any, ...], int] = {}
    for one in found:
        for access in one.accesses:
            statement = linecache.getline(access.file, access.line).strip()
            where = compiled.place(access.file, access.line)
            key = (access.kind, "/".join(access.tensors), access.width, where, statement)
            together[key] = together.get(key, 0) + access.times
    return [
        [kind, tensors, width, times, where, text] for (kind, tensors, width, where, text), times in together.items()
    ]


def is_copy(found: Resources) -> bool:
    """Whether a part computes nothing: it has stores of streamed tensors, and no floating-point multiply-add.

    FFMA, FFMA2 and, on sm_100 with a factor of 16 bits, FHFMA. With HFMA2 ptxas also makes constants.
    """
    return bool(found.of("store", STREAMED)) and not any("FMA" in word and word != "HFMA2" for word in found.mix)


def bytes_in_flight(whole: Resources, identity: Resources | None, branches: Sequence[Resources]) -> int | None:
    """What the identity branch has in flight on one multiprocessor, inside the whole kernel; None without one.

    Its loads are told by their source lines; where those lines serve other branches too, by the part compiled alone.
    """
    if identity is None:
        return None
    own = {(a.file, a.line) for a in identity.of("load", STREAMED) + identity.of("store", STREAMED)}
    shared = own & {(a.file, a.line) for branch in branches for a in branch.accesses}
    source = identity if shared else whole
    ahead = compiled.loaded_before_store([a for a in source.accesses if (a.file, a.line) in own])
    return ahead * whole.threads * whole.ctas_per_sm


def instructions_per_output(spec: Spec, counted: Iterable[tuple[Variant, Resources]]) -> float | None:
    """Sum of instructions x programs x threads over the outputs of a batch of 128.

    None where a loop has no constant trip count: the row's reason names it.
    """
    channels, height, width = spec.sizes
    total = 0
    for variant, found in counted:
        if found.instructions is None:
            return None
        total += found.instructions * variant.programs * found.threads
    return total / (shipped.COUNTED_BATCH * channels * height * width)


def instructions_over_parts(whole: Resources, parts: Sequence[Resources]) -> float | None:
    """Instructions of the kernel as shipped over the sum of its parts': above 1.05 the branches are not kept apart."""
    alone = sum(found.instructions or 0 for found in parts)
    return whole.instructions / alone if alone and whole.instructions is not None else None


def widths(found: Iterable[Resources], kind: str) -> list[int]:
    """The distinct widths in bytes, widest first, of the streamed tensors' stores or loads or, for "", both."""
    kinds = (kind,) if kind else ("load", "store")
    return sorted({a.width for one in found for k in kinds for a in one.of(k, STREAMED)}, reverse=True)


def wide_load_share(branches: Iterable[Resources], widest: int) -> float | None:
    """The share of the streamed tensors' loaded bytes that come in vectors of at least ``widest`` bytes."""
    loads = [a for branch in branches for a in branch.of("load", STREAMED)]
    total = sum(a.width * a.times for a in loads)
    return sum(a.width * a.times for a in loads if a.width >= widest) / total if total else None


# ---- traffic ------------------------------------------------------------------------------------------------------


def traffic_rows(
    specs: Sequence[Spec],
    *,
    jobs: int = 1,
    told: Callable[[Row], None] | None = None,
    batch: int = shipped.TRACED_BATCH,
) -> list[Row]:
    """A row a spec, in their order. Each is traced in a process with TRITON_INTERPRET=1, ``jobs`` at a time."""
    with ThreadPoolExecutor(max(jobs, 1)) as pool:
        return _told(pool.map(lambda spec: _traffic_row_apart(spec, batch), specs), told)


def _traffic_row_apart(spec: Spec, batch: int) -> Row:
    counted_by = [inspect.getsource(one) for one in (traced, arguments, traffic, warps, shipped, traffic_row, sites)]
    name = hashlib.sha256(json.dumps([origin.traced_from(spec), batch, *counted_by]).encode()).hexdigest()
    kept = assembly.cache_folder(None, "traffic") / f"{name}.json"
    if not kept.exists():
        assembly.write_whole(kept, json.dumps(in_interpreter("traffic_row", {"spec": asdict(spec), "batch": batch})))
    row: Row = json.loads(kept.read_text())
    return row


def in_interpreter(task: str, argument: dict[str, Any], *, told: Callable[[str], None] | None = None) -> Any:
    """Run ``benchbench.access.worker`` on a task in a process of its own and return its answer.

    told: called at once with each note of the worker's, such as how long a trace will take. Raises ValueError with the
    last line of its error where it failed.
    """
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
    # The folder that bench was called in stays off the path: a file called torch.py may lie there.
    own = {"TRITON_INTERPRET": "1", "PYTHONPATH": path, "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile("w+") as answer:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchbench.access.worker", task, json.dumps(argument)],
            stdout=answer,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **own},
        )
        assert process.stderr is not None
        last = ""
        for line in process.stderr:
            if line.startswith(NOTE):
                if told is not None:
                    told(line.removeprefix(NOTE).strip())
            else:
                last = line.strip() or last
        code = process.wait()
        if code < 0:
            raise ValueError(f"the tracing process was killed by {signal.Signals(-code).name}: {last or 'no reason'}")
        if code:
            raise ValueError(last or "the tracing process died")
        answer.seek(0)
        return json.loads(answer.read().splitlines()[-1])


def sites(found: Traffic) -> list[list[Any]]:
    """[kind, tensor, requested bytes, place, statement] of every load and store of the source."""
    return [
        [
            site.kind,
            site.tensor,
            site.requested_bytes,
            compiled.place(site.file, site.line),
            linecache.getline(site.file, site.line).strip(),
        ]
        for site in found.sites
    ]


def traffic_row(spec: Spec, batch: int = shipped.TRACED_BATCH) -> Row:
    """Requested, unique and sector bytes of the streamed tensors beside the floor, at this batch; interpreted."""
    call = shipped.adapter(spec.op).launcher(spec, batch)
    found = traced.trace(call, limit_s=600)
    floor = shipped.adapter(spec.op).floor_elements(spec) * batch * spec.itemsize
    requested = found.requested_bytes("", STREAMED)
    unique = found.unique_bytes("", STREAMED)
    return {
        "kernel": found.launches[0][0],
        "direction": spec.direction,
        "dtype": spec.dtype,
        "layout": spec.layout,
        "shape": spec.shape,
        "kernel_size": spec.kernel_size or shipped.adapter(spec.op).kernel_size,
        "requested_bytes": requested,
        "program_sector_bytes": found.program_sector_bytes("", STREAMED),
        "unique_bytes": unique,
        "floor_bytes": floor,
        "amplification": requested / unique if unique else None,
        "loaded_bytes": found.requested_bytes("load", STREAMED),
        "stored_bytes": found.requested_bytes("store", STREAMED),
        "parameter_bytes": found.requested_bytes() - requested,
        "out_of_bounds": [str(one) for one in found.out_of_bounds],
        "sites": sites(found),
        "launches": len(found.launches),
    }
