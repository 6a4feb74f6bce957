"""Nsight Compute's CSV in both forms, its units, and its joining to points."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("triton")

from benchbench.access import ncu
from benchbench.access.ncu import Launch, bare_name, collect, in_base_units, is_profile, joined, load, parse

# ruff: noqa: E501

WIDE = """==PROF== Connected to process 4711 (/usr/bin/python3.11)
a line, that, the, program, printed, with, commas, in, it, and, more
==PROF== Profiling "forward_kernel" - 0: 0%....50%....100% - 4 passes
"ID","Process ID","Process Name","Host Name","Kernel Name","Context","Stream","Block Size","Grid Size","Device","CC","dram__bytes_read.sum","dram__bytes_write.sum","gpu__time_duration.sum","smsp__inst_executed.sum"
"","","","","","","","","","","","Mbyte","Kbyte","us","inst"
"0","4711","python","127.0.0.1","forward_kernel","1","7","(128, 1, 1)","(8,416, 1, 1)","0","9.0","154.25","1,024.5","64.5","1,234,567"
"1","4711","python","127.0.0.1","void at::native::copy<float, 4>(int, float*)","1","7","(128, 1, 1)","(2, 1, 1)","0","9.0","1","2","1,000","n/a"
==PROF== Disconnected from process 4711
"""

LONG = """"ID","Process ID","Process Name","Host Name","Kernel Name","Context","Stream","Block Size","Grid Size","Device","CC","Section Name","Metric Name","Metric Unit","Metric Value"
"0","9","python","host","forward_kernel","1","7","(64, 1, 1)","(3, 1, 1)","0","9.0","Command line profiler metrics","dram__bytes.sum","byte","1,500"
"0","9","python","host","forward_kernel","1","7","(64, 1, 1)","(3, 1, 1)","0","9.0","Command line profiler metrics","gpu__time_duration.sum","nsecond","2,000"
"1","9","python","host","forward_kernel","1","7","(64, 1, 1)","(3, 1, 1)","0","9.0","Command line profiler metrics","dram__bytes.sum","byte","2,500"
"""


def test_the_raw_page_is_read_with_its_units_and_separators() -> None:
    first, second = parse(WIDE)
    assert (first.kernel, first.number, first.grid, first.block) == ("forward_kernel", 0, (8416, 1, 1), (128, 1, 1))
    assert first.metrics["dram__bytes_read.sum"] == 154.25e6
    assert first.metrics["dram__bytes_write.sum"] == 1_024_500
    assert first.metrics["gpu__time_duration.sum"] == pytest.approx(64.5e-6)
    assert first.metrics["smsp__inst_executed.sum"] == 1_234_567
    assert first.dram_bytes == 154.25e6 + 1_024_500
    assert second.kernel == "copy"
    assert "smsp__inst_executed.sum" not in second.metrics


def test_the_details_page_is_read_with_a_row_a_metric() -> None:
    first, second = parse(LONG)
    assert (first.dram_bytes, second.dram_bytes) == (1500, 2500)
    assert first.metrics["gpu__time_duration.sum"] == pytest.approx(2e-6)
    assert first.grid == (3, 1, 1)


@pytest.mark.parametrize(
    ("cell", "unit", "value"),
    [
        ("1,234.5", "Kbyte", 1_234_500),
        ("2", "Gbyte/second", 2e9),
        ("3", "msecond", 3e-3),
        ("4", "ns", 4e-9),
        ("5", "second", 5),
        ("6", "%", 6),
        ("7", "Ghz", 7e9),
        ("8", "MB", 8e6),
        ("9", "cycle/nsecond", 9e9),
        ("1", "byte/us", 1e6),
        ("2", "inst/cycle", 2),
        ("1,234,567", "inst", 1_234_567),
        ("1.5e3", "byte", 1500),
        ("", "byte", None),
        ("n/a", "byte", None),
    ],
)
def test_values_come_in_base_units(cell: str, unit: str, value: float | None) -> None:
    assert in_base_units(cell, unit) == (pytest.approx(value) if value is not None else None)


@pytest.mark.parametrize("cell", ["154,25", "1.024,5", "0,5"])
def test_a_decimal_comma_is_refused_because_leaving_it_out_would_change_the_number(cell: str) -> None:
    with pytest.raises(ValueError, match=f"{cell} is written with a decimal comma: .* LC_ALL=C"):
        parse(WIDE.replace("154.25", cell))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_of_another_encoding_is_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.csv").write_text(WIDE, encoding=encoding)
    assert [launch.kernel for launch in load(str(tmp_path / "a.csv"))] == ["forward_kernel", "copy"]


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        (WIDE, True),
        (LONG, True),
        (LONG.replace('"', ""), True),
        ("==ERROR== ERR_NVGPUCTRPERM - no permission", True),
        ("ID,Kernel Name\n", False),
        ('{"Kernel Name": 1}', False),
    ],
)
def test_a_profile_is_told_from_other_files(text: str, ours: bool) -> None:
    assert is_profile(text) is ours


@pytest.mark.parametrize(
    ("written", "bare"),
    [
        ("forward_kernel", "forward_kernel"),
        ("void ns::inner::f<float, std::array<int, 3>>(float*, int)", "f"),
        ("f(int)", "f"),
        ("triton_poi_fused_add_0", "triton_poi_fused_add_0"),
    ],
)
def test_a_kernels_name_is_bare_of_types(written: str, bare: str) -> None:
    assert bare_name(written) == bare


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no CSV of Nsight Compute"),
        ("a,b,c\n1,2,3\n", "is no CSV of Nsight Compute"),
        (LONG.splitlines()[0], "holds no launch"),
        ("==ERROR== ERR_NVGPUCTRPERM - The user does not have permission", "NVreg_RestrictProfilingToAdminUsers=0"),
    ],
)
def test_another_file_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        parse(text)
    assert "\n" not in str(error.value)


def launches(*named: tuple[str, float]) -> list[Launch]:
    return [Launch(name, i, metrics={"dram__bytes.sum": value}) for i, (name, value) in enumerate(named)]


def test_a_points_kernels_are_added_and_its_calls_give_their_median() -> None:
    found = joined(launches(("a", 1), ("b", 10), ("a", 3), ("b", 30), ("a", 2), ("b", 20)), [("point", ["a", "b"])])
    assert found["point"]["dram_bytes"] == 2 + 20


def test_a_shared_kernel_is_shared_out_in_the_order_of_the_points() -> None:
    found = joined(launches(("a", 1), ("a", 2), ("a", 50), ("a", 60)), [("first", ["a"]), ("second", ["void a(int)"])])
    assert (found["first"]["dram_bytes"], found["second"]["dram_bytes"]) == (1.5, 55)


def test_a_kernel_launched_twice_in_a_call_counts_twice() -> None:
    assert joined(launches(("a", 1), ("a", 2)), [("point", ["a", "a"])])["point"]["dram_bytes"] == 3


def test_a_profile_of_another_run_is_refused() -> None:
    with pytest.raises(ValueError, match="another run: it has sgemm, the run has forward_kernel"):
        joined(launches(("sgemm", 1)), [("point", ["forward_kernel"])])


def test_launches_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="3 launches of a do not divide among the 2"):
        joined(launches(("a", 1), ("a", 2), ("a", 3)), [("first", ["a"]), ("second", ["a"])])


def test_a_point_whose_kernels_were_not_profiled_is_left_out() -> None:
    assert set(joined(launches(("a", 1)), [("first", ["a"]), ("second", ["b"])])) == {"first"}


def fake_ncu(folder: Path, body: str) -> str:
    tool = folder / "ncu"
    tool.write_text(f"#!/bin/sh\n{body}\n")
    tool.chmod(0o755)
    return str(tool)


def test_live_collection_reads_what_ncu_prints(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text(WIDE)
    tool = fake_ncu(tmp_path, f'echo "$@" > {tmp_path}/asked; cat {tmp_path}/out.csv')
    found = collect(["python", "-c", "pass"], kernels=["forward_kernel"], tool=tool)
    assert [launch.kernel for launch in found] == ["forward_kernel", "copy"]
    asked = (tmp_path / "asked").read_text()
    assert "--csv --page raw --print-units base --clock-control none" in asked
    assert asked.strip().endswith("python -c pass")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("echo ==ERROR== ERR_NVGPUCTRPERM; exit 1", "CAP_SYS_ADMIN"),
        ("echo first >&2; echo ==ERROR== no kernel >&2; exit 3", "ncu failed: ==ERROR== no kernel"),
    ],
)
def test_a_failing_ncu_is_explained(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        collect(["true"], tool=fake_ncu(tmp_path, body))


def test_a_report_without_ncu_says_how_to_export_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ncu.shutil, "which", lambda name: None)
    (tmp_path / "a.ncu-rep").write_text("")
    with pytest.raises(ValueError, match=r"run ncu --import .*a\.ncu-rep --csv --page raw > out\.csv"):
        load(str(tmp_path / "a.ncu-rep"))


def test_a_csv_file_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(LONG)
    assert len(load(str(tmp_path / "a.csv"))) == 2
    with pytest.raises(ValueError, match=r"no such file: nowhere\.csv"):
        load("nowhere.csv")


def marked(number: int, place: int) -> Launch:
    return Launch(ncu.MARK, place, grid=(number, 1, 1), metrics={"dram__bytes.sum": 1e9})


def test_behind_a_marker_all_launches_are_of_its_point() -> None:
    """Two points of the same kernels, one of which launches what the run did not note; the markers' bytes count not."""
    one, two, other = ({"dram__bytes.sum": float(size)} for size in (3, 5, 7))
    profile = [
        Launch("a", 0, metrics=other),  # before the first marker: of no point
        marked(2, 1),
        Launch("a", 2, metrics=two),
        Launch("a", 3, metrics=two),
        marked(1, 4),
        Launch("a", 5, metrics=one),
        Launch("reduce", 6, metrics=one),
    ]
    found = joined(profile, [("first", ["a"]), ("second", ["a", "a"])])
    assert {key: metrics["dram_bytes"] for key, metrics in found.items()} == {"first": 6, "second": 10}


@pytest.mark.parametrize(
    ("number", "kernel", "message"),
    [(3, "a", "it has a point 3, the run has 2"), (2, "sgemm", "its point 2 has sgemm, the run's b")],
)
def test_a_marked_profile_of_another_run_is_refused(number: int, kernel: str, message: str) -> None:
    profile = [marked(number, 0), Launch(kernel, 1, metrics={"dram__bytes.sum": 1.0})]
    with pytest.raises(ValueError, match=f"another run: {message}"):
        joined(profile, [("first", ["a"]), ("second", ["b"])])


def test_the_marker_is_called_what_a_profile_is_searched_for() -> None:
    from benchbench.access.marker import benchbench_point

    assert benchbench_point.__name__ == ncu.MARK


def test_a_program_that_says_when_to_look_is_not_looked_at_from_the_start(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text(WIDE)
    tool = fake_ncu(tmp_path, f'echo "$@" > {tmp_path}/asked; cat {tmp_path}/out.csv')
    collect(["true"], from_start=False, tool=tool)
    assert "--profile-from-start off" in (tmp_path / "asked").read_text()
