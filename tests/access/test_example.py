"""A user's own kernel file: its launches, its faults, and the ways in which it can be no example."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

from benchbench.access import example

HEAD = "import torch, triton, triton.language as tl\n"
KERNEL = """
@triton.jit
def scale(x, y, n, factor, BLOCK: tl.constexpr):
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + o, tl.load(x + o, mask=o < n) * factor, mask=o < n)
"""
EXAMPLE = """
def example():
    x = torch.randn(1000, dtype=torch.float16)
    y = torch.empty(1000)
    return lambda: scale[lambda meta: (triton.cdiv(1000, meta["BLOCK"]),)](x, y, 1000, 2.0, BLOCK=256, num_warps=2)
"""

compiles = pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="interpreted kernels can't be compiled")


def written(folder: Path, text: str) -> str:
    file = folder / "own_kernel.py"
    file.write_text(text)
    return str(file)


@compiles
def test_a_launch_is_captured_as_it_would_be_compiled(tmp_path: Path) -> None:
    call = example.load_example(written(tmp_path, HEAD + KERNEL + EXAMPLE))
    (variant,) = example.launches_of(call)
    types = {"x": "*fp16", "y": "*fp32", "n": "i32", "factor": "fp32", "BLOCK": "constexpr"}
    assert (variant.signature, variant.constants) == (types, {"BLOCK": 256})
    assert (variant.grid, variant.options) == ((4,), {"num_warps": 2})


@compiles
@pytest.mark.compiling
def test_an_autotuned_kernel_is_captured_with_its_first_configuration(tmp_path: Path) -> None:
    tuned = KERNEL.replace(
        "@triton.jit",
        "TUNED = [triton.Config({'BLOCK': b}, num_warps=w) for b, w in ((512, 4), (64, 1))]\n"
        "@triton.autotune(TUNED, key=[])\n@triton.jit",
    )
    call = HEAD + tuned + EXAMPLE.replace(", BLOCK=256, num_warps=2", "")
    (variant,) = example.launches_of(example.load_example(written(tmp_path, call)))
    assert (variant.constants, variant.grid, variant.options["num_warps"]) == ({"BLOCK": 512}, (2,), 4)


@compiles
@pytest.mark.compiling
def test_rows_and_sass_of_a_users_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCHBENCH_CACHE", str(tmp_path / "cache"))
    path = written(tmp_path, HEAD + KERNEL + EXAMPLE)
    (row,) = example.resource_rows(path)
    assert (row["kernel"], row["programs"], row["threads"], row["spill_bytes"]) == ("scale", 4, 64, 0)
    text = "\n".join(example.sass_lines(path))
    assert "scale on sm_90" in text
    assert "own_kernel.py:6  tl.store(y + o, tl.load(x + o, mask=o < n) * factor, mask=o < n)" in text
    assert "STG" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"has no example\(\): define one that returns a call"),
        ("import nothing_of_that_name\n", "can't be imported: ModuleNotFoundError"),
        ("def example(:\n", "can't be imported: SyntaxError"),
        ("def example():\n    return 3\n", r"example\(\) of .* must return a call"),
        ("def example(n):\n    return n\n", r"example\(\) of .* failed: TypeError: .* argument: 'n'"),
        ("def example():\n    raise RuntimeError('no NVIDIA driver')\n", "make its tensors on the CPU"),
    ],
)
def test_a_file_that_is_no_example_says_what_is_missing(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        example.load_example(written(tmp_path, text))
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match=r"no such file: nowhere\.py"):
        example.load_example("nowhere.py")


def test_a_file_may_be_called_like_a_library_and_import_its_neighbours(tmp_path: Path) -> None:
    import copy

    (tmp_path / "neighbour.py").write_text("answer = 42\n")
    file = tmp_path / "copy.py"
    file.write_text("import copy\nfrom neighbour import answer\ndef example():\n    return lambda: (copy, answer)\n")
    try:
        assert example.load_example(str(file))() == (copy, 42)
    finally:
        sys.path.remove(str(tmp_path))
        del sys.modules["neighbour"]


@compiles
def test_a_file_that_launches_no_kernel_is_refused(tmp_path: Path) -> None:
    call = example.load_example(written(tmp_path, "def example():\n    return lambda: None\n"))
    with pytest.raises(ValueError, match="launched no Triton kernel"):
        example.launches_of(call)


@compiles
def test_a_kernel_without_an_argument_that_it_needs_names_it(tmp_path: Path) -> None:
    text = HEAD + KERNEL + EXAMPLE.replace("y, 1000, 2.0", "y, 1000")
    with pytest.raises(ValueError, match="scale: missing a required argument: 'factor'"):
        example.launches_of(example.load_example(written(tmp_path, text)))
