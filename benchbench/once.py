"""Every point of a run called once, each behind a marker, for a profiler that counts what the hardware moves.

    ncu --csv --page raw --print-units base --clock-control none --profile-from-start off --metrics ... \
        python -m benchbench.once RUN_FOLDER > counted.csv

The marker is a kernel of its own name whose grid is the number of the point, so that what a profile shows behind it is
told to be of that point. Calls before the profiled one compile, choose algorithms and warm up.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchbench.case import CASES, Value
from benchbench.record import Record
from benchbench.registry import register_cases
from benchbench.store import Run

WARM_UP_CALLS = 2


def points_of(records: Sequence[Record]) -> dict[str, Record]:
    """The points that a profile can count, by key, in the order of the run: right ones that launched kernels."""
    return {record.key: record for record in records if record.status == "ok" and record.kernels}


def main() -> None:
    """python -m benchbench.once RUN_FOLDER."""
    import torch

    if len(sys.argv) != 2:
        sys.exit("usage: python -m benchbench.once RUN_FOLDER")
    if not torch.cuda.is_available():
        sys.exit("benchbench.once calls the points of a run on a GPU, and there is none here")
    run = Run(Path(sys.argv[1]))
    register_cases(tuple(run.asked().get("asked", {}).get("imports") or ()))
    call_each(list(points_of(run.read()[0]).values()), mark=_marked, prepare=_switched)


def call_each(
    points: Sequence[Record],
    *,
    mark: Callable[[int], Any],
    prepare: Callable[[dict[str, Value]], Any],
    device: str = "cuda",
) -> None:
    """Build and call each point; ``mark(number)`` is the context of the call that is profiled, numbers from 1."""
    for number, point in enumerate(points, 1):
        try:
            _call_one(number, point, mark=mark, prepare=prepare, device=device)
        except Exception as error:
            # The other points can still be counted; this one has no marker, or nothing behind it.
            print(f"{point.key}: {type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)


def _call_one(
    number: int,
    point: Record,
    *,
    mark: Callable[[int], Any],
    prepare: Callable[[dict[str, Value]], Any],
    device: str,
) -> None:
    from benchbench import memory

    params = dict(point.params)
    try:
        with prepare(params):
            workload = CASES[point.case].workload(params)
            state = workload.make(device)
            for _ in range(WARM_UP_CALLS):
                workload.call(state)
            with mark(number):
                workload.call(state)
            del state
    finally:
        memory.empty_caches(device)


def _switched(params: dict[str, Value]) -> Any:
    from benchbench.switches import switches

    return switches(str(params.get("precision", "fp32")), str(params.get("backend", "aten")))


@contextmanager
def _marked(number: int) -> Iterator[None]:
    """Inside, the profiler looks; the marker comes first."""
    import torch

    from benchbench.access.marker import benchbench_point

    kept = torch.empty(number, device="cuda", dtype=torch.int32)
    benchbench_point[(number,)](kept)  # compiled before the profiler looks
    torch.cuda.synchronize()
    torch.cuda.profiler.start()  # type: ignore[no-untyped-call]
    try:
        benchbench_point[(number,)](kept)
        yield
        torch.cuda.synchronize()
    finally:
        torch.cuda.profiler.stop()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
