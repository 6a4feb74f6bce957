"""Where answers live: a folder a run, appended to with fsync, read without writing, locked while it is worked on."""

from __future__ import annotations

import errno
import fcntl
import gc
import gzip
import json
import os
import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchbench.case import nearest
from benchbench.record import Record, SchemaError, from_line, to_line

# Counters that were imported beside the records of a run: one object a line, with "key" and metrics in base units.
COUNTERS = "counters.jsonl"


class StoreError(Exception):
    """A folder that cannot be used; the message is one line and says what to do next."""


class NotFound(StoreError):
    """No such run: a word that names none, or more than one."""


class Mixed(StoreError):
    """Continuing here would mix machines or conditions in one run; the message names the field."""


class Locked(StoreError):
    """Somebody else is working on it; the message names the holder."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A line of records.jsonl that could not be read. torn: the last line, cut short; it is measured again."""

    line: int
    reason: str
    torn: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder: ``run.json`` (what was asked), ``sittings.jsonl`` (who worked on it), ``records.jsonl``."""

    folder: Path

    @property
    def id(self) -> str:
        """The name of the folder."""
        return self.folder.name

    def asked(self) -> dict[str, Any]:
        """The contents of run.json. Raises NotFound where it cannot be read."""
        try:
            found = json.loads((self.folder / "run.json").read_text())
        except (OSError, ValueError) as error:
            raise NotFound(f"{self.folder} is no run: its run.json cannot be read ({error})") from None
        if not isinstance(found, dict):
            raise NotFound(f"{self.folder} is no run: its run.json is no object")
        return found

    def sittings(self) -> list[dict[str, Any]]:
        """One object a sitting, oldest first."""
        path = self.folder / "sittings.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def read(self) -> tuple[list[Record], list[Damage]]:
        """The records, the last one of each (key, round, arm), and the lines that could not be read."""
        kept: dict[tuple[str, int, str], Record] = {}
        damage: list[Damage] = []
        with _collecting_no_garbage():
            for number, line, complete in _lines(self.folder):
                try:
                    if not complete:
                        raise SchemaError("cut short")
                    record = from_line(line)
                except SchemaError as error:
                    damage.append(Damage(number, str(error), torn=not complete))
                    continue
                place = (record.key, record.round, record.arm)
                kept.pop(place, None)
                kept[place] = record
        return list(kept.values()), damage

    def counters(self) -> dict[str, dict[str, Any]]:
        """Imported hardware counters by key; empty where none were imported."""
        path = self.folder / COUNTERS
        lines = path.read_text().splitlines() if path.exists() else []
        return {row["key"]: row for row in map(json.loads, lines)}


@contextmanager
def _collecting_no_garbage() -> Iterator[None]:
    """Records hold no cycles, and looking for some among millions of numbers takes as long as reading them."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _lines(folder: Path) -> Iterator[tuple[int, str, bool]]:
    """Each line with its number and whether it ends in a newline, from records.jsonl or records.jsonl.gz."""
    path, packed = folder / "records.jsonl", folder / "records.jsonl.gz"
    if not path.exists() and not packed.exists():
        return
    with path.open("rb") if path.exists() else gzip.open(packed, "rb") as file:
        for number, raw in enumerate(file, start=1):
            line = raw.decode("utf-8", errors="replace")
            if line.strip():
                yield number, line.rstrip("\n"), line.endswith("\n")


def create(store: Path, asked: Mapping[str, Any], *, name: str = "") -> Run:
    """A new run folder. Raises StoreError where the store cannot be written."""
    for _ in range(100):
        run_id = name or f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"
        folder = store / run_id
        try:
            folder.mkdir(parents=True)
            _write_durably(folder / "run.json", json.dumps(asked, indent=1, sort_keys=True) + "\n")
            return Run(folder)
        except FileExistsError:
            if name:
                raise StoreError(f"{folder} exists already: choose another name") from None
        except OSError as error:
            raise StoreError(f"cannot write to {store}: {error.strerror}: choose another with --store") from None
    raise StoreError(f"no free name for a run in {store}")


def _write_durably(path: Path, text: str) -> None:
    with path.open("x") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


class Writer:
    """Appends to one run, a line at a time, each on disk before the call returns.

    Opening it cuts off a torn last line, so that the point of that line counts as not measured.
    Raises StoreError where the folder cannot be written or the disk is full: what was written before is safe.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._path = run.folder / "records.jsonl"
        if (run.folder / "records.jsonl.gz").exists():
            raise StoreError(f"run {run.id} is packed (records.jsonl.gz): unpack it before continuing, or use --new")
        try:
            self._handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            _cut_torn_line(self._path)
        except OSError as error:
            raise self._refusal(error) from None

    def _refusal(self, error: OSError) -> StoreError:
        return StoreError(
            f"cannot write to {self._run.folder}: {error.strerror}: what was measured is safe; "
            "free the disk or the permissions, then run the same command again"
        )

    def append(self, record: Record) -> None:
        """Write one record and wait until it is on disk."""
        line = to_line(record).encode() + b"\n"
        start = os.fstat(self._handle).st_size
        try:
            if os.write(self._handle, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._handle)
        except OSError as error:
            with _ignoring_os_errors():
                os.ftruncate(self._handle, start)
            raise self._refusal(error) from None

    def append_sitting(self, sitting: Mapping[str, Any]) -> None:
        """Write one line of sittings.jsonl and wait until it is on disk."""
        try:
            with (self._run.folder / "sittings.jsonl").open("a") as file:
                file.write(json.dumps(sitting, sort_keys=True) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise self._refusal(error) from None

    def close(self) -> None:
        """Close the file; every record is on disk already."""
        with _ignoring_os_errors():
            os.close(self._handle)


@contextmanager
def _ignoring_os_errors() -> Iterator[None]:
    try:
        yield
    except OSError:
        return


def _cut_torn_line(path: Path) -> None:
    size = path.stat().st_size
    if not size:
        return
    with path.open("rb") as file:
        file.seek(size - 1)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        os.truncate(path, file.read().rfind(b"\n") + 1)


@contextmanager
def lock(path: Path, holder: str) -> Iterator[None]:
    """Hold a lock file; the lock ends with the process, however it ends. Raises Locked, naming the holder."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise StoreError(f"cannot write to {path.parent}: {error.strerror}: choose another with --store") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = os.read(handle, 500).decode(errors="replace").strip() or "an unnamed process"
            raise Locked(f"{path.stem} is in use by {other}: wait for it, or stop it") from None
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()}, {holder}\n".encode())
        yield
    finally:
        os.close(handle)


