"""The gate: planted faults fail it with the right kernel and line; nothing else does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

from benchbench.access import example, rows, static, thresholds
from benchbench.access.baseline import kept
from benchbench.access.static import Finding, compare

GOOD = """import torch, triton, triton.language as tl


@triton.jit
def weighted(x, y, BLOCK: tl.constexpr):
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    kept = ()
    for k in tl.static_range(40):
        kept = kept + (tl.load(x + k * 4096 + o),)
    total = tl.zeros((BLOCK,), tl.float32)
    for k in tl.static_range(40):
        total = total * kept[39 - k] + kept[k]
    tl.store(y + o, total)


def example():
    x, y = torch.randn(41 * 4096), torch.empty(4096)
    return lambda: weighted[(8,)](x, y, BLOCK=512, num_warps=4)
"""

compiles = pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="interpreted kernels can't be compiled")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCHBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path


def file_with(folder: Path, *changes: tuple[str, str]) -> str:
    text = GOOD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "own.py").write_text(text)
    return str(folder / "own.py")


def compiled(path: str) -> dict[str, Any]:
    return {"resources own": example.resource_rows(path)[0]}


def line_of(path: str, text: str) -> str:
    return f"own.py:{next(n for n, row in enumerate(Path(path).read_text().splitlines(), 1) if text in row)}"


def traffic_of(path: str) -> dict[str, Any]:
    traced = rows.in_interpreter("file", {"path": path, "limit_s": 120.0, "l2": {}})
    sites = [
        [site["kind"], site["tensor"], site["requested_bytes"], f"{site['file']}:{site['line']}", site["statement"]]
        for site in traced["sites"]
    ]
    counted = {
        name: sum(tensor[name] for tensor in traced["tensors"])
        for name in ("requested_bytes", "program_sector_bytes", "unique_bytes")
    }
    return {"kernel": "weighted", **counted, "sites": sites}


@compiles
@pytest.mark.compiling
def test_what_compiles_to_narrower_loads_is_found_at_its_line(folder: Path) -> None:
    before = compiled(file_with(folder))
    assert compare(before, compiled(file_with(folder, ("BLOCK: tl", "BLOCK:  tl")))) == []

    path = file_with(folder, ("tl.load(x + k * 4096 + o)", "tl.load(x + k * 4096 + o + 1)"))
    scalar = next(finding for finding in compare(before, compiled(path)) if "narrow" in finding.what)
    assert (scalar.kernel, scalar.failed, scalar.before, scalar.now) == ("weighted", True, 0, 160)
    assert scalar.place == line_of(path, "tl.load(x")


@pytest.mark.interpreter
def test_what_is_read_twice_is_found_at_its_line_and_a_moved_line_is_not(folder: Path) -> None:
    before = {"traffic own": traffic_of(file_with(folder))}
    moved = {"traffic own": traffic_of(file_with(folder, ("triton.jit", "triton.jit  #\n#")))}
    assert compare(before, moved) == []

    again = "    total = tl.load(x + 7 * 4096 + o)\n    for k in tl.static_range(40):\n        total"
    path = file_with(folder, ("    for k in tl.static_range(40):\n        total", again))
    (finding, *_) = compare(before, {"traffic own": traffic_of(path)})
    assert (finding.kernel, finding.failed, finding.what) == ("weighted", True, "more requested bytes")
    assert finding.now - finding.before == 4096 * 4
    assert finding.place == line_of(path, "7 * 4096")


def row(**changes: Any) -> dict[str, Any]:
    resources = {"kernel": "k", "registers": 100, "spill_bytes": 0, "local_accesses": 0, "occupancy": 0.25}
    return {
        **resources,
        "instructions_per_output": 10.0,
        "accesses": [["load", "x", 16, 4, "k.py:3", "load"]],
        **changes,
    }


def traffic(**changes: Any) -> dict[str, Any]:
    counted = {"requested_bytes": 1000, "program_sector_bytes": 900, "unique_bytes": 800, "out_of_bounds": []}
    return {"kernel": "k", **counted, "sites": [["load", "x", 1000, "k.py:3", "tl.load(x)"]], **changes}


def whats(kind: str, before: dict[str, Any], now: dict[str, Any]) -> list[tuple[str, bool]]:
    return [(f.what, f.failed) for f in compare({f"{kind} a": before}, {f"{kind} a": now})]


def test_registers_and_instructions_may_grow_by_two_percent() -> None:
    assert whats("resources", row(), row(registers=102, instructions_per_output=10.2)) == []
    assert whats("resources", row(), row(registers=103)) == [("more registers", True)]
    assert whats("resources", row(), row(instructions_per_output=10.3)) == [("more instructions per output", True)]


def test_lost_occupancy_and_lost_counts_fail() -> None:
    assert whats("resources", row(), row(occupancy=0.1875)) == [("less occupancy", True)]
    lost = row(instructions_per_output=None, reason="a loop")
    assert whats("resources", row(), lost) == [("no instructions per output: a loop", True)]


def test_bytes_are_exact() -> None:
    assert whats("traffic", traffic(), traffic()) == []
    assert whats("traffic", traffic(), traffic(program_sector_bytes=901)) == [("more program sector bytes", True)]
    ((what, failed),) = whats("traffic", traffic(), traffic(requested_bytes=999))
    assert (what, failed) == ("fewer requested bytes: write the baseline anew to keep it", False)


def test_spills_and_accesses_out_of_bounds_fail_whatever_the_baseline_says() -> None:
    spilling = row(spill_bytes=8, local_accesses=2, spilled_at=["k.py:7"])
    beyond = traffic(out_of_bounds=["k, k.py:3: program (0, 0, 0) loads address 0x1"])
    found = static._absolute({"resources a": spilling, "traffic a": beyond})
    assert [(f.what, f.now, f.place) for f in found] == [
        ("spills, in bytes", 8, "k.py:7"),
        ("reaches out of bounds", "k, k.py:3: program (0, 0, 0) loads address 0x1", ""),
    ]
    assert static._absolute({"resources a": kept(spilling)}) == found[:1]


def test_a_kept_row_is_held_to_the_thresholds_like_one_that_was_made_again() -> None:
    mixer = row(
        **{"layout": "nchw", "direction": "forward", "dtype": "fp32", "shape": "96x56x56", "arch": "sm_90"},
        **{"bytes_in_flight": 65536, "instructions_over_parts": 1.0, "widest_bytes": 16, "wide_load_share": 0.9},
        **{"identity_widths": [16], "store_widths": [16], "instructions_per_output": 8.6},
    )
    key = "resources inception_dwconv forward fp32 nchw 96x56x56 sm_90"
    (whole,) = thresholds.violations(mixer)
    assert whole == ("instructions per output", 8.5, 8.6)
    (finding,) = static._absolute({key: kept(mixer)})
    assert (finding.what, finding.before, finding.now) == ("instructions per output beyond its threshold", 8.5, 8.6)


def test_a_row_that_one_side_lacks_is_not_compared() -> None:
    assert compare({"traffic a": traffic(), "traffic b": traffic()}, {"traffic a": traffic()}) == []
    assert compare({}, {"traffic a": traffic()}) == []


def test_more_narrow_loads_are_found_though_some_were_narrow_before() -> None:
    before = row(accesses=[["load", "x", 16, 100, "k.py:3", "wide"], ["load", "x", 4, 50, "k.py:4", "halo"]])
    assert whats("resources", before, row(accesses=[*before["accesses"], ["load", "x", 4, 1, "k.py:9", "rim"]])) == []
    now = row(accesses=[["load", "x", 4, 50, "k.py:5", "halo"], ["load", "x", 4, 400, "k.py:4", "wide"]])
    (finding,) = compare({"resources a": before}, {"resources a": now})
    assert finding.what == "more narrow accesses: loads of x, 4 bytes a thread"
    assert (finding.before, finding.now, finding.place) == (50, 450, "k.py:4")


def test_a_finding_reads_as_a_sentence() -> None:
    finding = Finding("scale", "resources a", "spills, in bytes", 0, 64, "own.py:12")
    assert str(finding) == "scale at own.py:12: spills, in bytes, 0 -> 64 (resources a)"


def test_a_failing_trace_is_one_line(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"^no such file: nowhere\.py$"):
        rows.in_interpreter("file", {"path": "nowhere.py"})


def test_a_trace_that_is_killed_says_by_what(folder: Path) -> None:
    path = folder / "killed.py"
    path.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    with pytest.raises(ValueError, match=r"^the tracing process was killed by SIGKILL: no reason$"):
        rows.in_interpreter("file", {"path": str(path)})
