"""Does every test marked gpu pass on this GPU? Runs them all, as many at a time as there are cores, within a time.

    python benchmarks/gpu_tests.py [--seconds 520] [--json FILE]

Tests that time the GPU or watch its clocks run first and alone; the others follow, in parallel where pytest-xdist is
installed, those of the kernels last. When the time is over what has ended is kept, and the rest counts as not run.
Exit codes: 0 all passed, 1 one failed, 3 no time for some, 4 no GPU.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
ALONE = ("test_timer.py", "test_monitor.py")
# The driver, and this process, keep two cores.
WORKERS = max(1, len(os.sched_getaffinity(0)) - 2)


class Kept:
    """A pytest plugin that remembers how each test ended, whether it ran here or in a worker of pytest-xdist."""

    def __init__(self) -> None:
        self.wanted: set[str] = set()
        self.ended: dict[str, str] = {}
        self.failures: dict[str, str] = {}
        self.skips: Counter[str] = Counter()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.wanted.update(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        self.wanted.update(ids)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # A failure while a test is set up or torn down is its failure; a test that passed so far has not ended.
        if report.failed:
            lines = [line for line in report.longreprtext.splitlines() if line.strip()] or ["no reason was given"]
            self.failures.setdefault(report.nodeid, next((line for line in lines if line.startswith("E ")), lines[-1]))
            self.ended[report.nodeid] = "failed"
        elif report.skipped:
            self.skips[report.longrepr[-1] if isinstance(report.longrepr, tuple) else str(report.longrepr)] += 1
            self.ended[report.nodeid] = "skipped"
        elif report.when == "teardown":
            self.ended.setdefault(report.nodeid, "passed")

    def document(self) -> dict[str, Any]:
        """What is written: how many ended how, and what the failures and skips said."""
        counts = Counter(self.ended.values())
        return {
            **{outcome: counts[outcome] for outcome in ("passed", "failed", "skipped")},
            "not_run": len(self.wanted - set(self.ended)),
            "failures": [{"test": test, "error": error} for test, error in self.failures.items()],
            "skips": dict(self.skips),
        }


def files_of(folder: Path) -> tuple[list[str], list[str]]:
    """The files with tests marked gpu: those that must have the GPU to themselves, and the others, kernels last."""
    found = [path for path in sorted(folder.rglob("test_*.py")) if "mark.gpu" in path.read_text()]
    alone = [str(path) for path in found if path.name in ALONE]
    others = sorted((path for path in found if path.name not in ALONE), key=lambda path: path.parent.name == "kernels")
    return alone, [str(path) for path in others]


def run(alone: Sequence[str], others: Sequence[str], seconds: float) -> Kept:
    """Both groups of files, until they end or the time is over."""
    kept = Kept()
    common = ["-q", "-m", "gpu", "-p", "no:cacheprovider", "--tb=short", "-c", str(ROOT / "pyproject.toml")]
    parallel = ["-n", str(WORKERS)] if importlib.util.find_spec("xdist") else []
    # pytest ends as after Ctrl-C: its workers are stopped, and what they have told is here.
    over = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    over.daemon = True
    over.start()
    with suppress(KeyboardInterrupt):
        ended = pytest.main([*common, *alone], [kept]) if alone else pytest.ExitCode.OK
        if ended != pytest.ExitCode.INTERRUPTED and others:
            pytest.main([*common, *parallel, *others], [kept])
    over.cancel()
    return kept


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=520.0, help="stop testing after so long")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write what passed, failed and was skipped")
    options = parser.parse_args(arguments)
    import torch

    if not torch.cuda.is_available():
        print("no CUDA device: gpu_tests.py runs the tests that need one", file=sys.stderr)
        return 4
    begun = time.monotonic()
    kept = run(*files_of(ROOT / "tests"), options.seconds)
    found = {**kept.document(), "seconds": time.monotonic() - begun}
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    print(", ".join(f"{found[name]} {name.replace('_', ' ')}" for name in ("passed", "failed", "skipped", "not_run")))
    if found["failed"] or not found["passed"]:
        return 1
    return 3 if found["not_run"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