def runs(store: Path) -> list[Run]:
    """The runs of a store, oldest first."""
    if not store.is_dir():
        return []
    folders = [entry for entry in store.iterdir() if (entry / "run.json").is_file()]
    return [
        Run(folder)
        for folder in sorted(folders, key=lambda f: (f.stat().st_mtime_ns if f.name[:1] != "2" else 0, f.name))
    ]


def find(store: Path, word: str) -> Run:
    """The run that a word means: an id, a unique prefix, ``latest``, ``latest~1``, ``@tag`` or a path.

    Raises NotFound, with the nearest id, where there is none.
    """
    path = Path(word)
    if (path / "run.json").is_file():
        return Run(path)
    known = runs(store)
    if not known:
        raise NotFound(f"no runs in {store}: measure one with bench sweep, or name another --store")
    if word.startswith("latest"):
        back = word.removeprefix("latest").removeprefix("~") or "0"
        if not back.isdigit() or word.removeprefix("latest")[:1] not in ("", "~"):
            raise NotFound(f"{word!r} is no run: write latest or latest~1")
        if int(back) >= len(known):
            raise NotFound(f"{word}: there are only {len(known)} runs in {store}")
        return known[-1 - int(back)]
    if word.startswith("@"):
        tagged = [run for run in known if run.asked().get("tag") == word[1:]]
        if not tagged:
            raise NotFound(f"no run is tagged {word!r}: tag one with bench sweep --tag {word[1:]}")
        return tagged[-1]
    matching = [run for run in known if run.id.startswith(word)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise NotFound(f"{word!r} could be {' or '.join(run.id for run in matching[:4])}: write more of it")
    raise NotFound(f"no run is called {word!r}: {nearest(word, [run.id for run in known])}")


def unfinished(store: Path, asked: Mapping[str, Any], wanted: int, *, retry_failed: bool = False) -> Run | None:
    """The newest run of which the same was asked, if it has fewer than the wanted number of records.

    With retry_failed also a run that has them all, some of them failed.
    """
    question = json.loads(json.dumps(asked))
    for run in reversed(runs(store)):
        if run.asked().get("asked") == question:
            records, _ = run.read()
            failed = retry_failed and any(record.status not in ("ok", "skip") for record in records)
            return run if failed or len(records) < wanted else None
    return None


def lock_folder() -> Path:
    """Where the locks of devices live: one folder for all users of this machine."""
    return Path(tempfile.gettempdir())


def refuse_other_conditions(run: Run, testbed: Mapping[str, Any]) -> None:
    """Raises Mixed, naming the first field in which this machine differs from the one the run was begun on."""
    before = run.asked().get("testbed", {})
    for name in sorted({*before, *testbed}):
        if before.get(name) != testbed.get(name):
            raise Mixed(
                f"run {run.id} was begun with {name} {before.get(name)!r}, here it is {testbed.get(name)!r}: "
                "measure a new run with --new"
            )


def merged(sources: Sequence[Run]) -> tuple[list[Record], list[Damage]]:
    """The records of several runs as if of one; of the same (key, round, arm) the last run's counts."""
    kept: dict[tuple[str, int, str], Record] = {}
    damage: list[Damage] = []
    for run in sources:
        records, broken = run.read()
        damage += broken
        for record in records:
            kept[(record.key, record.round, record.arm)] = record
    return list(kept.values()), damage


def merge(store: Path, parts: Sequence[Run], *, name: str = "", cross: bool = False) -> Run:
    """A new run with the records of all parts. Raises Mixed where their testbeds differ, unless ``cross``."""
    asked = parts[0].asked()
    if not cross:
        for part in parts[1:]:
            refuse_other_conditions(part, asked.get("testbed", {}))
    records, _ = merged(parts)
    whole = {**asked, "merged_from": [part.id for part in parts]}
    whole["asked"] = {**asked["asked"], "shard": "", "points": {"count": len({record.key for record in records})}}
    run = create(store, whole, name=name)
    writer = Writer(run)
    for part in parts:
        for sitting in part.sittings():
            writer.append_sitting(sitting)
    for record in records:
        writer.append(record)
    writer.close()
    return run
