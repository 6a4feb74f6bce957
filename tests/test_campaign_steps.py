"""The steps of benchmarks/campaign.sh: what each measures, how long it says it takes, and what it leaves behind."""

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from benchbench.plan import all_points, from_toml
from benchbench.registry import register_cases

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "benchmarks" / "campaign.sh"
PLANS = sorted((ROOT / "benchmarks" / "campaign").glob("*.toml"))
MINUTES = {name: int(minutes) for name, minutes in re.findall(r"^# (\S+) {2,}.* {2,}(\d+)", SCRIPT.read_text(), re.M)}
# Predictions, in seconds: a process that begins, a network, any other point from a warm cache of compiled kernels.
PROCESS_S, NETWORK_S, POINT_S = 15.0, 12.0, 1.7


def campaign(folder: Path, *steps: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": python}
    command = [str(SCRIPT), str(folder), *steps]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_a_plan_holds_pairs_and_nothing_that_makes_no_sense(path: Path) -> None:
    register_cases(())
    found = all_points(from_toml(path), device="cuda:0")
    assert [point.skip for point in found if point.skip] == []
    backends = {point.params["backend"] for point in found if "backend" in point.params}
    assert "aten" in backends
    assert len(backends) > 1


@pytest.mark.parametrize("path", [path for path in PLANS if path.stem != "compiled"], ids=lambda path: path.stem)
def test_a_plan_fits_into_the_minutes_that_the_script_promises(path: Path) -> None:
    register_cases(())
    plan = from_toml(path)
    points = all_points(plan, device="cuda:0")
    networks = sum("model" in point.params for point in points)
    expected_s = (plan.rounds or 3) * (PROCESS_S + networks * NETWORK_S + (len(points) - networks) * POINT_S)
    assert expected_s <= 60 * MINUTES[path.stem]


def test_every_plan_and_every_step_says_how_long_it_takes() -> None:
    steps = re.findall(r"^    ([a-z][a-z-]+)\)", SCRIPT.read_text(), re.M)
    assert len(steps) > 8
    assert set(MINUTES) | {"page", "archive"} == {*steps, *(path.stem for path in PLANS)}
    assert max(MINUTES.values()) < 10


def test_a_step_that_does_not_exist_stops_the_campaign_with_one_line(tmp_path: Path) -> None:
    ended = campaign(tmp_path, "tabel1")
    assert ended.returncode == 2
    assert "table1" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.fixture
def python(tmp_path: Path) -> str:
    """An interpreter that prints half of a document and fails."""
    path = tmp_path / "python"
    path.write_text("#!/bin/sh\necho '[1,'\nkill -9 $$\n")
    path.chmod(0o755)
    return str(path)


def test_a_step_that_is_killed_leaves_no_half_of_a_document_under_its_name(tmp_path: Path, python: str) -> None:
    folder = tmp_path / "sitting"
    campaign(folder, "trust", python=python)
    assert list(folder.iterdir()) == []


def test_the_archive_holds_the_folder_and_its_path_is_printed(tmp_path: Path) -> None:
    folder = tmp_path / "gpu-1"
    folder.mkdir()
    (folder / "trust.json").write_text("{}")
    ended = campaign(Path(f"{folder}/"), "archive")
    assert ended.stdout == f"{folder}.tar.gz\n"
    with tarfile.open(f"{folder}.tar.gz") as archive:
        assert "gpu-1/trust.json" in archive.getnames()
