"""The answers of runs as one table: read from the store, never measured here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbench.commands.terminal import note, print_rows

if TYPE_CHECKING:
    import pandas

    from benchbench.store import Run


def results_of(runs: Sequence[Run]) -> pandas.DataFrame:
    """One row a key of all runs; lines that could not be read are named on stderr, the rest is read."""
    from benchbench.stats import results
    from benchbench.store import merged

    records, damage = merged(runs)
    for broken in damage:
        if broken.torn:
            note(f"line {broken.line} is torn: its point is measured again when the run is continued")
        else:
            note(f"line {broken.line} cannot be read ({broken.reason}): it is left out")
    return results(records)


def rows_of(results: pandas.DataFrame) -> list[dict[str, Any]]:
    """Flat objects in SI units, one a key, null for missing: what --json prints."""
    return [{str(name): value for name, value in row.items()} for row in results.to_dict("records")]


def print_results(
    results: pandas.DataFrame, *, as_json: bool, form: str, output: Path | None, note_text: str = ""
) -> None:
    """The results in full (JSON, CSV) or the table for people, with its closing sentence."""
    if as_json or form == "csv" or (output is not None and output.suffix in (".csv", ".json")):
        print_rows(rows_of(results), as_json=as_json, form=form, output=output)
        return
    from benchbench.reports import sentence, table

    print_rows(table.rows(results), form=form, output=output, title=table.caption(results))
    closing = sentence.closing_sentence(results)
    if closing and output is None and form == "table":
        print(f"\n{closing}")


def warnings_of(results: pandas.DataFrame) -> list[str]:
    """What did not go well, grouped, each with what to do next."""
    found = []
    advice: Mapping[str, str] = {
        "skip": "the reasons are in bench show --json",
        "oom": "try a smaller --batch",
        "timeout": "try a longer --timeout, then --retry-failed",
        "crash": "see the reason in bench show, then --retry-failed",
        "fail": "see the reason in bench show, then --retry-failed",
        "wrong": "the answer is wrong, so its speed is not shown: see the reason in bench show",
        "impossible": "faster than memory allows, so it is not charted: see the reason in bench show",
    }
    for status, count in results["status"].value_counts().items():
        if status != "ok":
            first = results.loc[results["status"] == status, "reason"].iloc[0]
            found.append(f"{count} points: {status} ({first}); {advice[str(status)]}")
    return found
