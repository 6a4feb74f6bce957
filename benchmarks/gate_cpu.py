"""Does the gate keep its word on this CPU? Nothing changed: no alarm. One operator slower: it is found, and it alone.

    python benchmarks/gate_cpu.py [--repetitions 5] [--rounds 8] [--json FILE]

Everything goes through the command line, in processes of its own: a baseline, then ``bench aa`` of unchanged operators
as often as asked, which says how much they move between sittings; then as many times ``bench check`` with that offset,
and once of a copy in which one operator takes longer by twice the smallest change that the last check said it would
have seen. Where the gate says that the machine itself moved (its controls did), the command is given again, three times
in all. Prints a line a command; exits 1 where an alarm is false, the slowdown is missed or the machine never stood
still. About 12 minutes on two cores, which should have nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchbench.gate.rule import Rule

ROOT = Path(__file__).resolve().parent.parent
SLOWED = "gated_row"
TRIES = 3
# Five operators of the suite's subject. Their tensors stay in caches: the memory of a host may have other users.
# SHARE is what the copy changes.
CASES = '''"""Operators for the gate: what they take is PyTorch's time, and SHARE of it on top for the slowed one."""

import time

from benchbench import Axis, Work, Workload, case
from benchbench.case import positive_integer

SLOWED, SHARE = "", 0.0


def workload(name, shape, images):
    def make(device):
        import torch

        torch.manual_seed(0)
        return {"x": torch.randn(images, 96, 28, 28), "weight": torch.randn(96, 1, *shape)}

    def conv(state):
        import torch

        return torch.nn.functional.conv2d(state["x"], state["weight"], padding="same", groups=96)

    def slowed(state):
        began = time.perf_counter()
        y = conv(state)
        until = time.perf_counter() + SHARE * (time.perf_counter() - began)
        while time.perf_counter() < until:
            pass
        return y

    size = images * 96 * 28 * 28 * 4
    work = Work(size, size, 2 * size // 4 * shape[0] * shape[1], images)
    return Workload(make, slowed if name == SLOWED else conv, work)


def operator(name, shape):
    @case(Axis("images", (4,), parse=positive_integer), name=name)
    def one(images):
        return workload(name, shape, images)


for name, shape in (("square", (3, 3)), ("wide", (7, 7)), ("row", (1, 11)), ("column", (11, 1)), ("five", (5, 5))):
    operator("gated_" + name, shape)
'''


@dataclass(frozen=True, slots=True)
class Line:
    """One command: its exit code, the verdicts of its points, and what became of the gate's promise: it "holds", it is
    "BROKEN", or the machine "moved"."""

    command: str
    exit_code: int
    verdicts: dict[str, str]
    largest_change: float | None
    smallest_seen: float | None
    seconds: float
    outcome: str


class Gate:
    """The command line over one store; cases come from a file."""

    def __init__(self, folder: Path, rounds: int) -> None:
        self.folder, self.rounds = folder, rounds
        self.rows: list[dict[str, Any]] = []
        self.began = 0.0

    def bench(self, *words: str, cases: str = "") -> int:
        """Run a command; its rows are kept. Raises SystemExit where it could not measure."""
        command = [sys.executable, "-m", "benchbench", *words, "--store", str(self.folder / "store")]
        command += ["--import", str(self.folder / cases)] if cases else []
        self.began = time.monotonic()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        self.rows = json.loads(done.stdout) if "--json" in words and done.stdout else []
        judged = done.returncode == 4 and bool(self.rows)
        if done.returncode not in (0, 1, 3, 6) and not judged:
            raise SystemExit(f"bench {' '.join(words)}: exit {done.returncode}: {done.stderr.strip()[-400:]}")
        return done.returncode

    def line(self, command: str, exit_code: int, expected: dict[str, str] | None = None) -> Line:
        """The last command as a line; expected: the points that are to be called so, all others being unchanged."""
        verdicts = {str(row["key"]).split("@")[0]: str(row["verdict"]) for row in self.rows}
        alarms = {name: verdict for name, verdict in verdicts.items() if verdict in ("slower", "faster")}
        wanted = expected or {}
        changes = [abs(row["ratio"] - 1) for row in self.rows if row["ratio"]]
        seen = [row["smallest_change"] for row in self.rows if row.get("smallest_change")]
        kept = bool(verdicts) and alarms == wanted and exit_code == bool(wanted)
        return Line(
            command,
            exit_code,
            verdicts,
            max(changes, default=None),
            max(seen, default=None),
            round(time.monotonic() - self.began, 1),
            "moved" if "invalid" in verdicts.values() else "holds" if kept else "BROKEN",
        )

    def judged(
        self, command: str, words: Sequence[str], cases: str, expected: dict[str, str] | None = None
    ) -> Iterator[Line]:
        """A command until the machine stood still. Where it moved in each of TRIES, the promise is broken."""
        for left in reversed(range(TRIES)):
            line = self.line(command, self.bench(*words, cases=cases), expected)
            yield line if left or line.outcome != "moved" else replace(line, outcome="BROKEN")
            if line.outcome != "moved":
                return


def lines(folder: Path, repetitions: int, rounds: int) -> Iterator[Line]:
    """Everything that is asked, in order."""
    gate = Gate(folder, rounds)
    (folder / "cases.py").write_text(CASES)
    how = ("--device", "cpu", "--preset", "cpu")
    gate.bench("-q", "sweep", "--op", "gated_*", "--rounds", str(rounds), *how, cases="cases.py")
    gate.bench("baseline", "set", "main", "latest")
    words: tuple[str, ...] = ("aa", "--op", "gated_*", "--rounds", str(rounds), *how, "--json")
    for _ in range(repetitions):
        yield from gate.judged("aa", words, "cases.py")
    offset = max(gate.rows[0]["offset"] or 0.0, Rule().sitting_offset)
    words = ("check", "--rounds", str(rounds), "--offset", f"{offset:.2%}", "--device", "cpu", "--json")
    for _ in range(repetitions):
        yield from gate.judged(f"check --offset {offset:.2%}, nothing changed", words, "cases.py")
    seen = next(row["smallest_change"] for row in gate.rows if str(row["key"]).startswith(SLOWED))
    share = 2 * seen
    changed = CASES.replace('SLOWED, SHARE = "", 0.0', f'SLOWED, SHARE = "{SLOWED}", {share!r}')
    (folder / "slowed.py").write_text(changed)
    slowed = f"check --offset {offset:.2%}, {SLOWED} {share:.1%} slower"
    yield from gate.judged(slowed, words, "slowed.py", {SLOWED: "slower"})


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="the gate's false alarms and a planted slowdown on this CPU")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--json", type=Path, help="write one object a command to this file as well")
    asked = parser.parse_args(arguments)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for line in lines(Path(folder), asked.repetitions, asked.rounds):
            found.append(line)
            print(f"{line.outcome:6} {line.command}: exit {line.exit_code}, {line.verdicts}, "
                  f"{line.seconds:.0f} s", flush=True)  # fmt: skip
            if asked.json:
                asked.json.write_text("".join(json.dumps(asdict(one)) + "\n" for one in found))
    return int(any(line.outcome == "BROKEN" for line in found))


if __name__ == "__main__":
    raise SystemExit(main())
