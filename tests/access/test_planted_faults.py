"""A fault planted in a copy of a shipped kernel's file fails ``bench check --static``, with its kernel and line."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

from benchbench.access import baseline

pytestmark = [
    pytest.mark.compiling,
    pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="interpreted kernels can't be compiled"),
]

PACKAGE = Path(__file__).parents[2] / "benchbench"
KERNELS = Path("benchbench/kernels/depthwise_conv")
# One row that is compiled and one that is traced, each small.
ONLY = "depthwise_conv,forward,fp32,nchw,sm_90"
COMPILED, TRACED = f"{ONLY},resources,384x14x14", f"{ONLY},traffic,8x14x14"

DOUBLE_READ = """
        again = tl.load(pointers, mask=m[:, None], other=0.0)
        return (tl.load(pointers, mask=m[:, None], other=0.0) + again) * 0.5"""
SCALAR_LOAD = """
        return tl.load(pointers + 1, mask=m[:, None], other=0.0)"""
VECTOR_LOAD = """
        return tl.load(pointers, mask=m[:, None], other=0.0)"""
HELD = """
    held = ()
    for k in tl.static_range(256):
        held = held + (tl.load(source + 4096 * k),)
    for k in tl.static_range(256):
        tl.store(target + 4096 * k, held[255 - k])
    if LOOP:"""


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with a baseline of its own for the rows that these tests look at."""
    folder = tmp_path_factory.mktemp("clean")
    shutil.copytree(PACKAGE, folder / "benchbench", ignore=shutil.ignore_patterns("__pycache__", "baselines"))
    for words in (COMPILED, TRACED):
        run(folder, "benchbench.access.static", "write", *words.split(","))
    # A row of another kernel, which no fault touches: a baseline of which nothing stands is refused.
    (file,) = (folder / "benchbench/access/baselines").iterdir()
    (other,) = baseline.gated(["resources", "inception_dwconv", "forward", "fp32", "nchw", "sm_90", "96x56x56"])
    standing = {"kernel": "forward_kernel", "made_from": other.made_from}
    baseline.write({**baseline.read(file), other.key: standing}, file)
    return folder


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder), "BENCHBENCH_CACHE": str(folder / "cache")}
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def planted(clean: Path, folder: Path, name: str, old: str, new: str) -> Path:
    shutil.copytree(clean, folder, dirs_exist_ok=True)
    file = folder / KERNELS / name
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))
    return file


def checked(folder: Path, only: str) -> tuple[int, list[dict[str, Any]], str]:
    done = run(folder, "benchbench", "check", "--static", "--only", only, "--json")
    return done.returncode, json.loads(done.stdout), done.stderr


def line_of(file: Path, text: str) -> str:
    numbers = [number for number, line in enumerate(file.read_text().splitlines(), 1) if text in line]
    return f"{file.name}:{numbers[0]}"


def test_the_copy_as_it_is_passes_and_says_what_was_made_again(clean: Path) -> None:
    code, findings, said = checked(clean, COMPILED)
    assert (code, findings) == (0, [])
    assert re.search(r"1 rows made again from source, 0 taken from triton-\S+json: 0 failures", said)


def test_a_planted_double_read_fails_with_its_kernel_and_line(clean: Path, tmp_path: Path) -> None:
    file = planted(clean, tmp_path, "triton_window.py", VECTOR_LOAD, DOUBLE_READ)
    code, findings, said = checked(tmp_path, TRACED)
    found = next(one for one in findings if one["what"] == "more requested bytes")
    assert (code, found["kernel"], found["failed"]) == (1, "depthwise_conv_forward", True)
    assert found["place"] == line_of(file, "again = ")
    assert "1 rows are of other sources than the baseline's" in said


def test_a_planted_scalar_load_fails_with_its_kernel_and_line(clean: Path, tmp_path: Path) -> None:
    file = planted(clean, tmp_path, "triton_window.py", VECTOR_LOAD, SCALAR_LOAD)
    code, findings, _ = checked(tmp_path, COMPILED)
    found = next(one for one in findings if one["what"].startswith("more narrow accesses: loads of x, 4 bytes"))
    assert (code, found["kernel"], found["failed"]) == (1, "depthwise_conv_forward", True)
    assert found["place"] == line_of(file, "pointers + 1")


def test_a_planted_spill_fails_with_its_kernel_and_line(clean: Path, tmp_path: Path) -> None:
    file = planted(clean, tmp_path, "triton_forward.py", "\n    if LOOP:", HELD)
    code, findings, _ = checked(tmp_path, COMPILED)
    found = next(one for one in findings if one["what"] == "spills, in bytes")
    assert (code, found["kernel"], found["failed"], found["before"]) == (1, "depthwise_conv_forward", True, 0)
    assert found["now"] > 0
    assert found["place"] in (line_of(file, "held = held"), line_of(file, "held[255 - k]"))
