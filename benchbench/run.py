"""The parent of a sweep: rounds x points, shuffled, resumed, timed out, never lost. It never imports torch."""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from benchbench.case import AUTO, Value
from benchbench.child import CannotMeasure, Died, Settings, Turn, Worker, environment_of
from benchbench.plan import Point
from benchbench.record import Record
from benchbench.store import Run, Writer

__all__ = ["CannotMeasure", "Listener", "Outcome", "Settings", "Turn", "order", "rounds_of", "sweep"]

LEAST_TIME_LIMIT_S = 60.0
# A training step of a network with our kernels compiles eight to ten of them, each up to half a minute on a busy core.
KERNELS_TIME_LIMIT_S = 300.0
COMPILING_TIME_LIMIT_S = 900.0
EXPECTED_TIMES = 20
OF_TRITON = ("triton", "triton-blocks", "naive")


def rounds_of(points: Sequence[Point], rounds: int) -> list[Turn]:
    """The turns of a plain sweep: every point in every round."""
    return [Turn(points, number) for number in range(rounds)]


class Listener(Protocol):
    """Who wants to know how the sweep goes on. Called from the sweep's own threads, one call at a time."""

    def planned(self, *, total: int, done: int) -> None:
        """Before the first point: (point, round) pairs in all, and how many were measured before."""

    def began(self, point: Point, *, round_number: int) -> None:
        """A point is being measured."""

    def ended(self, record: Record) -> None:
        """Its record is on disk."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a sweep ended: complete, out of budget, or interrupted."""

    complete: bool
    out_of_budget: bool = False
    interrupted: bool = False


def order(points: Sequence[Point], *, seed: int, round_number: int, controls: frozenset[str]) -> list[Point]:
    """The points of one round: controls first, each group shuffled by the seed and the round."""
    shuffled = sorted(points, key=lambda point: point.key)
    random.Random(f"{seed}:{round_number}").shuffle(shuffled)
    return sorted(shuffled, key=lambda point: point.case not in controls)


def sweep(
    turns: Sequence[Turn],
    settings: Settings,
    *,
    open_run: Callable[[Mapping[str, Any]], Run],
    listener: Listener,
    controls: frozenset[str] = frozenset(),
) -> Outcome:
    """Measure what has no result yet, turn by turn, each answer on disk before the next point.

    open_run gets the description of the machine from the first worker, and gives the run to append to; it raises where
    continuing that run here would mix machines. Raises CannotMeasure where no worker starts, StoreError where the
    folder cannot be written; what was measured is safe.
    """
    first = Worker(settings, settings.devices[0])
    try:
        hello = first.start(turns[0])
        run = open_run(hello)
        writer = Writer(run)
    except BaseException:
        first.kill()
        raise
    sitting = len(run.sittings())
    writer.append_sitting({"began": time.time(), "description": hello["description"], "settings": asdict(settings)})
    records, _ = run.read()
    done = _finished(records, settings)
    lanes = [_Lane(device, settings, writer, listener, sitting, controls) for device in settings.devices]
    lanes[0].worker = first
    share = [[_part(turn, i, len(lanes)) for turn in turns] for i in range(len(lanes))]
    places = [(point.key, turn.round, turn.arm) for turn in turns for point in turn.points]
    listener.planned(total=len(places), done=sum(place in done for place in places))
    began = time.monotonic()
    try:
        _work(lanes, share, records, done, began)
    except KeyboardInterrupt:
        return Outcome(complete=False, interrupted=True)
    finally:
        for lane in lanes:
            lane.stop()
        writer.close()
    out_of_budget = any(lane.out_of_budget for lane in lanes)
    return Outcome(complete=not out_of_budget, out_of_budget=out_of_budget)


Places = set[tuple[str, int, str]]


def _finished(records: Sequence[Record], settings: Settings) -> Places:
    again = ("oom", "timeout", "crash", "fail", "wrong", "impossible") if settings.retry_failed else ()
    return {(r.key, r.round, r.arm) for r in records if r.status not in again}


def _part(turn: Turn, index: int, lanes: int) -> Turn:
    """What one of several devices measures of a turn."""
    return replace(turn, points=turn.points[index::lanes])


def _work(
    lanes: Sequence[_Lane],
    share: Sequence[Sequence[Turn]],
    records: Sequence[Record],
    done: Places,
    began: float,
) -> None:
    """Run the lanes side by side, one strictly serial worker each. The first error of a lane ends all."""
    if len(lanes) == 1:
        lanes[0].work(share[0], records, done, began)
        return
    errors: list[BaseException] = []

    def guarded(lane: _Lane, turns: Sequence[Turn]) -> None:
        try:
            lane.work(turns, records, done, began)
        except BaseException as error:
            errors.append(error)
            for other in lanes:
                other.stopping.set()

    threads = [threading.Thread(target=guarded, args=pair) for pair in zip(lanes, share, strict=True)]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)
    except KeyboardInterrupt:
        for lane in lanes:
            lane.stop()
        raise
    if errors:
        raise errors[0]


