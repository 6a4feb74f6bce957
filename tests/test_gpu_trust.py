"""Does the script of the checks that need a GPU end as it says without one?"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def gpu_trust(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("gpu_trust")


def test_without_a_gpu_the_script_says_so_in_one_line_and_exits_4(
    gpu_trust: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu_trust.py"])
    assert gpu_trust.main() == 4
    assert capsys.readouterr() == ("", "no GPU here: these checks need a CUDA device\n")


def test_a_figure_holds_within_its_range_and_only_there(gpu_trust: ModuleType) -> None:
    figure = gpu_trust.Figure
    assert figure("f", 1.0, "x", 0.9, 1.1).holds
    assert figure("f", 1.0, "x").holds
    assert not figure("f", 1.2, "x", None, 1.1).holds
    assert not figure("f", 0.8, "x", 0.9).holds
    assert not figure("f", float("nan"), "x", 0.9).holds


def test_every_file_with_a_test_of_timer_verifier_or_machine_marked_gpu_is_run_by_the_script(
    gpu_trust: ModuleType,
) -> None:
    names = ("timer", "verify", "verify_cases", "machine", "monitor", "energy", "doctor", "dispatch", "switches")
    files = [ROOT / "tests" / f"test_{name}.py" for name in names]
    marked = {file.name for file in files if file.exists() and "pytest.mark.gpu" in file.read_text()}
    assert marked == set(gpu_trust.TESTS)
