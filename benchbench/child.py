"""One worker process as its parent sees it: started, told, listened to within a time limit, ended with its children."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchbench.plan import Point
from benchbench.record import Record, from_line

Copies = Sequence[tuple[int, float]]
START_LIMIT_S = 300.0


class CannotMeasure(Exception):
    """The worker does not start here; the message is one line."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a sweep is measured.

    policy:    the fields of timer.Policy, as JSON.
    timeout_s: limit of one point; None: 20 times its time in an earlier round, at least 60 s (900 s where it compiles).
    budget_s:  the sweep stops cleanly, between two points, once it has run this long.
    """

    devices: tuple[str, ...]
    seed: int = 0
    policy: Mapping[str, Any] = field(default_factory=dict)
    timeout_s: float | None = None
    budget_s: float | None = None
    imports: tuple[str, ...] = ()
    retry_failed: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """One round of one arm: a fresh process in which these points are measured, in an order of its own.

    python, folder, overlay: another interpreter, another working folder (a checked-out revision), and a folder whose
    packages take the place of ours; empty: as the parent.
    """

    points: Sequence[Point]
    round: int = 0
    arm: str = ""
    python: str = ""
    folder: str = ""
    overlay: str = ""


def environment_of(turn: Turn) -> tuple[str, str, str]:
    return (turn.python, turn.folder, turn.overlay)


def _environment(turn: Turn) -> dict[str, str] | None:
    """A checked-out revision comes first on the path, but behind the benchbench that measures."""
    if not turn.folder:
        return None
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = [here, turn.folder, os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}


class Died(Exception):
    """The worker ended, or was ended, in the middle of a point. status: crash or timeout."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Worker:
    """One child process and the pipes to it."""

    def __init__(self, settings: Settings, device: str) -> None:
        self._settings, self._device = settings, device
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: Any = None
        self._answers = -1
        self._buffer = b""
        self.turn: Turn | None = None

    def start(self, turn: Turn) -> dict[str, Any]:
        """Start the process and wait for its description of the machine. Raises CannotMeasure."""
        self.turn = turn
        answers, theirs = os.pipe()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the process)
        self._process = subprocess.Popen(
            [turn.python or sys.executable, "-m", "benchbench.worker", str(theirs)],
            cwd=turn.folder or None,
            env=_environment(turn),
            stdin=subprocess.PIPE,
            stdout=self._errors,
            stderr=self._errors,
            pass_fds=(theirs,),
            start_new_session=True,
        )
        os.close(theirs)
        self._answers, self._buffer = answers, b""
        job = {
            "device": self._device,
            "devices": list(self._settings.devices),
            "policy": dict(self._settings.policy),
            "imports": list(self._settings.imports),
            "seed": self._settings.seed,
            "overlay": turn.overlay,
        }
        try:
            self._tell(job)
            hello: dict[str, Any] = self._hear(START_LIMIT_S)["hello"]
        except Died as death:
            raise CannotMeasure(f"the worker did not start: {death}") from None
        return hello

    def measure(self, point: Point, copies: Copies, verified: bool, limit_s: float) -> tuple[Record, bool]:
        """The record of one point, and whether the process must not be used again. Raises Died."""
        self._tell({"point": asdict(point), "copies": copies, "verified": verified})
        answer = self._hear(limit_s)
        return from_line(json.dumps(answer["record"])), bool(answer["restart"])

    def _tell(self, message: Mapping[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise self._death() from None

    def _hear(self, limit_s: float) -> dict[str, Any]:
        """The next line from the worker. Raises Died where none comes in time, or none can come any more."""
        deadline = time.monotonic() + limit_s
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._answers], [], [], left)[0]:
                self.kill()
                raise Died("timeout", f"no answer within {limit_s:.0f} s")
            piece = os.read(self._answers, 1 << 16)
            if not piece:
                raise self._death()
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def _death(self) -> Died:
        assert self._process is not None
        self._end_group()
        code = self._process.wait()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        last = self._last_words()
        self._close()
        return Died("crash", f"the worker {how}{': ' + last if last else ''}")

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read().decode(errors="replace").splitlines() if line.strip()]
        return lines[-1][:300] if lines else ""

    def _end_group(self) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def kill(self) -> None:
        """End the process and its children at once."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._end_group()
            self._process.wait()
        self._close()

    def stop(self) -> None:
        """Let the process end by itself; nothing is in flight."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._end_group()
            self._process.wait()
        self._close()

    def _close(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        if self._answers >= 0:
            os.close(self._answers)
            self._answers = -1
        if self._errors is not None:
            self._errors.close()
        self._process = None

    @property
    def alive(self) -> bool:
        """Whether a point can be sent."""
        return self._process is not None
