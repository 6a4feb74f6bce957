"""How bench speaks: tables and documents to stdout, progress and warnings to stderr."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 200  # columns in a pipe, where Rich would fall back to 80 and cut names
DEFAULT_STORE = Path("bench-runs")

Store = Annotated[Path, typer.Option("--store", metavar="DIR", help="Where runs live.")]
Imports = Annotated[
    list[str] | None, typer.Option("--import", metavar="FILE_OR_MODULE", help="Cases of your own; may be repeated.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document and nothing else.")]
Format = Annotated[str, typer.Option("--format", help="table, md or csv.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to a file.")]


class Manners:
    """How much bench says, set once by the options before the command."""

    quiet = False
    verbose = False
    color = "auto"

    @classmethod
    def set(cls, *, quiet: bool, verbose: bool, color: str) -> None:
        """Raises PlanError for a colour setting that is none."""
        from benchbench.case import nearest
        from benchbench.plan import PlanError

        if color not in ("auto", "always", "never"):
            raise PlanError(f"--color {color!r}: {nearest(color, ('auto', 'always', 'never'))}")
        cls.quiet, cls.verbose, cls.color = quiet, verbose, color


@contextmanager
def usage() -> Iterator[None]:
    """Inside, a ValueError is what the caller asked for wrongly, and an OSError a file that cannot be written."""
    from benchbench.plan import PlanError
    from benchbench.store import StoreError

    try:
        yield
    except ValueError as error:
        raise PlanError(str(error)) from None
    except BrokenPipeError:
        # The reader of a pipe has gone, which is no fault.
        raise
    except OSError as error:
        raise StoreError(f"cannot write {error.filename}: {error.strerror}: choose another place with -o") from None


def say(text: str) -> None:
    """One line to stderr."""
    print(text, file=sys.stderr, flush=True)


def note(text: str) -> None:
    """One line to stderr, unless bench is quiet."""
    if not Manners.quiet:
        say(text)


def console(*, stderr: bool = False) -> Console:
    """Rich's console: wide in a pipe, coloured as NO_COLOR, FORCE_COLOR and --color say."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    wide = None if stream.isatty() else WIDE
    forced = True if Manners.color == "always" else None
    return Console(file=stream, width=wide, no_color=Manners.color == "never" or None, force_terminal=forced)


def print_json(document: Any) -> None:
    """A document to stdout; what is missing or not finite is null."""
    print(json.dumps(_plain(document), indent=1, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return None if str(value) in ("<NA>", "NaT") else str(value)


def print_rows(
    rows: Sequence[Mapping[str, Any]],
    *,
    as_json: bool = False,
    form: str = "table",
    output: Path | None = None,
    title: str = "",
    limit: int | None = 200,
) -> None:
    """Rows as a table, Markdown, CSV or JSON, to stdout or to a file whose suffix then decides.

    Raises PlanError for an unknown format, StoreError where the file cannot be written.
    """
    from benchbench.case import nearest
    from benchbench.plan import PlanError
    from benchbench.store import StoreError

    if output is not None:
        form = {".csv": "csv", ".md": "md", ".json": "json"}.get(output.suffix, form)
    form = "json" if as_json else form
    if form not in ("table", "md", "csv", "json"):
        raise PlanError(f"--format {form!r}: {nearest(form, ('table', 'md', 'csv', 'json'))}")
    if output is None and form == "table":
        _print_table(rows, title, limit)
        return
    text = _document(rows, form)
    if output is None:
        # Markdown joins tables that no blank line parts.
        print(f"\n**{title}**\n\n{text}" if title and form == "md" else text, end="")
        return
    try:
        output.write_text(text)
    except OSError as error:
        raise StoreError(f"cannot write {output}: {error.strerror}: choose another file with -o") from None


def _document(rows: Sequence[Mapping[str, Any]], form: str) -> str:
    if form == "json":
        return json.dumps(_plain(rows), indent=1, allow_nan=False) + "\n"
    names = list(rows[0]) if rows else []
    if form == "csv":
        import csv
        import io

        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _plain(value) for name, value in row.items()} for row in rows)
        return text.getvalue()
    from benchbench.reports.table import markdown

    return markdown([{name: _cell(value) for name, value in row.items()} for row in rows])


def _cell(value: Any) -> str:
    plain = _plain(value)
    return "" if plain is None else str(plain)


def _print_table(rows: Sequence[Mapping[str, Any]], title: str, limit: int | None) -> None:
    from rich.table import Table
    from rich.text import Text

    if not rows:
        note("nothing to show")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0]:
        numeric = all(isinstance(row.get(name), (int, float, type(None))) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows[:limit]:
        # As text: an error message in brackets is no markup.
        table.add_row(*(Text(_cell(row.get(name))) for name in rows[0]))
    if title:
        # As the table's own title it would be broken to the table's width.
        console().print(title, style="italic", highlight=False, markup=False)
    console().print(table)
    if limit is not None and len(rows) > limit:
        note(f"{limit} of {len(rows)} rows: all of them with --format csv, or -o FILE.csv")


def is_live() -> bool:
    """Whether progress may redraw: stderr is a terminal that moves its cursor."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") != "dumb"
