"""bench plot access, roofline and history draw what is stored."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

pytest.importorskip("triton")

from benchbench import cli

RUN = sorted((Path(__file__).parents[2] / "results").glob("cpu-2026-11-21/*"))[-1]


def plotted(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = cli.run(["plot", *words, "--format", "svg"])
    return code, capsys.readouterr().err


def rows(file: Path) -> list[dict[str, str]]:
    with file.open() as text:
        return list(csv.DictReader(text))


def test_access_shows_floor_bytes_time_and_what_limits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = plotted(capsys, "access", str(RUN), "-o", str(tmp_path))
    assert code == 0
    found = rows(tmp_path / "access.csv")
    assert {(row["case"], row["provenance"]) for row in found} >= {("inception_dwconv", "derived")}
    for row in found:
        assert float(row["floor_bytes"]) > 0
        assert float(row["median_s"]) > 0
        assert row["limited_by"]
    assert "points are" in said
    assert "limited by memory" in said


def test_access_draws_the_shape_and_mode_that_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["access", str(RUN), "-o", str(tmp_path), "--shape", "384x4x4", "--mode", "forward_backward"]
    assert plotted(capsys, *words)[0] == 0
    assert {(row["shape"], row["mode"]) for row in rows(tmp_path / "access.csv")} == {("384x4x4", "forward_backward")}
    code, said = plotted(capsys, "access", str(RUN), "-o", str(tmp_path), "--shape", "96x56x56")
    assert (code, said.count("\n")) == (2, 1)
    assert "nothing was measured at shape 96x56x56: the run has 96x16x16" in said


def test_roofline_is_the_chart_of_bench_roofline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = plotted(capsys, "roofline", str(RUN), "-o", str(tmp_path / "plot"))
    assert code == 0
    assert "Limited by:" in said
    assert cli.run(["roofline", str(RUN), "--plot", str(tmp_path / "roofline")]) == 0
    assert rows(tmp_path / "plot" / "roofline.csv") == rows(tmp_path / "roofline" / "roofline.csv")


def test_history_is_drawn_of_the_cases_that_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "store"
    shutil.copytree(RUN, store / RUN.name)
    assert plotted(capsys, "history", "--store", str(store), "-o", str(tmp_path)) == (
        5,
        "bench: no baseline is called 'main': measure one (bench sweep), then bench baseline set main\n",
    )
    assert cli.run(["baseline", "set", "main", RUN.name, "--store", str(store)]) == 0
    assert plotted(capsys, "history", "inception_dwconv", "--store", str(store), "-o", str(tmp_path))[0] == 0
    found = rows(tmp_path / "history.csv")
    assert {row["series"].partition("@")[0] for row in found} == {"inception_dwconv"}
    assert {float(row["ratio"]) for row in found} == {1.0}
    code, said = plotted(capsys, "history", "nothing", "--store", str(store), "-o", str(tmp_path))
    assert code == 2
    assert "baseline main has no point that is nothing" in said
