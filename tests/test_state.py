"""Is the verifier's copy of a state in float64, and in TF32, what it says, whatever holds the tensors?"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch

from benchbench.state import float64, floating_tensors, tf32_rounded


def test_float64_reaches_modules_containers_frozen_dataclasses_and_names_of_types() -> None:
    @dataclass(frozen=True)
    class Frozen:
        block: Any
        inputs: Any
        dtype: Any

    shared = torch.ones(3)
    block = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    state = Frozen(block, {"a": (shared, [shared]), "labels": torch.tensor([1])}, torch.float16)
    wide = float64(state)
    assert wide.dtype == torch.float64
    assert {t.dtype for t in (*wide.block.parameters(), wide.block[1].running_var)} == {torch.float64}
    assert wide.inputs["a"][0] is wide.inputs["a"][1][0]
    assert wide.inputs["labels"].dtype == torch.int64
    assert all(p.requires_grad for p in wide.block.parameters())
    assert block[0].weight.dtype == shared.dtype == torch.float32
    assert block[0].weight.data_ptr() != wide.block[0].weight.data_ptr()


def test_float64_reaches_an_object_with_slots() -> None:
    class Slotted:
        __slots__ = ("unset", "x")

        def __init__(self) -> None:
            self.x = torch.ones(2)

    state = Slotted()
    assert float64(state).x.dtype == torch.float64
    assert state.x.dtype == torch.float32
    assert [name for name, _ in floating_tensors(state)] == ["x"]


def test_float64_of_a_state_that_holds_itself_ends() -> None:
    state = SimpleNamespace(x=torch.ones(2))
    state.me = state
    wide = float64(state)
    assert wide.me is wide
    assert wide.x.dtype == torch.float64


def test_rounding_to_tf32_keeps_ten_bits_of_mantissa() -> None:
    values = torch.tensor([1.0, 1 + 2.0**-10, 1 + 2.0**-11, 1 + 2.0**-12, -3.14159274])
    rounded = tf32_rounded(values)
    assert rounded.tolist() == [1.0, 1 + 2.0**-10, 1 + 2.0**-10, 1.0, -3.140625]
    assert torch.equal(tf32_rounded(rounded), rounded)
