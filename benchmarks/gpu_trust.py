"""Can the timer, the verifier and the machine's description be trusted on this GPU? Runs every check that needs one.

    python benchmarks/gpu_trust.py [--device cuda:0] [--json]

Prints the doctor's findings, then figures with what they should be, then runs the tests marked gpu. Nothing on the GPU
is changed. Exit status: 0 if all hold, 1 if a check fails, 4 without a GPU.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TESTS = ("test_timer.py", "test_verify.py", "test_machine.py", "test_monitor.py", "test_verify_cases.py")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure and the range that it must lie in, where one is known."""

    name: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None

    @property
    def holds(self) -> bool:
        """Whether it lies in its range."""
        return (self.low is None or self.value >= self.low) and (self.high is None or self.value <= self.high)


def copy_of(size: int, device: str) -> Callable[[], Any]:
    """A copy whose source and target together take this many bytes."""
    import torch

    source = torch.randn(max(1, size // 8), device=device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def cache_figures(device: str) -> Iterator[Figure]:
    """A warm cache must show where the copy fits into it, and where it does not, no more than what the cache holds."""
    import torch

    from benchbench.timer import Policy, clock_for, measure

    clock = clock_for(device)
    cache_bytes = torch.cuda.get_device_properties(device).L2_cache_size
    for share, low, high in ((0.5, 1.3, None), (8.0, 0.97, 8 / 7)):
        copy = copy_of(int(share * cache_bytes), device)
        seconds = {
            cache: median(measure(copy, policy=Policy(cache=cache), clock=clock).samples_s)
            for cache in ("cold", "warm")
        }
        name = f"copy of {share:g} x L2, bandwidth warm over cold"
        yield Figure(name, seconds["cold"] / seconds["warm"], "x", low, high)


def overhead_figures(device: str) -> Iterator[Figure]:
    """What an empty launch costs, and what watching the GPU costs a launch."""
    import torch

    from benchbench.machine import Monitor, kernel_names
    from benchbench.timer import Policy, clock_for, measure

    clock, policy = clock_for(device), Policy(cache="warm", time_cap_s=5.0)
    tiny = torch.zeros(1, device=device)
    alone = measure(lambda: tiny.add_(1), policy=policy, clock=clock)
    monitor = Monitor(device)
    monitor.start()
    watched = measure(lambda: tiny.add_(1), policy=policy, clock=clock)
    monitor.stop()
    yield Figure("smallest kernel on the GPU's clock", median(alone.samples_s) * 1e6, "us")
    yield Figure("smallest kernel on the host's clock", median(alone.host_samples_s) * 1e6, "us")
    ratio = median(watched.host_samples_s) / median(alone.host_samples_s)
    yield Figure("host time while the monitor looks, over without", ratio, "x", None, 1.05)
    # Each point is profiled once before it is timed: nothing of the profiler may stay behind.
    kernel_names(lambda: tiny.add_(1))
    after = measure(lambda: tiny.add_(1), policy=policy, clock=clock)
    ratio = median(after.host_samples_s) / median(alone.host_samples_s)
    yield Figure("host time after a profile, over before", ratio, "x", None, 1.05)


def monitor_figures(device: str) -> Iterator[Figure]:
    """What watching the GPU costs a kernel of about 100 us, of which the resolution of events is half a percent."""
    import torch

    from benchbench.machine import Monitor
    from benchbench.timer import Policy, clock_for, measure

    clock, policy = clock_for(device), Policy(cache="warm", time_cap_s=5.0)
    monitor, seconds = Monitor(device), []
    for is_watched in (False, True):
        if is_watched:
            monitor.start()
        seconds.append(median(measure(lambda: torch.cuda._sleep(200_000), policy=policy, clock=clock).samples_s))  # type: ignore[no-untyped-call]
    monitor.stop()
    yield Figure("GPU time while the monitor looks, over without", seconds[1] / seconds[0], "x", 0.98, 1.02)


def energy_figures(device: str) -> Iterator[Figure]:
    """Joules of a call from the counter must agree with the power that the driver reports meanwhile."""
    import torch

    from benchbench.energy import joules_per_call
    from benchbench.machine import Monitor
    from benchbench.timer import Policy, clock_for, measure

    matrix = torch.randn(8192, 8192, device=device)
    monitor = Monitor(device)
    monitor.start()
    joules = joules_per_call(monitor.gpu, lambda: matrix @ matrix, lambda: torch.cuda.synchronize(device))
    seen = monitor.stop()
    # The first block warms the die.
    joules = joules[1:]
    if not joules or not seen.get("power_w"):
        return
    samples = measure(lambda: matrix @ matrix, policy=Policy(cache="warm"), clock=clock_for(device)).samples_s
    watts = median(joules) / median(samples)
    yield Figure("energy of a matmul of 8192", median(joules), "J")
    yield Figure("blocks of it, highest over lowest", max(joules) / min(joules), "x", None, 1.1)
    yield Figure("watts from joules over those reported", watts / seen["power_w"][1], "x", 0.8, 1.25)


PARTS = (cache_figures, overhead_figures, monitor_figures, energy_figures)


def run_tests() -> int:
    """The exit status of the tests marked gpu; that none was found is a failure too."""
    paths = [str(ROOT / "tests" / name) for name in TESTS]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-rs", *paths]
    return subprocess.run(command, cwd=ROOT, stdout=sys.stderr).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description="every check of the timer, verifier and machine that needs a GPU")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--json", action="store_true", help="print one document with the machine, findings and figures")
    asked = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    import torch

    if not torch.cuda.is_available():
        print("no GPU here: these checks need a CUDA device", file=sys.stderr)
        return 4
    from benchbench.machine import describe, doctor

    findings = doctor(asked.device)
    figures = [f for part in PARTS for f in part(asked.device)]
    tests = run_tests()
    if asked.json:
        document = {
            "machine": describe(asked.device),
            "findings": [asdict(finding) for finding in findings],
            "figures": [asdict(figure) | {"holds": figure.holds} for figure in figures],
            "tests_exit_status": tests,
        }
        print(json.dumps(document, indent=1))
    else:
        for finding in findings:
            print(
                f"{finding.status}  {finding.name}: {finding.detail}" + (f"   [{finding.mend}]" if finding.mend else "")
            )
        for figure in figures:
            print(f"{'holds' if figure.holds else 'FAILS'}  {figure.name}: {figure.value:.4g} {figure.unit}")
        print(f"tests marked gpu: {'pass' if tests == 0 else f'exit status {tests}'}")
    return 0 if tests == 0 and all(figure.holds for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
