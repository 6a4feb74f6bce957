"""Which run is the baseline? Named, and one for each testbed: a GPU is never compared with another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchbench.store import NotFound, Run, StoreError
from benchbench.store import find as find_run


@dataclass(frozen=True, slots=True)
class Baseline:
    """A name, the testbed it holds for, and the id of the run."""

    name: str
    testbed: Mapping[str, Any]
    run: str


class NoBaseline(StoreError):
    """There is nothing to compare with."""


def put(store: Path, name: str, run: Run) -> None:
    """Pin a run as the baseline of this name for its testbed.

    Raises NotFound for a run that another tool measured, or that has no good point; StoreError where it cannot be kept.
    """
    if not any(record.status == "ok" for record in run.read()[0]):
        raise NotFound(f"run {run.id} has no measured point: it cannot be a baseline")
    asked = run.asked()
    testbed = asked.get("testbed", {})
    if asked.get("asked", {}).get("plan") == "import" or "imported" in testbed:
        raise NotFound(f"run {run.id} was imported: a baseline is measured here")
    path = _file(store, name, testbed)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"name": name, "testbed": testbed, "run": run.id}, indent=1, sort_keys=True) + "\n")
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}: choose another --store") from None


def every(store: Path) -> list[Baseline]:
    """All baselines of a store, by name."""
    folder = store / "baselines"
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))] if folder.is_dir() else []
    return [Baseline(one["name"], one["testbed"], one["run"]) for one in found]


def find(store: Path, name: str, testbed: Mapping[str, Any] | None) -> Run:
    """The run of the baseline; of several testbeds that of the given one. Raises NoBaseline, saying how to set one."""
    named = [one for one in every(store) if one.name == name]
    fitting = [one for one in named if testbed is None or one.testbed == testbed]
    if not named:
        raise NoBaseline(f"no baseline is called {name!r}: measure one (bench sweep), then bench baseline set {name}")
    if not fitting:
        raise NoBaseline(f"baseline {name} is of other testbeds: set one for this, with bench baseline set {name} RUN")
    return find_run(store, fitting[-1].run)


def remove(store: Path, name: str) -> None:
    """Forget a baseline on all testbeds. Raises NotFound where there is none."""
    named = [one for one in every(store) if one.name == name]
    if not named:
        raise NotFound(f"no baseline is called {name!r}: see bench baseline list")
    for one in named:
        _file(store, name, one.testbed).unlink()


def _file(store: Path, name: str, testbed: Mapping[str, Any]) -> Path:
    if not name or "/" in name or name.startswith("."):
        raise NotFound(f"{name!r} cannot name a baseline: use letters, digits and dashes")
    digest = hashlib.sha256(json.dumps(testbed, sort_keys=True).encode()).hexdigest()[:12]
    return store / "baselines" / f"{name}-{digest}.json"
