"""Rows of a fused kernel in miniature, each number by hand."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") == "1", reason="an interpreted kernel can't be compiled"
)
pytest.importorskip("triton")

import planted_parts  # noqa: E402

from benchbench.access import rows, shipped  # noqa: E402
from benchbench.access.compiled import Access, Resources, compile_kernel  # noqa: E402
from benchbench.access.shipped import Adapter, Spec, Variant  # noqa: E402

COPIES, SUMS, BLOCK = 6, 12, 1024
SPEC = Spec("miniature", "forward", "fp32", "nchw", "4x8x8")
SIGNATURE = {"x": "*fp32", "w": "*fp32", "y": "*fp32"}


def variants(spec: Spec, batch: int = 128) -> list[Variant]:
    def one(part: int, programs: int) -> Variant:
        constants = {"COPIES": COPIES, "BLOCK": BLOCK, "PART": part}
        return Variant(planted_parts.fused, SIGNATURE, constants, (programs,), {"num_warps": 4})

    return [one(-1, COPIES + SUMS), one(0, COPIES), one(1, SUMS)]


@pytest.fixture
def miniature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCHBENCH_CACHE", str(tmp_path))
    own = Adapter(
        lambda s: s.layout == "nchw",
        variants,
        lambda s, b: lambda: None,
        host=lambda s: None,
        floor_elements=lambda s: 1,
        kernel_size=1,
        directions=("forward", "backward"),
        gated_shapes=(),
        traced_shapes=(),
    )
    monkeypatch.setitem(shipped.ADAPTERS, "miniature", own)


@pytest.mark.compiling
def test_a_part_that_multiplies_and_adds_is_no_copy_by_whatever_name_the_machine_has_for_it() -> None:
    made = variants(SPEC)[1]
    copy = compile_kernel(made.function, made.signature, made.constants, arch="sm_90", options=made.options)
    assert rows.is_copy(copy)
    assert rows.is_copy(replace(copy, mix={**copy.mix, "HFMA2": 1}))
    for word in ("FFMA", "FFMA2", "FHFMA"):
        assert not rows.is_copy(replace(copy, mix={**copy.mix, word: 1}))


@pytest.mark.compiling
@pytest.mark.usefixtures("miniature")
def test_a_row_of_a_fused_kernel_adds_up_from_its_parts() -> None:
    row = rows.resource_row(SPEC)
    made = [
        compile_kernel(v.function, v.signature, v.constants, arch="sm_90", options=v.options) for v in variants(SPEC)
    ]
    whole, copy, branch = made
    assert copy.instructions is not None
    assert branch.instructions is not None
    assert whole.instructions is not None
    executed = (copy.instructions * COPIES + branch.instructions * SUMS) * 128
    assert row["instructions_per_output"] == executed / (128 * 4 * 8 * 8)
    assert row["instructions_over_parts"] == whole.instructions / (copy.instructions + branch.instructions)
    # Two blocks of 1024 floats by 128 threads: 64 bytes a thread before the first store.
    assert row["bytes_in_flight"] == 64 * 128 * whole.ctas_per_sm
    assert row["identity_widths"] == [16]
    assert row["store_widths"] == [16]
    # Of the two loads of x one is dense, the other strided: half of the bytes come in wide vectors.
    assert row["wide_load_share"] == 0.5
    assert row["widest_bytes"] == 16
    assert (row["registers"], row["occupancy"]) == (whole.registers, whole.occupancy)
    assert (row["kernel"], row["spill_bytes"], row["programs"], row["spilled_at"]) == ("fused", 0, 18, [])


@pytest.mark.usefixtures("miniature")
def test_only_what_ships_is_asked_for() -> None:
    found = shipped.specs("miniature", dtypes=("fp32",), directions=("forward",), shapes=("4x8x8",))
    assert [spec.layout for spec in found] == ["nchw"]


def resources(*accesses: Access, **changes: Any) -> Resources:
    plain = dict.fromkeys(Resources.__dataclass_fields__, 0)
    return Resources(**{**plain, "accesses": accesses, "mix": {}, "threads": 128, "ctas_per_sm": 4, **changes})


def load(width: int, line: int = 1, tensor: str = "x", times: int = 1) -> Access:
    return Access("load", width, times, "kernel.py", line, (tensor,))


def store(width: int, line: int = 2) -> Access:
    return Access("store", width, 1, "kernel.py", line, ("y",))


def test_bytes_in_flight_are_those_of_the_identitys_lines_inside_the_whole_kernel() -> None:
    identity = resources(load(16), load(16), store(16), store(16))
    branch = resources(load(4, line=5), store(4, line=6))
    # Inside the whole kernel one of the two loads sank below the first store.
    whole = resources(load(4, line=5), store(4, line=6), load(16), store(16), load(16), store(16))
    assert rows.bytes_in_flight(whole, identity, [branch]) == 16 * 128 * 4
    assert rows.bytes_in_flight(whole, None, [branch]) is None


def test_where_the_identity_shares_its_lines_it_is_counted_alone() -> None:
    identity = resources(load(16), load(16), store(16))
    branch = resources(load(4), store(4))
    whole = resources(load(4), store(4), load(16), load(16), store(16))
    assert rows.bytes_in_flight(whole, identity, [branch]) == 32 * 128 * 4


def test_weights_are_no_streamed_loads() -> None:
    branch = resources(load(2, tensor="w"), load(16, times=3), load(4, times=4), store(8))
    assert rows.wide_load_share([branch], 16) == 0.75
    assert rows.widths([branch], "load") == [16, 4]
    assert rows.wide_load_share([resources(load(2, tensor="w"))], 16) is None


@pytest.mark.parametrize(
    ("dtype", "layout", "shape", "widest"),
    [
        ("fp16", "nchw", "96x56x56", 16),
        ("fp16", "nchw", "192x28x28", 8),
        ("fp16", "nchw", "384x14x14", 4),
        ("bf16", "nchw", "768x7x7", 2),
        ("fp32", "nchw", "192x28x28", 16),
        ("fp32", "nchw", "384x14x14", 8),
        ("fp32", "nchw", "768x7x7", 4),
        ("fp16", "nhwc", "96x56x56", 8),
        ("fp16", "nhwc", "128x56x56", 16),
    ],
)
def test_the_widest_access_follows_from_the_alignment(dtype: str, layout: str, shape: str, widest: int) -> None:
    assert shipped.widest_access(Spec("inception_dwconv", "forward", dtype, layout, shape)) == widest


def test_floors_are_two_tensors_forward_and_two_and_three_eighths_backward() -> None:
    floor = shipped.adapter("inception_dwconv").floor_elements
    elements = 96 * 56 * 56
    assert floor(Spec("inception_dwconv", "forward", "fp32", "nchw", "96x56x56")) == 2 * elements
    assert floor(Spec("inception_dwconv", "backward", "fp32", "nchw", "96x56x56")) == 2.375 * elements
