"""How long do help, planning, an append, a summary and a comparison take? Prints the figures beside their limits.

An append waits for the disk: what a bare write and fsync of as many bytes takes is printed beside it, and is not ours.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchbench import plan, stats, store
from benchbench.plan import Request
from benchbench.record import Record, to_line
from benchbench.registry import register_cases

POINTS, RECORDS, APPENDS, COMPARED = 100_000, 50_000, 200, 10_000


def best(measure: Callable[[], float], times: int = 3) -> float:
    return min(measure() for _ in range(times))


def help_s() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "benchbench", "-h"], check=True, capture_output=True)
    return time.perf_counter() - began


def planning_s() -> float:
    """Seconds to plan POINTS points of the shipped operators and networks, in proportion."""
    register_cases(())
    axes = {"batch": tuple(range(1, 200)), "kernel_size": tuple(range(3, 33, 2)), "ratio": ("1/4", "1/8", "1/16")}
    began = time.perf_counter()
    found = plan.points(Request(axes=axes), device="cuda:0")
    return (time.perf_counter() - began) * POINTS / len(found)


def example(number: int) -> Record:
    samples = tuple(1e-3 * (1 + 0.001 * ((number * 7 + i * 13) % 17)) for i in range(50))
    work = {"bytes_read": 1000, "bytes_written": 1000, "flops": 10, "items": 128}
    key = f"depthwise_conv@1;kernel_size={number}"
    return Record(
        key, "depthwise_conv", 1, {"kernel_size": number}, "ok", samples_s=samples, host_samples_s=samples, work=work
    )


def append_s(folder: Path) -> float:
    writer = store.Writer(store.create(folder, {}))
    began = time.perf_counter()
    for number in range(APPENDS):
        writer.append(example(number))
    return (time.perf_counter() - began) / APPENDS


def bare_fsync_s(folder: Path) -> float:
    """Seconds of writing and syncing the same bytes, without benchbench."""
    line = to_line(example(0)).encode() + b"\n"
    handle = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    began = time.perf_counter()
    for _ in range(APPENDS):
        os.write(handle, line)
        os.fsync(handle)
    spent = (time.perf_counter() - began) / APPENDS
    os.close(handle)
    return spent


def summary_s(folder: Path) -> float:
    """Seconds to read and summarise RECORDS records, 5 rounds of each point."""
    run = store.create(folder, {})
    lines = [to_line(replace(example(i // 5), round=i % 5)) for i in range(RECORDS)]
    (run.folder / "records.jsonl").write_text("\n".join(lines) + "\n")
    began = time.perf_counter()
    frame = stats.results(run.read()[0])
    assert len(frame) == RECORDS // 5
    return time.perf_counter() - began


def comparing_s(folder: Path) -> float:
    """Seconds of ``bench compare`` of two runs of COMPARED points and 3 rounds, from the command to its table."""
    asked = {"testbed": {"device": "cpu"}, "asked": {}, "description": {}, "began": 0.0, "command": ""}
    for name in "ab":
        run = store.create(folder, asked, name=name)
        lines = [to_line(replace(example(i), round=r)) for i in range(COMPARED) for r in range(3)]
        (run.folder / "records.jsonl").write_text("\n".join(lines) + "\n")
    began = time.perf_counter()
    command = [sys.executable, "-m", "benchbench", "compare", "a", "b", "--store", str(folder), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    spent = time.perf_counter() - began
    assert len(json.loads(done.stdout)) == COMPARED, done.stderr
    return spent


def main() -> None:
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        append, bare = best(lambda: append_s(folder)), best(lambda: bare_fsync_s(folder))
        figures = [
            ("bench -h", best(help_s), 0.5),
            (f"planning {POINTS:,} points", best(planning_s), 2.0),
            (f"appending one record, less {bare * 1e3:.1f} ms of bare fsync", max(0.0, append - bare), 0.002),
            (f"reading and summarising {RECORDS:,} records", best(lambda: summary_s(folder), 1), 5.0),
            (f"comparing {COMPARED:,} points of two stored runs", comparing_s(folder), 6.0),
        ]
    if "--json" in sys.argv:
        print(json.dumps([{"what": what, "seconds": spent, "limit_s": limit} for what, spent, limit in figures]))
        return
    for what, spent, limit in figures:
        print(f"{what:55} {spent:9.4f} s   limit {limit} s   {'holds' if spent < limit else 'DOES NOT HOLD'}")


if __name__ == "__main__":
    main()
