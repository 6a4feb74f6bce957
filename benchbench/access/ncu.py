"""What did the hardware count? Nsight Compute's CSV read, joined to points by kernel name, or collected live.

Both of its forms are read: a row a launch with a units row below the header (``--page raw``), and a row a metric
(details page), with whatever lines the program printed around them. Values come in base units: bytes, seconds, counts.
"""

from __future__ import annotations

import csv
import math
import re
import shutil
import statistics
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

METRICS = (
    "dram__bytes_read.sum",
    "dram__bytes_write.sum",
    "lts__t_bytes.sum",
    "smsp__inst_executed.sum",
    "gpu__time_duration.sum",
)
# ncu locks the clocks unless told otherwise, and this suite never sets them.
OPTIONS = ("--csv", "--page", "raw", "--print-units", "base", "--clock-control", "none")
_PROCESS = ("ID", "Process ID", "Process Name", "Host Name", "Kernel Name", "Kernel Time", "Context", "Stream")
_IDENTITY = (*_PROCESS, "Block Size", "Grid Size", "Device", "CC", "Section Name")
_PREFIXES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
_NUMBER = re.compile(r"-?(\d{1,3}(,\d{3})+|\d+)(\.\d+)?([eE][-+]?\d+)?")
_UNIT = re.compile(
    r"((?P<large>[KkMGT]?)(bytes?|B|inst|sector|[Hh]z|cycle)|(?P<small>[num]?)(?P<second>s|second))"
    r"(/(?P<per>[num]?)(s|second)|/\w+)?"
)
_SMALL = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0}
MARK = "benchbench_point"
"""The kernel of access/marker.py, which stands before the launches of a point."""
PERMISSION = (
    "ncu may not read the counters (ERR_NVGPUCTRPERM): an administrator must load the driver with "
    "NVreg_RestrictProfilingToAdminUsers=0, or give the container CAP_SYS_ADMIN; without, trace instead (bench traffic)"
)


@dataclass(frozen=True, slots=True)
class Launch:
    """One profiled launch: kernel without arguments and template, launch number, grid, metrics in base units."""

    kernel: str
    number: int
    grid: tuple[int, ...] = ()
    block: tuple[int, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def dram_bytes(self) -> float | None:
        """Bytes read from and written to DRAM, None where they were not collected."""
        names = ("dram__bytes_read.sum", "dram__bytes_write.sum")
        if all(name in self.metrics for name in names):
            return sum(self.metrics[name] for name in names)
        return self.metrics.get("dram__bytes.sum")


def load(path: str) -> list[Launch]:
    """The launches of an .ncu-rep (where ncu is installed) or a CSV file. Raises ValueError, one line, for others."""
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"no such file: {path}")
    if file.suffix == ".ncu-rep":
        tool = shutil.which("ncu")
        if tool is None:
            raise ValueError(f"ncu is not here: where it is, run ncu --import {path} --csv --page raw > out.csv")
        done = subprocess.run(
            [tool, "--import", path, "--csv", "--page", "raw"], capture_output=True, text=True, check=False
        )
        return parse(done.stdout, path)
    return parse(text_of(file), path)


