"""bench traffic and bench resources as a user meets them: a file of their own, one of our kernels, and bad input."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

pytest.importorskip("triton")

from benchbench.cli import run as bench
from benchbench.commands import readable

pytestmark = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") == "1", reason="the commands start the interpreter themselves"
)

BAND = """import torch, triton, triton.language as tl

@triton.jit
def band(x, w, y, C, H, W, K: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    plane = tl.program_id(0)
    h = tl.program_id(1) * ROWS + tl.arange(0, ROWS)[:, None]
    j = tl.arange(0, COLUMNS)[None, :]
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for k in tl.static_range(K):
        at = j + k - K // 2
        m = (h < H) & (at >= 0) & (at < W)
        total += tl.load(x + plane * H * W + h * W + at, mask=m, other=0.0) * tl.load(w + plane % C * K + k)
    tl.store(y + plane * H * W + h * W + j, total, mask=(h < H) & (j < W + BEYOND))

def example():
    x, w = torch.randn(2, 12, 56, 56), torch.randn(12, 11)
    y = torch.empty_like(x)
    return lambda: band[(24, 4)](x, w, y, 12, 56, 56, K=11, ROWS=16, COLUMNS=64)
"""
ONE = ["--shape", "16x7x7", "--direction", "forward", "--dtype", "fp32", "--layout", "nchw"]


def written(folder: Path, text: str) -> str:
    file = folder / "own.py"
    file.write_text(text)
    return str(file)


def test_a_file_is_traced_by_line_with_its_heat_map_and_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, BAND.replace(" + BEYOND", "").replace("def example():", 'print("made")\ndef example():'))
    assert bench(["traffic", file, "--plot", str(tmp_path / "maps"), "--l2-mib", "1"]) == 0
    out = capsys.readouterr().out
    assert "most is asked again by loads of x, 10.73x, at own.py:12" in out
    assert "behind an L2 of 1 MiB" in out
    assert "made" not in out
    assert "total += tl.load(x + plane" in out
    assert {path.name for path in (tmp_path / "maps").glob("*.csv")} == {
        "heat-band-load-x.csv",
        "heat-band-load-w.csv",
        "heat-band-store-y.csv",
    }


def test_what_reaches_out_of_bounds_is_named_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, BAND.replace("BEYOND", "1"))
    assert bench(["traffic", file, "--json"]) == 1
    out, err = capsys.readouterr()
    (line,) = json.loads(out)["out_of_bounds"]
    # Only the last row of the last plane has nothing behind it.
    assert line.startswith("band, own.py:13: program (23, 3, 0) stores to address 0x")
    assert line.endswith(", 4 bytes beyond the end of y")
    assert err == f"out of bounds: {line}\n"


@pytest.mark.compiling
def test_what_a_file_prints_is_no_part_of_the_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = BAND.replace(" + BEYOND", "").replace("def example():", 'def example():\n    print("made")')
    assert bench(["resources", written(tmp_path, text), "--json"]) == 0
    json.loads(capsys.readouterr().out)


def test_a_kernel_without_programs_asks_for_nothing() -> None:
    detail = {"launches": [{"kernel": "band", "programs": 0}], "tensors": [], "sites": []}
    said = "band: nothing was asked for: 0 programs ran, and no lane of theirs was unmasked"
    assert readable.sentence(detail, {}) == said


def test_one_of_our_kernels_is_traced_by_line_as_a_file_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(["traffic", *ONE, "--batch", "1", "--lines", "--format", "csv"]) == 0
    rows = capsys.readouterr().out.splitlines()
    header = rows[0].split(",")
    assert header[:6] == ["kernel", "kind", "file", "line", "tensor", "executions"]
    # A pointer that is never followed may be that of another argument, which then has both names.
    assert {name for row in rows[1:] for name in row.split(",")[4].split("/")} >= {"x", "y", "w_row"}


@pytest.mark.compiling
def test_machine_code_of_a_file_is_shown_by_width_and_under_its_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCHBENCH_CACHE", str(tmp_path / "cache"))
    file = written(tmp_path, BAND.replace(" + BEYOND", ""))
    assert bench(["resources", file]) == 0
    out = capsys.readouterr().out
    assert "own.py:12" in out
    assert "band, sm_90: " in out
    assert bench(["resources", file, "--arch", "sm_80,sm_120", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["arch"], row["spill_bytes"], row["programs"]) for row in rows] == [("sm_80", 0, 96), ("sm_120", 0, 96)]
    assert bench(["resources", file, "--sass", "--arch", "sm_120,sm_80"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("band on sm_120\n")
    assert "\nband on sm_80\n" in out
    assert "// own.py:13  tl.store(y + plane" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["traffic", "{nothing}"], "nothing.py has no example(): define one that returns a call"),
        (["traffic", "{no_kernel}"], "the call launched no Triton kernel in the interpreter"),
        (["resources", "{no_kernel}"], "the example launched no Triton kernel: its call must launch one"),
        (["traffic", "{missing}"], "band: missing a required argument: 'COLUMNS'"),
        (["resources", "{missing}"], "band: missing a required argument: 'COLUMNS'"),
        (["traffic", "{huge}", "--limit", "1s"], "1000000 programs would take about"),
        (["traffic", "{no_tuple}"], "band: its grid must be a tuple of one to three sizes, such as (n,); got 4"),
        (["resources", "{no_tuple}"], "band: its grid must be a tuple of one to three sizes, such as (n,); got 4"),
        (["traffic", "nowhere.py"], "no such file: nowhere.py"),
        (["resources", "{whole}", "--arch", "sm_99"], "unknown architecture 'sm_99': known are sm_80"),
        (["resources", "--arch", "hopper"], "unknown architecture 'hopper': known are sm_80"),
        (["resources", "--op", "inception"], "did you mean inception_dwconv?"),
        (["traffic", "--variant", "X"], "--variant 'X'"),
        (["traffic", "--dtype", "fp23"], "did you mean"),
        (["traffic", "--kernel-size", "4"], "--kernel-size 4: expected an odd size"),
        (["resources", "--shape", "4x7x7"], "--shape 4x7x7: an eighth of its channels is none"),
        (
            ["traffic", "--lines", "--dtype", "fp32", "--layout", "nchw", "--shape", "16x7x7"],
            "add --direction backward",
        ),
        (["resources", "--sass", "--shape", "16x7x7"], "--sass looks at one kernel, and 12 are chosen: add"),
        (["traffic", "{whole}", "--l2-line", "100"], "an L2 line must be a multiple of 32 bytes, got 100"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    whole = BAND.replace(" + BEYOND", "")
    texts = {
        "nothing": "x = 1\n",
        "no_kernel": "def example():\n    return lambda: None\n",
        "missing": whole.replace(", COLUMNS=64)", ")"),
        "huge": whole.replace("(24, 4)", "(250000, 4)").replace("2, 12, 56, 56", "1, 1, 56, 56"),
        "no_tuple": whole.replace("(24, 4)", "4"),
        "whole": whole,
    }
    files = {name: tmp_path / f"{name}.py" for name in texts}
    for name, file in files.items():
        file.write_text(texts[name])
    assert bench([word.format(**files) for word in arguments]) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert (out, err.count("\n")) == ("", 1)


def test_a_reader_of_a_pipe_that_goes_is_no_fault() -> None:
    from benchbench.commands.terminal import usage

    with pytest.raises(BrokenPipeError), usage():
        raise BrokenPipeError
