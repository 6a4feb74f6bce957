"""What a sweep shows while it runs: done / total, time left, the point; a line a point where nothing redraws."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from benchbench.commands.terminal import Manners, console, is_live, say
from benchbench.plan import Point
from benchbench.record import Record

REDRAWS_PER_S = 4


class Progress:
    """A Listener that draws; use it as a context manager, so that the terminal is left as it was found."""

    def __init__(self) -> None:
        self._total = self._done = 0
        self._measured = 0
        self._began = time.monotonic()
        self._live: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        if Manners.quiet or not is_live():
            return self
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (
            MofNCompleteColumn(),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}", markup=False),
        )
        self._live = Bar(
            *columns, console=console(stderr=True), transient=True, refresh_per_second=REDRAWS_PER_S, auto_refresh=True
        )
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def planned(self, *, total: int, done: int) -> None:
        """See run.Listener."""
        self._total, self._done, self._began = total, done, time.monotonic()
        if self._live is not None:
            self._task = self._live.add_task("starting", total=total, completed=done)
        elif done and not Manners.quiet:
            say(f"continuing: {done} of {total} are measured")

    def began(self, point: Point, *, round_number: int) -> None:
        """See run.Listener."""
        if self._live is not None:
            self._live.update(self._task, description=f"round {round_number + 1}  {label(point.key)}")

    def ended(self, record: Record) -> None:
        """See run.Listener."""
        self._done += 1
        self._measured += 1
        if self._live is not None:
            self._live.update(self._task, completed=self._done)
        elif not Manners.quiet and (record.status != "skip" or Manners.verbose):
            say(f"[{self._done}/{self._total}] round {record.round + 1}  {label(record.key)}  {_outcome(record)}")


def label(key: str) -> str:
    """A key without the version and the names of the axes: "depthwise_conv 128 cold 3 nchw forward fp32 96x56x56"."""
    name, *settings = key.split(";")
    return " ".join([name.partition("@")[0], *(setting.partition("=")[2] for setting in settings)])


def _outcome(record: Record) -> str:
    from statistics import median

    from benchbench.units import time_text

    if record.status == "ok":
        return time_text(median(record.samples_s))
    return f"{record.status}: {record.reason}"
