"""hyperfine --export-json: whole commands, each run's wall-clock seconds."""

from __future__ import annotations

import json
from pathlib import Path

from benchbench.exchange.source import imported
from benchbench.record import Record


def recognises(text: str) -> bool:
    """Whether it has hyperfine's list of commands."""
    first = json.loads(text)["results"][0]
    return "command" in first and "times" in first


def read(text: str, path: Path) -> list[Record]:
    """One Record a command. A command that once ended with an error is a failure, its times are kept."""
    found = []
    for result in json.loads(text)["results"]:
        bad = [code for code in result.get("exit_codes") or () if code != 0]
        status = "fail" if bad else "ok"
        reason = f"exit code {bad[0]} in {len(bad)} of {len(result['exit_codes'])} runs" if bad else ""
        times = [float(seconds) for seconds in result["times"]]
        params = {**(result.get("parameters") or {}), "command": result["command"]}
        record = imported("hyperfine", "command", params, times, status=status, reason=reason, host_samples_s=times)
        found.append(record)
    return found
