"""Do bench export and bench import find runs, write files and refuse in one line?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_exchange import HYPERFINE, MACHINE, record

from benchbench import store as folders
from benchbench.cli import run as bench


@pytest.fixture
def store(tmp_path: Path) -> Path:
    asked = {"asked": {"plan": "sweep"}, "began": 1.8e9, "description": MACHINE, "testbed": {}}
    run = folders.create(tmp_path / "store", asked, name="r1")
    writer = folders.Writer(run)
    for i in range(3):
        writer.append(record(i))
    writer.append(record(0, params={"kernel_size": 3}, status="oom", reason="out of memory", samples_s=()))
    writer.close()
    return tmp_path / "store"


def test_a_format_of_one_file_goes_to_stdout(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(["export", "bencher", "latest", "--store", str(store)]) == 0
    out, err = capsys.readouterr()
    assert list(json.loads(out)) == [record().key]
    assert err.startswith("left out: depthwise@1;")
    assert err.endswith(": oom in 1 of 1 rounds: out of memory\n")


def test_several_files_go_to_a_folder(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(["export", "csv", "r1", "--store", str(store), "-o", str(tmp_path / "out")]) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(path.name for path in paths) == ["results.csv", "samples.csv"]
    assert all(path.stat().st_size for path in paths)


def test_what_is_imported_is_a_run_that_says_so(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "h.json").write_text(json.dumps(HYPERFINE))
    assert bench(["import", str(tmp_path / "h.json"), "--name", "theirs", "--store", str(store), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"run": "theirs", "tool": "hyperfine", "records": 2}
    assert bench(["show", "theirs", "--store", str(store), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["status"] for row in rows] == ["ok", "fail"]
    assert all(row["reason"].find("imported from hyperfine") >= 0 for row in rows)
    assert folders.find(store, "theirs").asked()["testbed"] == {"imported": "hyperfine: h.json"}
    assert bench(["list", "runs", "--store", str(store), "--json"]) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["export", "bencer", "latest"], 2, "did you mean bencher?"),
        (["export", "bencher"], 2, "needs a RUN, such as latest"),
        (["export", "csv", "latest"], 2, "csv is 2 files (results.csv, samples.csv): name a folder with -o DIR"),
        (["export", "csv", "nothing"], 2, "no run is called 'nothing'"),
        (["export", "timm", "latest"], 5, "has no measured network"),
        (["export", "bencher", "latest", "latest"], 2, "takes one run, got 2"),
        (["import", "/no/such/file"], 2, "cannot read /no/such/file: No such file or directory"),
        (["import", "{torn}"], 2, "looks like none of"),
        (["import", "{torn}", "--as", "nvbnch"], 2, "did you mean nvbench?"),
    ],
)
def test_bad_input_is_one_line_and_its_exit_code(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    torn = tmp_path / "torn.json"
    torn.write_text('{"results": [')
    words: list[Any] = [word.format(torn=torn) for word in arguments]
    assert bench([*words, "--store", str(store)]) == code
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


PROFILE = """==PROF== Connected to process 1
"ID","Process ID","Process Name","Host Name","Kernel Name","Context","Stream","Block Size","Grid Size","Device","CC",\
"dram__bytes_read.sum","dram__bytes_write.sum","gpu__time_duration.sum"
"","","","","","","","","","","","Kbyte","Kbyte","us"
"0","1","python","h","copy_kernel(float*)","1","7","(128, 1, 1)","(2, 1, 1)","0","9.0","3","2","10"
""".replace("\\\n", "")


@pytest.fixture
def profiled(tmp_path: Path) -> Path:
    """A store whose run has a kernel and a roof."""
    run = folders.create(tmp_path / "store", {"asked": {"plan": "sweep"}, "began": 1.8e9}, name="r1")
    writer = folders.Writer(run)
    writer.append(record(kernels=("void copy_kernel<float>(float*)",)))
    writer.append(record(case="roof_copy", params={"kibibytes": 4}, samples_s=(1e-6,) * 3))
    writer.close()
    return tmp_path / "store"


def test_a_profile_of_nsight_is_joined_to_the_run_and_the_roofline_uses_it(
    profiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("triton")
    (tmp_path / "ncu.csv").write_text(PROFILE)
    assert bench(["import", str(tmp_path / "ncu.csv"), "--join", "r1", "--store", str(profiled), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["key"], row["provenance"], row["dram_bytes"]) == (record().key, "M3", 5000)
    assert bench(["roofline", "r1", "--store", str(profiled), "--json"]) == 0
    (bar,) = json.loads(capsys.readouterr().out)
    assert (bar["key"], bar["known_bytes"], bar["provenance"]) == (record().key, 5000, "M3")


def test_a_profile_of_another_run_is_refused_in_one_line(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("triton")
    (tmp_path / "ncu.csv").write_text(PROFILE)
    assert bench(["import", str(tmp_path / "ncu.csv"), "--store", str(store)]) == 2
    err = capsys.readouterr().err
    assert "this profile is of another run" in err
    assert err.count("\n") == 1
