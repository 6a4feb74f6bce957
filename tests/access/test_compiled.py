"""Kernels compiled without a GPU: planted faults are seen, and counts add up."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.compiling,
    pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="an interpreted kernel can't be compiled"),
]

planted = pytest.importorskip("planted")

from benchbench.access import compiled  # noqa: E402
from benchbench.access.compiled import ARCHITECTURES, Resources, compile_kernel, ctas_per_sm, occupancy  # noqa: E402


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCHBENCH_CACHE", str(tmp_path))


def made(name: str, pointers: dict[str, str], arch: str = "sm_90", **constants: Any) -> Resources:
    function = getattr(planted, name)
    options = {key: constants.pop(key) for key in ("num_warps", "maxnreg") if key in constants}
    rest = {p: "constexpr" if p in constants else "i32" for p in function.arg_names if p not in pointers}
    return compile_kernel(function, {**pointers, **rest}, constants, arch=arch, options=options)


FLOATS = {"x": "*fp32", "y": "*fp32"}


def line_of(text: str) -> int:
    with open(planted.__file__) as file:
        return next(number for number, row in enumerate(file, 1) if text in row)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_an_aligned_copy_is_wide_loads_and_stores_and_nothing_spilled(arch: str) -> None:
    found = made("aligned_copy", FLOATS, arch, BLOCK=2048)
    assert [(a.kind, a.width, a.times, a.tensors) for a in found.accesses] == [("load", 16, 1, ("x",))] * 4 + [
        ("store", 16, 1, ("y",))
    ] * 4
    assert {a.line for a in found.accesses} == {line_of("tl.store(y + o, tl.load(x + o))")}
    assert (found.spill_bytes, found.local_accesses, found.shared_bytes, found.mma) == (0, 0, 0, "")
    assert found.loaded_before_store == 64
    assert found.bytes_in_flight == 64 * 128 * found.ctas_per_sm
    assert found.instructions is not None
    assert 16 < found.instructions < 40


def test_a_shifted_copy_loads_one_element_at_a_time() -> None:
    found = made("shifted_copy", FLOATS, BLOCK=2048)
    assert {a.width for a in found.of("load", ["x"])} == {4}
    assert {a.width for a in found.of("store", ["y"])} == {16}


SLOWLY = pytest.mark.slow


@pytest.mark.parametrize(
    "arch", [pytest.param("sm_80", marks=SLOWLY), "sm_90", pytest.param("sm_100", marks=SLOWLY), "sm_120"]
)
def test_a_loops_instructions_count_its_trips(arch: str) -> None:
    """However ptxas unrolls, the loads are trips x vectors; other instructions a trip change a little with it."""
    found = {trips: made("looped", FLOATS, arch, BLOCK=512, TRIPS=trips) for trips in (400, 1200)}
    for trips, resources in found.items():
        assert sum(a.times * a.width for a in resources.of("load")) == trips * 16
        assert sum(a.times * a.width for a in resources.of("store")) == trips * 16
        assert resources.instructions == sum(resources.mix.values())
    assert found[1200].instructions == pytest.approx(3 * (found[400].instructions or 0), rel=0.05)


def test_a_loop_over_data_has_no_instruction_count_and_says_where() -> None:
    found = made("data_dependent_loop", FLOATS, BLOCK=512)
    assert found.instructions is None
    assert f"planted.py:{line_of('for trip in range(n):')}" in found.instructions_reason


def test_too_few_registers_spill_and_enough_do_not() -> None:
    tight = made("many_values", FLOATS, BLOCK=128, VALUES=48, maxnreg=24)
    roomy = made("many_values", FLOATS, BLOCK=128, VALUES=48)
    assert tight.spill_bytes > 0
    assert tight.local_accesses > 0
    assert tight.registers <= 24
    assert (roomy.spill_bytes, roomy.local_accesses) == (0, 0)


@pytest.mark.parametrize(("arch", "opcode"), [("sm_80", "HMMA"), ("sm_90", "HGMMA")])
def test_the_tensor_cores_are_seen_by_name(arch: str, opcode: str) -> None:
    halves = {"x": "*fp16", "y": "*fp16", "z": "*fp32"}
    found = made("matmul", halves, arch, SIZE=64)
    assert found.mma == opcode
    assert found.shared_bytes > 0


@pytest.mark.parametrize(
    ("arch", "threads", "registers", "shared", "ctas", "share"),
    [
        ("sm_90", 128, 128, 0, 4, 0.25),
        ("sm_90", 128, 32, 0, 16, 1.0),
        ("sm_90", 128, 168, 0, 3, 0.1875),
        ("sm_90", 256, 255, 0, 1, 0.125),
        ("sm_90", 32, 16, 0, 32, 0.5),
        ("sm_120", 32, 16, 0, 24, 0.5),
        ("sm_120", 128, 40, 0, 12, 1.0),
        # 228 KiB over (100 + 1) KiB a block, 164 over it.
        ("sm_90", 128, 32, 100 * 1024, 2, 0.125),
        ("sm_80", 128, 32, 100 * 1024, 1, 0.0625),
    ],
)
def test_occupancy_by_hand(arch: str, threads: int, registers: int, shared: int, ctas: int, share: float) -> None:
    limits = {"threads": threads, "registers": registers, "shared_bytes": shared}
    assert ctas_per_sm(arch, **limits) == ctas
    assert occupancy(arch, **limits) == share


def test_a_kept_result_is_the_same_and_another_option_is_another_result(tmp_path: Path) -> None:
    first = made("aligned_copy", FLOATS, BLOCK=512, num_warps=4)
    kept = list((tmp_path / "resources").iterdir())
    assert made("aligned_copy", FLOATS, BLOCK=512, num_warps=4) == first
    assert list((tmp_path / "resources").iterdir()) == kept
    assert made("aligned_copy", FLOATS, BLOCK=512, num_warps=2).threads == 64


def test_a_result_kept_from_another_checkout_names_the_sources_of_this_one(tmp_path: Path) -> None:
    source = "import triton\nimport triton.language as tl\n\n\n@triton.jit\ndef copy(x, y):\n"
    source += "    i = tl.arange(0, 128)\n    tl.store(y + i, tl.load(x + i))\n"
    places = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "copying.py").write_text(source)
        spec = importlib.util.spec_from_file_location("copying", folder / "copying.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found = compile_kernel(module.copy, {"x": "*fp32", "y": "*fp32"}, {}, cache=tmp_path / "cache")
        places.append({access.file for access in found.accesses})
    assert places == [{str(tmp_path / name / "copying.py")} for name in ("first", "second")]
    assert len(list((tmp_path / "cache").rglob("*.json"))) == 2, "the second was compiled anew: nothing was tested"


def test_the_multiply_add_roof_is_made_of_multiply_adds() -> None:
    from benchbench.kernels.multiply_add import BLOCK, FACTOR, SUMMAND, multiply_add_kernel

    constants = {"ROUNDS": 2048, "FACTOR": FACTOR, "SUMMAND": SUMMAND, "BLOCK": BLOCK}
    signature = {**FLOATS, "n": "i32", **dict.fromkeys(constants, "constexpr")}
    found = compile_kernel(multiply_add_kernel, signature, constants, arch="sm_90", options={"num_warps": 4})
    assert found.mix["FFMA"] == 2048 * BLOCK // 128
    assert found.instructions is not None
    assert found.mix["FFMA"] / found.instructions > 0.95
    assert found.spill_bytes == 0


def test_an_unknown_architecture_is_refused_with_the_known() -> None:
    with pytest.raises(ValueError, match=r"unknown architecture 'sm_91': known are sm_80"):
        made("aligned_copy", FLOATS, "sm_91", BLOCK=512)


def test_a_missing_argument_is_named() -> None:
    with pytest.raises(ValueError, match="copy_kernel needs n, BLOCK"):
        compile_kernel(planted.copy_kernel, FLOATS, {})


def test_the_listing_shows_each_source_line_above_its_code() -> None:
    listing = compiled.machine_code(
        planted.aligned_copy, {**FLOATS, "BLOCK": "constexpr"}, {"BLOCK": 512}, arch="sm_90"
    )
    text = compiled.with_source(listing)
    above = next(i for i, row in enumerate(text) if "LDG" in row)
    named = [row for row in text[:above] if row.startswith("//")][-1]
    assert named.endswith("tl.store(y + o, tl.load(x + o))")
    assert "planted.py:" in named
