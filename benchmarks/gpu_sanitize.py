"""Do our kernels stay inside their tensors, and are they free of races in shared memory? compute-sanitizer says.

    python benchmarks/gpu_sanitize.py [--seconds 500] [--json FILE]

Every operation, type and layout of kernel_checks.py at the first and the last stage, two images, forward and backward,
under memcheck and then racecheck, a process a core. No memory is cached, so that each tensor is an allocation of its
own and memcheck sees its end; first it must find planted_fault.py out. FILE is written after each tool.
Exit codes: 0 clean, 1 an error, or the planted one was not found, 3 some points did not run, 4 no GPU or no
compute-sanitizer.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

TOOLS = ("memcheck", "racecheck")
STAGES = ("s1", "s4")
BATCH = 2
PLANTED = "planted"
DONE = "point "
LINES_KEPT, LAST_LINES = 40, 5
# After so much of its time a process begins no further point, so that the tool can sum up what it saw.
LAST_POINT = 0.75
MEMCHECK = re.compile(r"ERROR SUMMARY: (\d+) errors?\s*$", re.MULTILINE)
RACECHECK = re.compile(r"RACECHECK SUMMARY: \d+ hazards? displayed \((\d+) errors?, (\d+) warnings?\)")


@dataclass(frozen=True, slots=True)
class Found:
    """What one tool said of so many points, of which ``done`` ran to their end. said: its lines on what went wrong."""

    tool: str
    points: int
    done: int
    errors: int
    warnings: int
    said: tuple[str, ...]


def read(tool: str, points: int, text: str) -> Found:
    """What a process under a tool printed. Without a summary its points do not count as done."""
    summaries = (RACECHECK if tool == "racecheck" else MEMCHECK).findall(text)
    counts = [(int(one[0]), int(one[1])) if tool == "racecheck" else (int(one), 0) for one in summaries]
    errors, warnings = (sum(count[k] for count in counts) for k in range(2))
    lines = text.splitlines()
    done = sum(line.startswith(DONE) for line in lines) if counts else 0
    said = [line for line in lines if line.startswith("=====")] if errors or warnings or not counts else []
    if done < points:
        said += [line for line in lines if not line.startswith(("=====", DONE))][-LAST_LINES:]
    return Found(tool, points, done, errors, warnings, tuple(said[:LINES_KEPT]))


def joined(shares: Sequence[Found]) -> Found:
    """The shares of one tool as one."""
    sums = {name: sum(getattr(one, name) for one in shares) for name in ("points", "done", "errors", "warnings")}
    return Found(shares[0].tool, **sums, said=tuple(line for one in shares for line in one.said)[:LINES_KEPT])


def under(sanitizer: str, tool: str, share: str, until: float) -> str:
    """What this script prints for a share of the points, as a child of the tool; as far as it came if time ends."""
    # What PyTorch asks of the driver and is refused is not about our kernels.
    options = ["--tool", tool, "--report-api-errors", "no", "--target-processes", "application-only"]
    left = max(1.0, until - time.monotonic())
    process = subprocess.Popen(
        [sanitizer, *options, sys.executable, __file__, "--share", share, "--seconds", str(LAST_POINT * left)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"},
        start_new_session=True,
    )
    try:
        return process.communicate(timeout=left)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()[0]


def chosen() -> list[tuple[str, str, str, str]]:
    """The points of all shares."""
    from kernel_checks import checks

    return [point for point in checks() if point[1] in STAGES]


def over_all(sanitizer: str, tool: str, until: float) -> Found:
    """One tool over all points, in as many processes as there are cores for."""
    from kernel_checks import WORKERS

    number = len(chosen())
    shares = min(WORKERS, number)
    with ThreadPoolExecutor(shares) as pool:
        texts = pool.map(lambda i: under(sanitizer, tool, f"{i}/{shares}", until), range(shares))
    return joined([read(tool, len(range(i, number, shares)), text) for i, text in enumerate(texts)])


def call_share(share: str, until: float) -> None:
    """The child: the planted fault, or forward and backward of each point of a share, a line for each that ended."""
    import torch

    if share == PLANTED:
        read_past_the_end()
        torch.cuda.synchronize()
        return
    from kernel_checks import ours, tensors_of, with_gradients

    first, _, step = share.partition("/")
    for point in chosen()[int(first) :: int(step)]:
        if time.monotonic() > until:
            return
        x, parameters, g = tensors_of(point, batch=BATCH)
        with_gradients(ours(point[0], g.dtype), x, parameters, g)
        torch.cuda.synchronize()
        print(DONE + " ".join(point), flush=True)


def read_past_the_end() -> None:
    """A copy of one element more than there are."""
    import torch
    from planted_fault import copy_block

    block = 256
    x, y = (torch.ones(size, device="cuda") for size in (block - 1, block))
    copy_block[(1,)](x, y, BLOCK=block)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=500.0, help="stop after so long")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write what each tool found")
    parser.add_argument("--share", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    begun = time.monotonic()
    if options.share:
        call_share(options.share, begun + options.seconds)
        return 0
    import torch

    sanitizer = shutil.which("compute-sanitizer")
    if not torch.cuda.is_available() or not sanitizer:
        what = "compute-sanitizer on the PATH" if torch.cuda.is_available() else "CUDA device"
        print(f"no {what}: gpu_sanitize.py runs our kernels under it", file=sys.stderr)
        return 4
    planted = read("memcheck", 0, under(sanitizer, "memcheck", PLANTED, begun + 0.2 * options.seconds))
    print(f"the planted fault {'is found' if planted.errors else 'is NOT found'}", flush=True)
    document: dict[str, Any] = {"batch": BATCH, "planted_errors": planted.errors, "tools": []}
    for tool, share in zip(TOOLS, (0.6, 1.0), strict=True):
        found = over_all(sanitizer, tool, begun + share * options.seconds)
        print(f"{tool}: {found.done} of {found.points} points, {found.errors} errors, {found.warnings} warnings")
        print("".join(f"  {line}\n" for line in found.said), end="", flush=True)
        document["tools"].append(asdict(found))
        document["seconds"] = time.monotonic() - begun
        if options.json:
            options.json.write_text(json.dumps(document, indent=1))
    if not planted.errors or any(one["errors"] for one in document["tools"]):
        return 1
    return 3 if any(one["done"] < one["points"] for one in document["tools"]) else 0


if __name__ == "__main__":
    raise SystemExit(main())
