"""One run folder while it is worked on: opened or continued, locked, measured with progress, read again."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from benchbench import store as folders
from benchbench.commands.progress import Progress
from benchbench.record import Record
from benchbench.run import Outcome, Settings, Turn, sweep
from benchbench.store import Run
from benchbench.sweeps.presets import Preset


class Sitting:
    """A context in which turns are measured into one run. The run is made, or continued, by the first of them.

    Raises store.Mixed where this machine is not the one that the run was begun on, store.Locked where somebody else is
    working on the run or on the GPU.
    """

    def __init__(
        self,
        store: Path,
        question: Mapping[str, Any],
        how: Settings,
        preset: Preset,
        *,
        begun: Run | None = None,
        tag: str = "",
    ) -> None:
        self.run: Run | None = begun
        self._store, self._question, self._how, self._preset, self._tag = store, question, how, preset, tag
        self._held = ExitStack()
        self._locked = False

    def __enter__(self) -> Sitting:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._held.close()

    def measure(self, turns: Sequence[Turn]) -> Outcome:
        """Measure the turns, less what is done, and say how it ended."""
        with Progress() as progress:
            return sweep(turns, self._how, open_run=self._open, listener=progress, controls=controls())

    def records(self) -> list[Record]:
        """What is in the run so far."""
        return self.run.read()[0] if self.run is not None else []

    def _open(self, hello: Mapping[str, Any]) -> Run:
        if self.run is None:
            self.run = folders.create(self._store, self._run_json(hello))
        folders.refuse_other_conditions(self.run, hello["testbed"])
        if not self._locked:
            holder = f"run {self.run.id}"
            self._held.enter_context(folders.lock(self.run.folder / "lock", holder))
            for name in hello.get("gpus", ()):
                self._held.enter_context(folders.lock(folders.lock_folder() / f"{name}.lock", holder))
            self._locked = True
        return self.run

    def _run_json(self, hello: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "schema": 1,
            "asked": dict(self._question),
            "testbed": hello["testbed"],
            "description": hello["description"],
            "preset_note": self._preset.note,
            "tag": self._tag,
            "command": command_line(),
            "began": time.time(),
        }


def command_line() -> str:
    """What was typed."""
    return shlex.join(["bench", *sys.argv[1:]])


def as_json(value: Any) -> Any:
    """The value as it comes back from a file: tuples are lists."""
    return json.loads(json.dumps(value))


def controls() -> frozenset[str]:
    """The cases that are in every round of every run."""
    from benchbench.case import CASES

    return frozenset(name for name, case in CASES.items() if case.kind == "control")
