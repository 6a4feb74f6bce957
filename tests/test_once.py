"""Is every point of a run called once behind its marker, and what a profile counts kept beside the run?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from test_exchange import record

from benchbench import once
from benchbench import store as folders
from benchbench.case import CASES, Case, Workload
from benchbench.cli import run as bench
from benchbench.work import Work

KERNELS = ("void copy_kernel<float>(float*)",)


def test_points_are_those_that_launched_kernels_each_once_in_the_order_of_the_run() -> None:
    records = [
        record(1, params={"kernel_size": 5}, kernels=KERNELS),
        record(0, kernels=KERNELS),
        record(1, kernels=KERNELS),
        record(0, params={"kernel_size": 3}, status="oom", samples_s=(), kernels=KERNELS),
        record(0, params={"kernel_size": 9}),
    ]
    assert [one.params["kernel_size"] for one in once.points_of(records).values()] == [5, 7]


def test_each_point_is_warmed_up_before_the_call_that_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[Any] = []

    def counted(kernel_size: int, **others: Any) -> Workload:
        return Workload(lambda device: (device, kernel_size), happened.append, Work(0, 0, 0, 1))

    monkeypatch.setitem(CASES, "counted", Case("counted", (), counted))

    @contextmanager
    def mark(number: int) -> Iterator[None]:
        happened.append(f"look {number}")
        yield
        happened.append("look away")

    points = [record(0, case="counted", params={"kernel_size": size}, kernels=KERNELS) for size in (4, 8)]
    once.call_each(points, mark=mark, prepare=lambda params: nullcontext(), device="none")
    one = [("none", 4)] * once.WARM_UP_CALLS + ["look 1", ("none", 4), "look away"]
    two = [("none", 8)] * once.WARM_UP_CALLS + ["look 2", ("none", 8), "look away"]
    assert happened == one + two


def test_a_point_that_fails_leaves_the_others_to_be_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(kernel_size: int, **others: Any) -> Workload:
        def call(state: int) -> None:
            if state == 4:
                raise RuntimeError("out of memory")

        return Workload(lambda device: kernel_size, call, Work(0, 0, 0, 1))

    monkeypatch.setitem(CASES, "broken", Case("broken", (), broken))
    marked: list[int] = []

    @contextmanager
    def mark(number: int) -> Iterator[None]:
        marked.append(number)
        yield

    points = [record(0, case="broken", params={"kernel_size": size}, kernels=KERNELS) for size in (4, 8)]
    once.call_each(points, mark=mark, prepare=lambda params: nullcontext(), device="none")
    assert marked == [2]
    assert capsys.readouterr().err == f"{points[0].key}: RuntimeError: out of memory\n"


PROFILE = """==PROF== Connected to process 1
"ID","Process ID","Process Name","Host Name","Kernel Name","Context","Stream","Block Size","Grid Size","Device","CC",\
"dram__bytes_read.sum","dram__bytes_write.sum"
"","","","","","","","","","","","Mbyte","Mbyte"
"0","1","python","h","benchbench_point","1","7","(128, 1, 1)","(1, 1, 1)","0","9.0","3","2"
"1","1","python","h","copy_kernel(float*)","1","7","(128, 1, 1)","(2, 1, 1)","0","9.0","500","400"
"""


@pytest.fixture
def profiled(tmp_path: Path) -> Path:
    """A store whose run has a kernel and a roof."""
    run = folders.create(tmp_path / "store", {"asked": {"plan": "sweep"}, "began": 1.8e9}, name="r1")
    writer = folders.Writer(run)
    writer.append(record(kernels=KERNELS))
    writer.append(record(case="roof_copy", params={"kibibytes": 4}, samples_s=(1e-6,) * 3))
    writer.close()
    return tmp_path / "store"


def with_ncu(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    tool = folder / "ncu"
    tool.write_text(f"#!/bin/sh\n{body}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_a_roofline_counts_its_points_live_and_says_so(
    profiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out.csv").write_text(PROFILE)
    with_ncu(tmp_path, monkeypatch, f'echo "$@" > {tmp_path}/asked; cat {tmp_path}/out.csv')
    assert bench(["roofline", "r1", "--ncu", "--store", str(profiled), "--json"]) == 0
    out, err = capsys.readouterr()
    (bar,) = json.loads(out)
    assert (bar["known_bytes"], bar["provenance"]) == (9e8, "M4")
    assert "1 points of run r1 counted by Nsight Compute" in err
    assert (tmp_path / "asked").read_text().strip().endswith(f"-m benchbench.once {profiled / 'r1'}")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("echo '==ERROR== ERR_NVGPUCTRPERM - no permission'; exit 1", "NVreg_RestrictProfilingToAdminUsers=0"),
        ("echo '==ERROR== no GPU' >&2; exit 1", "ncu failed: ==ERROR== no GPU"),
    ],
)
def test_an_ncu_that_cannot_count_is_explained_in_one_line(
    profiled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    body: str,
    message: str,
) -> None:
    with_ncu(tmp_path, monkeypatch, body)
    assert bench(["roofline", "r1", "--ncu", "--store", str(profiled)]) == 4
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_a_run_of_a_cpu_has_nothing_that_ncu_could_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = folders.create(tmp_path, {"asked": {"plan": "sweep"}, "began": 1.8e9}, name="r1")
    writer = folders.Writer(run)
    writer.append(record())
    writer.close()
    assert bench(["roofline", "r1", "--ncu", "--store", str(tmp_path)]) == 4
    assert "r1 has no point that launched kernels on a GPU" in capsys.readouterr().err


def test_a_roofline_without_a_run_says_how_to_measure_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(["roofline", "--store", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert err.endswith(", or measure roofs and operators with --measure\n")
    assert err.count("\n") == 1
