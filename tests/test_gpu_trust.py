"""Does the script of the checks that need a GPU end as it says without one?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def test_without_a_gpu_the_script_says_so_in_one_line_and_exits_4() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("speaks of a machine without a GPU")
    ran = subprocess.run([sys.executable, str(ROOT / "benchmarks" / "gpu_trust.py")], capture_output=True, text=True)
    assert ran.returncode == 4
    assert ran.stderr == "no GPU here: these checks need a CUDA device\n"
    assert ran.stdout == ""


def test_every_file_with_a_test_of_timer_verifier_or_machine_marked_gpu_is_run_by_the_script() -> None:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import gpu_trust
    finally:
        sys.path.pop(0)
    names = ("timer", "verify", "verify_cases", "machine", "monitor", "energy", "doctor", "dispatch", "switches")
    files = [ROOT / "tests" / f"test_{name}.py" for name in names]
    marked = {file.name for file in files if file.exists() and "pytest.mark.gpu" in file.read_text()}
    assert marked == set(gpu_trust.TESTS)
