"""One answer: what happened when one point was measured, in one round, in one process; one line of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from benchbench.case import Value

SCHEMA = 1
STATUSES = ("ok", "wrong", "skip", "oom", "timeout", "crash", "impossible", "fail")


class SchemaError(ValueError):
    """A line that is no Record of a schema this version reads."""


@dataclass(frozen=True, slots=True)
class Record:
    """The result of one point in one round. Times in seconds, energy in joules, sizes in bytes, raw and unrounded.

    status:        one of STATUSES; every one is a result. reason: why, where the status is not "ok"; else doubts.
    samples_s:     one time a call, on the device's clock (GPU events or a graph); on a CPU the host clock.
    host_samples_s: seconds a call as the host sees them, launches included; equal to samples_s on a CPU.
    forward_s, backward_s, optimizer_s: the parts of training calls, sample by sample.
    parts_s:       the parts of a marked run beside each sample, by name: a block's mixer, norm, MLP and rest.
    clock:         "events", "graph" or "host": what took samples_s.
    work:          bytes_read, bytes_written, flops, items of one call.
    energy_j:      joules a call from the total-energy counter, None where there is none.
    warmup_class:  flat, warming, slowing, bimodal or unsteady.
    capped:        the stopping rule ran into its time cap, so the interval is wider than asked.
    backend_ran:   what PyTorch says it dispatched to. kernels: names of the device kernels, from a profile.
    machine_state: clocks, temperature, power, event reasons around the samples.
    process, sitting: number of the worker process and of the sitting (a line of sittings.jsonl) that measured it.
    arm:           "A" or "B" in paired comparisons.
    """

    key: str
    case: str
    version: int
    params: Mapping[str, Value]
    status: str
    reason: str = ""
    round: int = 0
    process: int = 0
    sitting: int = 0
    arm: str = ""
    samples_s: tuple[float, ...] = ()
    host_samples_s: tuple[float, ...] = ()
    forward_s: tuple[float, ...] = ()
    backward_s: tuple[float, ...] = ()
    optimizer_s: tuple[float, ...] = ()
    parts_s: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    clock: str = ""
    work: Mapping[str, int] | None = None
    peak_memory_bytes: int | None = None
    energy_j: float | None = None
    warmup_class: str = ""
    capped: bool = False
    compile_s: float | None = None
    backend_ran: str = ""
    kernels: tuple[str, ...] = ()
    error: Mapping[str, float] | None = None
    machine_state: Mapping[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA


_NAMES = tuple(f.name for f in fields(Record))
_KNOWN = frozenset(_NAMES)
_TUPLES = frozenset(f.name for f in fields(Record) if str(f.type).startswith("tuple"))


def to_line(record: Record) -> str:
    """The record as one line of JSON, without the newline. Raises ValueError for a NaN or an infinity."""
    return json.dumps({name: getattr(record, name) for name in _NAMES}, allow_nan=False, separators=(",", ":"))


def from_line(line: str) -> Record:
    """The Record of one line. Raises SchemaError where the line is torn, of another schema, or has no such status."""
    try:
        found = json.loads(line)
    except ValueError as error:
        raise SchemaError(f"not a line of JSON ({error})") from None
    if not isinstance(found, dict) or "key" not in found or "status" not in found:
        raise SchemaError("not a record: it has no key or no status")
    if found.get("schema") != SCHEMA:
        raise SchemaError(f"schema {found.get('schema')!r}, this version reads {SCHEMA}: use the bench that wrote it")
    if found["status"] not in STATUSES:
        raise SchemaError(f"status {found['status']!r} is none of {', '.join(STATUSES)}")
    try:
        for name in _TUPLES & found.keys():
            found[name] = tuple(found[name])
        found["parts_s"] = {name: tuple(times) for name, times in found.get("parts_s", {}).items()}
        return Record(**found) if found.keys() <= _KNOWN else Record(**{n: found[n] for n in _KNOWN & found.keys()})
    except (TypeError, AttributeError) as error:
        raise SchemaError(f"not a record ({error})") from None