_WRITING = threading.Lock()


class _Lane:
    """The serial work on one device: rounds of fresh processes, and a new process after a crash."""

    def __init__(
        self,
        device: str,
        settings: Settings,
        writer: Writer,
        listener: Listener,
        sitting: int,
        controls: frozenset[str],
    ) -> None:
        self.worker = Worker(settings, device)
        self.out_of_budget = False
        self.stopping = threading.Event()
        self._settings, self._writer, self._listener = settings, writer, listener
        self._sitting, self._controls = sitting, controls
        self._process = 0
        self._copies: list[tuple[int, float]] = []
        self._took_s: dict[str, float] = {}
        self._verified: set[tuple[str, str]] = set()
        self._batches: dict[str, Value] = {}

    def work(self, turns: Sequence[Turn], records: Sequence[Record], done: Places, began: float) -> None:
        """All turns, less what is done."""
        for record in records:
            self._remember_batch(record)
        for turn in turns:
            ordered = order(turn.points, seed=self._settings.seed, round_number=turn.round, controls=self._controls)
            left = [point for point in ordered if (point.key, turn.round, turn.arm) not in done]
            before = [r for r in records if (r.round, r.arm) == (turn.round, turn.arm)]
            self._copies = [copy for r in before for copy in _copy_of(r, self._controls)]
            for point in left:
                if self.stopping.is_set() or self._is_over_budget(began):
                    return
                self._one(point, turn)
            if left:
                self.worker.stop()

    def stop(self) -> None:
        """End the worker, and the lane after the point in flight."""
        self.stopping.set()
        self.worker.kill()

    def _is_over_budget(self, began: float) -> bool:
        budget = self._settings.budget_s
        self.out_of_budget = budget is not None and time.monotonic() - began >= budget
        return self.out_of_budget

    def _one(self, point: Point, turn: Turn) -> None:
        with _WRITING:
            self._listener.began(point, round_number=turn.round)
        record = self._record_of(point, turn)
        with _WRITING:
            self._writer.append(record)
            self._listener.ended(record)
        self._copies += _copy_of(record, self._controls)

    def _record_of(self, point: Point, turn: Turn) -> Record:
        place: dict[str, Any] = {"round": turn.round, "sitting": self._sitting, "arm": turn.arm}
        bare = Record(point.key, point.case, point.version, point.params, "skip", point.skip, **place)
        if point.skip:
            return bare
        try:
            self._make_ready(turn)
            began = time.monotonic()
            verified = (point.key, turn.arm) in self._verified
            record, restart = self.worker.measure(self._with_batch(point), self._copies, verified, self._limit_s(point))
            self._took_s[point.key] = time.monotonic() - began
            self._remember_batch(record)
            if record.status == "ok" and record.error:
                self._verified.add((point.key, turn.arm))
            if restart:
                self.worker.stop()
            return replace(record, process=self._process, **place)
        except Died as death:
            return replace(bare, status=death.status, reason=str(death), process=self._process)

    def _remember_batch(self, record: Record) -> None:
        """What "auto" found is the batch of all rounds, and of the other arm."""
        if record.status == "ok" and "batch" in record.params:
            self._batches.setdefault(record.key, record.params["batch"])

    def _with_batch(self, point: Point) -> Point:
        if point.params.get("batch") != AUTO or point.key not in self._batches:
            return point
        return replace(point, params={**point.params, "batch": self._batches[point.key]})

    def _make_ready(self, turn: Turn) -> None:
        """A worker of this turn's environment; the one that said hello serves where that is the same."""
        if (
            self.worker.alive
            and self.worker.turn is not None
            and environment_of(self.worker.turn) != environment_of(turn)
        ):
            self.worker.stop()
        if not self.worker.alive:
            self._process += 1
            self.worker.start(turn)

    def _limit_s(self, point: Point) -> float:
        if self._settings.timeout_s is not None:
            return self._settings.timeout_s
        return max(_least_limit_s(point), EXPECTED_TIMES * self._took_s.get(point.key, 0.0))


def _least_limit_s(point: Point) -> float:
    """The time limit of a point that was not measured before: longer where it compiles, or tries batch after batch."""
    if str(point.params.get("compile", "eager")) != "eager":
        return COMPILING_TIME_LIMIT_S
    if point.params.get("backend") in OF_TRITON or point.params.get("batch") == AUTO:
        return KERNELS_TIME_LIMIT_S
    return LEAST_TIME_LIMIT_S


def _copy_of(record: Record, controls: frozenset[str]) -> Iterator[tuple[int, float]]:
    """Bytes moved and median seconds of a copy control."""
    if record.case in controls and "copy" in record.case and record.samples_s and record.work:
        yield record.work["bytes_read"] + record.work["bytes_written"], statistics.median(record.samples_s)
