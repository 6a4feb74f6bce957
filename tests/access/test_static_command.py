"""How bench check --static shows its findings to people and to GitHub."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("triton")

from benchbench.access.static import Checked, Finding
from benchbench.cli import run as bench
from benchbench.commands.static import annotated, readable

SPILL = Finding("forward_kernel", "resources inception_dwconv", "spills, in bytes", 0, 1024, "triton_nchw_window.py:83")
SLOWER = Finding("forward_kernel", "resources a", "more instructions per output", 6.5580357, 7.5446428)


def test_a_finding_is_rounded_and_its_growth_is_in_per_cent() -> None:
    assert readable(SLOWER) == {
        "": "FAIL", "kernel": "forward_kernel", "at": "", "what": "more instructions per output",
        "before": "6.558", "now": "7.545", "change": "+15 %", "row": "resources a",
    }  # fmt: skip
    assert (readable(SPILL)["before"], readable(SPILL)["now"], readable(SPILL)["change"]) == ("0", "1,024", "")


def test_a_failure_is_annotated_at_its_line_of_the_pull_request() -> None:
    first, second = annotated([SPILL, SLOWER])
    place = "file=benchbench/kernels/inception_dwconv/triton_nchw_window.py,line=83"
    assert first.startswith(f"::error {place},title=forward_kernel::forward_kernel at triton_nchw_window.py:83: spills")
    (other,) = annotated([replace(SPILL, key="resources depthwise_conv", place="operation.py:1")])
    assert other.startswith("::error file=benchbench/kernels/depthwise_conv/operation.py,line=1,")
    assert second.startswith("::error title=forward_kernel::forward_kernel: more instructions per output, 6.55")
    assert len(annotated([SPILL] * 50)) == 10


def test_annotations_are_for_github_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    checked = Checked([SPILL], 1, 0, 0, "triton-3.9.json")
    monkeypatch.setattr("benchbench.access.static.check_static", lambda *words, **named: checked)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    assert bench(["check", "--static"]) == 1
    out, err = capsys.readouterr()
    assert "FAIL" in out
    assert "::error" not in out
    assert err == "1 rows made again from source, 0 taken from triton-3.9.json: 1 failures, 0 notes\n"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert bench(["check", "--static"]) == 1
    assert capsys.readouterr().out.count("::error file=") == 1
