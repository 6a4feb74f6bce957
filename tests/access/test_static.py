"""The gate: planted faults fail it with the right kernel and line; nothing else does."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

from benchbench.access import example, rows, static
from benchbench.access.shipped import Spec
from benchbench.access.static import Finding, collect_file, compare, traffic_of_file

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


@compiles
@pytest.mark.compiling
def test_a_planted_spill_and_a_planted_scalar_load_fail_with_kernel_and_line(folder: Path) -> None:
    before = compiled(file_with(folder))
    assert compare(before, compiled(file_with(folder, ("BLOCK: tl", "BLOCK:  tl")))) == []

    spilling = compare(before, compiled(file_with(folder, ("num_warps=4", "num_warps=4, maxnreg=32"))))
    spill = next(finding for finding in spilling if finding.what.startswith("spills"))
    assert (spill.kernel, spill.failed, spill.before) == ("weighted", True, 0)
    assert spill.place in {f"own.py:{line}" for line in range(5, 14)}

    path = file_with(folder, ("tl.load(x + k * 4096 + o)", "tl.load(x + k * 4096 + o + 1)"))
    scalar = next(finding for finding in compare(before, compiled(path)) if "narrower" in finding.what)
    assert (scalar.kernel, scalar.failed, scalar.before, scalar.now) == ("weighted", True, 16, 4)
    assert scalar.place == line_of(path, "tl.load(x")


@pytest.mark.slow
@compiles
@pytest.mark.compiling
def test_a_file_is_collected_whole(folder: Path) -> None:
    found = collect_file(file_with(folder))
    assert list(found) == ["resources own.py 0 weighted sm_90", "traffic own.py"]
    assert compare(found, found) == []


@pytest.mark.interpreter
def test_a_planted_double_read_fails_with_kernel_and_line_and_a_moved_line_does_not(folder: Path) -> None:
    before = {"traffic own": traffic_of_file(file_with(folder))}
    again = "    total = tl.load(x + 7 * 4096 + o)\n    for k in tl.static_range(40):\n        total"
    path = file_with(
        folder, ("    for k in tl.static_range(40):\n        total", again), ("triton.jit", "triton.jit  #\n#")
    )
    (finding, *_) = compare(before, {"traffic own": traffic_of_file(path)})
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


def test_out_of_bounds_fails_without_a_baseline() -> None:
    found = compare({}, {"traffic a": traffic(out_of_bounds=["k, k.py:3: program (0, 0, 0) loads address 0x1"])})
    assert [(f.what, f.failed) for f in found] == [("reaches out of bounds", True), ("has no baseline", False)]


def test_what_a_partial_run_does_not_measure_is_not_missed() -> None:
    assert compare({"traffic a": traffic(), "traffic b": traffic()}, {"traffic a": traffic()}) == []


def test_a_baseline_reads_back_as_what_was_collected(folder: Path) -> None:
    file = folder / "deep" / "triton-0.0.json"
    found = {"resources a": row(mix={"FFMA": 1}), "traffic a": traffic()}
    static.write_baseline(found, file)
    kept = json.loads(file.read_text())
    assert compare(kept, found) == []
    assert "mix" not in kept["resources a"]
    assert len(file.read_text().splitlines()) == 4


def test_a_triton_without_a_baseline_says_how_to_write_one(folder: Path) -> None:
    with pytest.raises(
        ValueError, match=r"no baseline none\.json: write one with python -m benchbench\.access\.static"
    ):
        static.check_static([], baseline=folder / "none.json")


def test_a_finding_reads_as_a_sentence() -> None:
    finding = Finding("scale", "resources a", "spills, in bytes", 0, 64, "own.py:12")
    assert str(finding) == "scale at own.py:12: spills, in bytes, 0 -> 64 (resources a)"


def test_a_spec_has_a_readable_key() -> None:
    spec = Spec("inception_dwconv", "forward", "fp32", "nchw", "96x56x56")
    assert static.key_of(spec) == "inception_dwconv forward fp32 nchw 96x56x56 sm_90"


def test_the_gate_has_every_stage_on_sm_90_and_two_on_the_others() -> None:
    specs = static.gated_specs(["inception_dwconv"])
    per = {arch: {s.shape for s in specs if s.arch == arch} for arch in ("sm_80", "sm_90", "sm_100", "sm_120")}
    assert {arch: len(shapes) for arch, shapes in per.items()} == {"sm_80": 2, "sm_90": 8, "sm_100": 2, "sm_120": 2}
    assert all(spec.arch == "sm_90" for spec in static.traced_specs(specs))


def test_words_narrow_a_new_baseline_down_kind_by_kind() -> None:
    specs = static.gated_specs(["inception_dwconv"])
    narrow = [spec for spec in specs if static._matches(spec, ["fp32", "fp16", "nchw", "sm_90", "96x56x56"], specs)]
    assert {(s.dtype, s.layout, s.arch, s.shape) for s in narrow} == {
        ("fp32", "nchw", "sm_90", "96x56x56"),
        ("fp16", "nchw", "sm_90", "96x56x56"),
    }
    assert all(static._matches(spec, [], specs) for spec in specs)


def test_a_word_that_nothing_gated_has_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert static.main(["write", "nhcw"]) == 2
    assert capsys.readouterr().err == "nothing is gated that matches nhcw\n"


def test_an_operation_without_kernels_is_refused() -> None:
    with pytest.raises(ValueError, match="no kernels of 'softmax' are shipped: there are inception_dwconv"):
        static.gated_specs(["softmax"])


def test_a_failing_trace_is_one_line(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"^no such file: nowhere\.py$"):
        rows.in_interpreter("example", {"path": "nowhere.py"})
