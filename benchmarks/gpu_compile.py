"""Fills Triton's cache with the kernels of plans, a process a point, so that no sweep waits for a compiler on one core.

    python benchmarks/gpu_compile.py PLAN.toml... [--seconds 400]

Each point of the plans that launches kernels of ours is built and called, and nothing is measured. Points hold their
tensors at the same time: name no more plans than the GPU's memory has room for. What fails is named, and left to the
sweep.
Exit codes: 0 every point was called, 3 one failed or had no time, 4 no GPU.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import active_children, get_context
from pathlib import Path

import torch
from kernel_checks import DEVICE, WORKERS

from benchbench import memory
from benchbench.case import CASES
from benchbench.plan import Point, all_points, from_toml
from benchbench.registry import register_cases
from benchbench.switches import switches


def points_of(plans: Sequence[Path]) -> list[Point]:
    """The points of the plans that launch kernels of ours, those that also train a network first: they take longest."""
    register_cases(())
    every = {point.key: point for plan in plans for point in all_points(from_toml(plan), device="cuda:0")}
    ours = [p for p in every.values() if not p.skip and str(p.params.get("backend")).startswith("triton")]
    return sorted(ours, key=lambda point: point.params["mode"] != "train")


def call(point: Point) -> None:
    """Build and call a point, which compiles what it launches."""
    register_cases(())
    with switches(str(point.params["precision"]), str(point.params["backend"])):
        workload = CASES[point.case].workload(point.params)
        workload.call(workload.make(DEVICE))
    torch.cuda.synchronize()
    memory.empty_caches(DEVICE)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("plans", nargs="+", type=Path, metavar="PLAN.toml")
    parser.add_argument("--seconds", type=float, default=400.0, help="stop after so long")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("no CUDA device: gpu_compile.py compiles for the GPU that is here", file=sys.stderr)
        return 4
    begun = time.monotonic()
    points = points_of(options.plans)
    failed = 0
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        left = {pool.submit(call, point): point.key for point in points}
        try:
            for future in as_completed(tuple(left), timeout=options.seconds):
                key, error = left.pop(future), future.exception()
                failed += error is not None
                said = f": {type(error).__name__}: {error}" if error is not None else ""
                print(f"{time.monotonic() - begun:5.0f} s  {key}{said}", flush=True)
        except TimeoutError:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in active_children():
                process.terminate()
    print(f"{len(points) - len(left) - failed} of {len(points)} points were called")
    return 3 if left or failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
