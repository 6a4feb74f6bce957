"""The scripts of benchmarks/ that need a GPU: what they make of results, errors and an early end, without one."""

import importlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(
    ("name", "arguments"),
    [("gpu_tests", []), ("gpu_sanitize", []), ("gpu_compile", ["plan.toml"])],
)
def test_without_a_gpu_a_script_says_so_in_one_line_and_exits_4(
    script: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str], name: str, arguments: list[str]
) -> None:
    assert script(name).main(arguments) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("no CUDA device: ")
    assert err.count("\n") == 1


# gpu_kernels.py


def test_a_call_that_does_not_compile_is_named_and_the_others_are_measured(
    script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from triton.runtime.errors import OutOfResources

    class Timed:
        def __init__(self, make: Callable[[], None], size: int) -> None:
            make()
            self.rounds = [1.0]

        def measure(self) -> None:
            self.rounds.append(2.0)

    def too_large() -> None:
        raise OutOfResources(300000, 232448, "shared memory")

    def without_words() -> None:
        raise RuntimeError

    kernels = script("gpu_kernels")
    monkeypatch.setattr(kernels, "Timed", Timed)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    makers = {"large": (too_large, 1), "silent": (without_words, 1), "good": (lambda: None, 1)}
    assert kernels.together(makers) == {"good": [1.0] + [2.0] * kernels.ROUNDS}
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("  large: OutOfResources: out of resource: shared memory")
    assert said[1] == "  silent: RuntimeError: "


def test_a_check_that_fails_without_a_message_is_wrong_and_one_without_time_is_not_right(
    script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = script("kernel_checks")
    points = [("silent", "s1", "fp32", "nchw"), ("right", "s1", "fp32", "nchw"), ("late", "s1", "fp32", "nchw")]
    monkeypatch.setattr(checks, "checks", lambda: iter(points))
    monkeypatch.setattr(checks, "ProcessPoolExecutor", lambda workers, mp_context: ThreadPoolExecutor(3))

    def check(point: tuple[str, ...]) -> str:
        if point[0] == "silent":
            raise AssertionError
        if point[0] == "late":
            time.sleep(3)
        return ""

    monkeypatch.setattr(checks, "check", check)
    assert checks.compile_and_check(0.0) == (["silent s1 fp32 nchw: AssertionError: "], ["late s1 fp32 nchw"])


def test_the_table_of_the_kernels_is_on_disk_after_every_point(
    script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kernels = script("gpu_kernels")
    file = tmp_path / "kernels.json"

    def measured(until: float) -> Iterator[tuple[str, dict[str, list[float]]]]:
        yield "s1 fp32 nchw", {"copy": [1.0], "ours": [1.0]}
        assert json.loads(file.read_text())["seconds"] == {"s1 fp32 nchw": {"copy": [1.0], "ours": [1.0]}}
        raise KeyboardInterrupt

    for name, value in (("is_available", lambda: True), ("get_device_name", lambda: "GPU X")):
        monkeypatch.setattr(torch.cuda, name, value)
    streams: list[Any] = []
    monkeypatch.setattr(torch.cuda, "Stream", lambda: "one stream")
    monkeypatch.setattr(torch.cuda, "set_stream", streams.append)
    monkeypatch.setattr(kernels, "compile_and_check", lambda until: ([], ["s4"]))
    monkeypatch.setattr(kernels, "measure_mixers", measured)
    with pytest.raises(KeyboardInterrupt):
        kernels.main(["--json", str(file)])
    document = json.loads(file.read_text())
    assert document["unchecked"] == ["s4"]
    assert {goal["verdict"] for goal in document["goals"] if goal["goal"]["name"] == "G1"} == {"met", "not measured"}
    assert streams == ["one stream"]


def test_a_graph_is_captured_on_the_stream_that_everything_else_runs_on(
    script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = script("gpu_kernels")
    captured: list[Any] = []

    @contextmanager
    def graph(graph: Any, stream: Any = None) -> Iterator[None]:
        captured.append(stream)
        yield

    class Properties:
        L2_cache_size = 1000

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Properties)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: "the current stream")
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: "graph")
    monkeypatch.setattr(torch.cuda, "graph", graph)
    assert len(kernels.Timed(lambda seed: lambda: None, 500).calls) == 8, "together four times the cache"
    assert captured == ["the current stream"]


# gpu_tests.py

TESTS = """
import time, pytest
pytestmark = pytest.mark.gpu
def test_that_passes(): pass
def test_that_fails(): assert 1 == 2
@pytest.mark.skip(reason="no second GPU")
def test_that_is_skipped(): pass
@pytest.fixture
def broken(): raise ValueError("no tensor")
def test_whose_fixture_fails(broken): pass
def test_that_hangs(): time.sleep(60)
def test_behind_it(): pass
"""


@pytest.mark.slow
def test_what_ended_is_kept_when_the_time_is_over(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    told = (
        "import json, sys, gpu_tests as g; print(json.dumps(g.run(*g.files_of(g.Path(sys.argv[1])), 15.0).document()))"
    )
    command = [sys.executable, "-c", told, str(tmp_path)]
    ran = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, timeout=100, check=False)
    found = json.loads(ran.stdout.splitlines()[-1])
    assert [found[name] for name in ("passed", "failed", "skipped", "not_run")] == [1, 2, 1, 2]
    assert found["skips"] == {"Skipped: no second GPU": 1}
    errors = {one["test"].partition("::")[2]: one["error"] for one in found["failures"]}
    assert errors["test_that_fails"] == "E   assert 1 == 2"
    assert errors["test_whose_fixture_fails"] == "E   ValueError: no tensor"


def test_tests_that_time_the_gpu_run_alone_and_those_of_the_kernels_last(script: Callable[[str], ModuleType]) -> None:
    alone, others = script("gpu_tests").files_of(ROOT / "tests")
    assert sorted(Path(path).name for path in alone) == ["test_monitor.py", "test_timer.py"]
    folders = [Path(path).parent.name for path in others]
    of_kernels = folders.count("kernels")
    assert of_kernels > 1
    assert folders[-of_kernels:] == ["kernels"] * of_kernels


# gpu_sanitize.py

CLEAN = "========= COMPUTE-SANITIZER\npoint a\npoint b\n========= ERROR SUMMARY: 0 errors\n"
READ = "========= Invalid __global__ read of size 4 bytes\n=========     at copy_block+0x90\n"
RACES = "========= RACECHECK SUMMARY: {} hazards displayed ({} errors, {} warnings)\n"


@pytest.mark.parametrize(
    ("tool", "text", "done", "errors", "warnings", "said"),
    [
        ("memcheck", CLEAN, 2, 0, 0, ""),
        ("memcheck", f"{READ}point a\n========= ERROR SUMMARY: 1 error\n", 1, 1, 0, "Invalid"),
        ("memcheck", READ + CLEAN.replace("0 errors", "12 errors"), 2, 12, 0, "Invalid"),
        ("memcheck", f"point a\n{READ}", 0, 0, 0, "Invalid"),
        ("memcheck", "point a\nValueError: no\n========= ERROR SUMMARY: 0 errors\n", 1, 0, 0, "ValueError: no"),
        ("racecheck", f"point a\npoint b\n{RACES.format(0, 0, 0)}", 2, 0, 0, ""),
        ("racecheck", f"point a\npoint b\n{RACES.format(3, 1, 2)}", 2, 1, 2, "RACECHECK SUMMARY"),
    ],
    ids=["clean", "one error", "many errors", "killed", "crashed", "no race", "races"],
)
def test_a_sanitizer_is_read_by_its_summary(
    script: Callable[[str], ModuleType], tool: str, text: str, done: int, errors: int, warnings: int, said: str
) -> None:
    found = script("gpu_sanitize").read(tool, 2, text)
    assert (found.done, found.errors, found.warnings) == (done, errors, warnings)
    assert said in "\n".join(found.said)
    assert bool(said) == bool(found.said)


SANITIZER = """#!/bin/sh
case "$*" in *planted*) echo "========= ERROR SUMMARY: {planted} errors"; exit;; esac
[ "$PYTORCH_NO_CUDA_MEMORY_CACHING" = 1 ] && echo "point a"
echo "========= ERROR SUMMARY: 0 errors"
echo "========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)"
"""


@pytest.mark.parametrize(("planted", "number", "code"), [(1, 1, 0), (0, 1, 1), (1, 2, 3)])
def test_a_sanitizer_counts_only_if_it_finds_what_was_planted(
    script: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    planted: int,
    number: int,
    code: int,
) -> None:
    tool = tmp_path / "compute-sanitizer"
    tool.write_text(SANITIZER.format(planted=planted))
    tool.chmod(0o755)
    sanitize, checks = script("gpu_sanitize"), script("kernel_checks")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(checks, "WORKERS", 1)
    monkeypatch.setattr(sanitize, "chosen", lambda: [("inception_dwconv", "s1", "fp32", "nchw")] * number)
    assert sanitize.main(["--json", str(tmp_path / "found.json")]) == code
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["planted_errors"] == planted
    assert [(one["tool"], one["done"]) for one in found["tools"]] == [("memcheck", 1), ("racecheck", 1)]


# gpu_compile.py


def test_what_is_compiled_ahead_are_our_kernels_in_the_plans(script: Callable[[str], ModuleType]) -> None:
    plans = sorted((BENCHMARKS / "campaign").glob("accelerated-amp-*.toml"))
    points = script("gpu_compile").points_of(plans)
    assert len(points) == 8
    assert {point.params["backend"] for point in points} == {"triton", "triton-blocks"}
    assert [point.params["mode"] for point in points] == ["train"] * 4 + ["infer"] * 4