def text_of(file: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 as PowerShell redirects to. Raises OSError."""
    raw = file.read_bytes()
    encoding = "utf-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    return raw.decode(encoding, errors="replace")


def is_profile(text: str) -> bool:
    """Whether Nsight Compute printed it: its own lines, or a header somewhere below what the program printed."""
    if "==PROF==" in text or "ERR_NVGPUCTRPERM" in text:
        return True
    return "Kernel Name" in text and _header_in(_rows_of(text)) is not None


def _rows_of(text: str) -> list[list[str]]:
    return [row for row in csv.reader(text.splitlines()) if len(row) > len(_IDENTITY) // 2]


def _header_in(rows: Sequence[Sequence[str]]) -> int | None:
    return next((i for i, row in enumerate(rows) if "ID" in row and "Kernel Name" in row), None)


def parse(text: str, name: str = "the file") -> list[Launch]:
    """The launches of ncu's CSV in the order of their numbers. Raises ValueError where there are none."""
    if "ERR_NVGPUCTRPERM" in text:
        raise ValueError(PERMISSION)
    rows = _rows_of(text)
    start = _header_in(rows)
    if start is None:
        raise ValueError(f"{name} is no CSV of Nsight Compute: it has no line with ID and Kernel Name")
    header, body = rows[start], [row for row in rows[start + 1 :] if len(row) == len(rows[start])]
    found = _long(header, body) if "Metric Name" in header else _wide(header, body)
    if not found:
        raise ValueError(f"{name} holds no launch: no row below its header has a number and as many cells")
    return sorted(found, key=lambda launch: launch.number)


def _wide(header: Sequence[str], body: Sequence[Sequence[str]]) -> list[Launch]:
    units: Sequence[str] = [""] * len(header)
    found = []
    for row in body:
        cells = dict(zip(header, row, strict=True))
        if not cells["ID"].strip().isdigit():
            # The row of units has no launch number.
            units = row
            continue
        metrics = {
            column: value
            for column, cell, unit in zip(header, row, units, strict=True)
            if column not in _IDENTITY and (value := in_base_units(cell, unit)) is not None
        }
        found.append(_launch(cells, metrics))
    return found


def _long(header: Sequence[str], body: Sequence[Sequence[str]]) -> list[Launch]:
    together: dict[str, tuple[dict[str, str], dict[str, float]]] = {}
    for row in body:
        cells = dict(zip(header, row, strict=True))
        if not cells["ID"].strip().isdigit():
            continue
        _, metrics = together.setdefault(cells["ID"], (cells, {}))
        value = in_base_units(cells["Metric Value"], cells.get("Metric Unit", ""))
        if value is not None and cells["Metric Name"]:
            metrics[cells["Metric Name"]] = value
    return [_launch(cells, metrics) for cells, metrics in together.values()]


def _launch(cells: Mapping[str, str], metrics: Mapping[str, float]) -> Launch:
    grid, block = (_dimensions(cells.get(column, "")) for column in ("Grid Size", "Block Size"))
    return Launch(bare_name(cells["Kernel Name"]), int(cells["ID"]), grid, block, metrics)


def _dimensions(cell: str) -> tuple[int, ...]:
    """(8416, 1, 1) of "(8,416, 1, 1)": a comma without a blank behind it separates thousands."""
    parts = (part.replace(",", "") for part in cell.strip(" ()").split(", "))
    return tuple(int(part) for part in parts if part.isdigit())


def bare_name(kernel: str) -> str:
    """A kernel's name without return type, template and arguments: "f" of "void ns::f<float, 3>(float*)"."""
    depth, kept = 0, []
    for letter in kernel:
        depth += letter in "<("
        if not depth:
            kept.append(letter)
        depth -= letter in ">)"
    words = "".join(kept).split()
    return words[-1].rsplit("::", 1)[-1] if words else kernel


def in_base_units(cell: str, unit: str) -> float | None:
    """A cell with thousands separators as bytes, seconds, per second or a count; None where it is no number.

    Raises ValueError for a decimal comma: left out, as thousands separators are, it would change the number.
    """
    text = cell.replace("\u202f", "").strip()
    if not _NUMBER.fullmatch(text) and re.fullmatch(r"-?\d[\d.]*,\d+", text):
        raise ValueError(f"{text} is written with a decimal comma: profile, or export, with LC_ALL=C")
    value = float(text.replace(",", "")) if _NUMBER.fullmatch(text) else None
    match = _UNIT.fullmatch(unit.strip())
    if value is None or match is None:
        return value
    scale = _SMALL[match["small"]] if match["second"] else _PREFIXES[match["large"].lower()]
    return value * scale / _SMALL[match["per"] or ""]


def joined(launches: Sequence[Launch], points: Iterable[tuple[str, Sequence[str]]]) -> dict[str, dict[str, float]]:
    """key -> the metrics of one call of that point, and "dram_bytes". points: (key, kernel names of one call).

    A kernel that several points launch is shared out in the order of the points, which must be that of the profile;
    of several calls of one point the median is taken. Raises ValueError where a profile has none of the points'
    kernels, or a number of launches of a shared kernel that does not divide among its points. In a profile of
    ``python -m benchbench.once`` a marker stands before each point's launches, and nothing is shared out.
    """
    wanted = [(key, [bare_name(name) for name in names]) for key, names in points]
    if any(launch.kernel == MARK for launch in launches):
        return _by_marks(launches, wanted)
    present = {launch.kernel for launch in launches}
    if not any(present & set(names) for _, names in wanted):
        known = ", ".join(sorted({name for _, names in wanted for name in names})) or "no kernels"
        raise ValueError(f"this profile is of another run: it has {', '.join(sorted(present))}, the run has {known}")
    found: dict[str, dict[str, float]] = {}
    for key, names in wanted:
        if names and set(names) <= present:
            found[key] = _of_point(launches, wanted, key, names)
    return found


def _by_marks(launches: Sequence[Launch], wanted: Sequence[tuple[str, list[str]]]) -> dict[str, dict[str, float]]:
    """The launches behind each marker added up; the marker's grid is the number of the point."""
    found: dict[str, dict[str, float]] = {}
    behind: list[Launch] = []
    groups: dict[int, list[Launch]] = {}
    for launch in launches:
        if launch.kernel == MARK:
            groups[math.prod(launch.grid)] = behind = []
        else:
            behind.append(launch)
    for number, own in groups.items():
        if not own:
            continue
        has = sorted({launch.kernel for launch in own})
        if number > len(wanted):
            raise ValueError(f"this profile is of another run: it has a point {number}, the run has {len(wanted)}")
        key, names = wanted[number - 1]
        if not set(has) & set(names):
            raise ValueError(
                f"this profile is of another run: its point {number} has {', '.join(has)}, the run's {', '.join(names)}"
            )
        total: dict[str, float] = {}
        for metric in {metric for launch in own for metric in launch.metrics}:
            total[metric] = sum(launch.metrics.get(metric, 0.0) for launch in own)
        counted = [launch.dram_bytes for launch in own]
        if None not in counted:
            total["dram_bytes"] = sum(filter(None, counted))
        found[key] = total
    return found


def _of_point(
    launches: Sequence[Launch], wanted: Sequence[tuple[str, list[str]]], key: str, names: Sequence[str]
) -> dict[str, float]:
    total: dict[str, float] = {}
    for name in dict.fromkeys(names):
        own = [launch for launch in launches if launch.kernel == name]
        sharing = [k for k, others in wanted for other in others if other == name]
        if len(own) % len(sharing):
            raise ValueError(f"{len(own)} launches of {name} do not divide among the {len(sharing)} of the points")
        each = len(own) // len(sharing)
        for place, owner in enumerate(sharing):
            if owner == key:
                calls = own[place * each : (place + 1) * each]
                for metric in {m for call in calls for m in call.metrics}:
                    values = [call.metrics[metric] for call in calls if metric in call.metrics]
                    total[metric] = total.get(metric, 0.0) + statistics.median(values)
                dram = [call.dram_bytes for call in calls if call.dram_bytes is not None]
                if dram:
                    total["dram_bytes"] = total.get("dram_bytes", 0.0) + statistics.median(dram)
    return total


def collect(
    command: Sequence[str], *, kernels: Sequence[str] = (), from_start: bool = True, tool: str = ""
) -> list[Launch]:
    """Run a command under ncu and return its launches, of these kernels only where some are named.

    from_start: whether ncu looks from the start, or only where the command asks it to (cudaProfilerStart).
    Raises ValueError where ncu is not installed or may not read the counters: the message says what to do.
    """
    found = tool or shutil.which("ncu")
    if not found:
        raise ValueError("ncu is not installed: install Nsight Compute, or trace instead (bench traffic)")
    selected = ["--kernel-name", f"regex:^({'|'.join(map(re.escape, kernels))})"] if kernels else []
    ranged = [] if from_start else ["--profile-from-start", "off"]
    words = [found, *OPTIONS, "--metrics", ",".join(METRICS), *ranged, *selected, *command]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if "ERR_NVGPUCTRPERM" in done.stdout + done.stderr:
        raise ValueError(PERMISSION)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "it printed nothing").splitlines()[-1]
        raise ValueError(f"ncu failed: {last}")
    return parse(done.stdout, "ncu's output")
