"""Other tools' formats: one file a format, records in or out.

export("bencher", [run]).files        {"bencher.json": "..."}
read("results.json")                  Records, marked as imported
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from benchbench.exchange.source import Export, Run, is_imported
from benchbench.record import Record

__all__ = ["EXPORTS", "IMPORTS", "Export", "Run", "export", "is_imported", "read", "write"]

# The name on the command line, and the module that knows the format.
EXPORTS = {
    "asv": "asv",
    "bencher": "bencher",
    "csv": "tidy_csv",
    "github-action-benchmark": "github_action_benchmark",
    "otava": "otava",
    "pytest-benchmark": "pytest_benchmark",
    "pytorch-hud": "pytorch_hud",
    "timm": "timm_csv",
}
IMPORTS = {
    "google-benchmark": "google_benchmark",
    "hyperfine": "hyperfine",
    "nvbench": "nvbench",
    "timm": "timm_csv",
}


def export(name: str, runs: Sequence[Run]) -> Export:
    """The files of a format. Raises ValueError for an unknown format, or what it has no place for at all."""
    exported: Export = _function(EXPORTS, name, "export")(runs)
    return exported


def write(exported: Export, folder: Path) -> list[Path]:
    """Write the files under a folder, which is made; the paths written."""
    written = []
    for name, text in exported.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def read(path: Path | str, name: str = "") -> list[Record]:
    """The Records in a file of another tool; without a name, the tool whose format it looks like.

    Raises ValueError, in one line, for a file that is of no known format or is broken.
    """
    path = Path(path)
    text = path.read_text(encoding="utf-8-sig")
    chosen = name or _recognised(text)
    if not chosen:
        raise ValueError(f"{path.name} looks like none of {', '.join(IMPORTS)}: name its format")
    try:
        records: list[Record] = _function(IMPORTS, chosen, "read")(text, path)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"{path.name} is no {chosen} file: {type(error).__name__} {error}") from None
    except ValueError as error:
        raise ValueError(f"{path.name}, read as {chosen}: {error}") from None
    if not records:
        raise ValueError(f"{path.name}, read as {chosen}: it has no result")
    return _numbered(records)


def _numbered(records: Sequence[Record]) -> list[Record]:
    """Results of the same name are rounds of one point, in their order: a run holds one record a point and round."""
    seen: Counter[str] = Counter()
    numbered = []
    for record in records:
        numbered.append(replace(record, round=seen[record.key]))
        seen[record.key] += 1
    return numbered


def _recognised(text: str) -> str:
    for name in IMPORTS:
        try:
            if _function(IMPORTS, name, "recognises")(text):
                return name
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            continue
    return ""


def _function(formats: dict[str, str], name: str, function: str) -> Callable[..., Any]:
    if name not in formats:
        raise ValueError(f"format {name!r} is none of {', '.join(sorted(formats))}")
    found: Callable[..., Any] = getattr(import_module(f"benchbench.exchange.{formats[name]}"), function)
    return found
