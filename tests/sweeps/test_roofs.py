"""The roofs compute what they say, on the CPU that the tests run on."""

from __future__ import annotations

import pytest

from benchbench.case import CASES, Skip
from benchbench.sweeps import roofs


@pytest.mark.parametrize("name", ["roof_copy", "roof_triad"])
def test_a_stream_is_right_and_moves_what_it_says(name: str) -> None:
    torch = pytest.importorskip("torch")
    workload = CASES[name].workload({"kibibytes": 4, "cache": "warm"})
    state = workload.make("cpu")
    torch.testing.assert_close(workload.call(state), workload.plain(state))  # type: ignore[misc]
    tensors = 2 if name == "roof_copy" else 3
    assert workload.work.bytes_moved == tensors * 4096
    assert sum(t.numel() * 4 for t in (state.out, *state.sources)) == workload.work.bytes_moved


def test_the_multiply_add_roof_of_a_cpu_is_a_matrix_product() -> None:
    torch = pytest.importorskip("torch")
    workload = CASES["roof_fma"].workload({"matrix_size": 32})
    state = workload.make("cpu")
    torch.testing.assert_close(workload.call(state), workload.plain(state))  # type: ignore[misc]
    assert workload.work.flops == 2 * 32**3


def test_a_cpu_has_no_tensor_core_roof() -> None:
    pytest.importorskip("torch")
    workload = CASES["roof_matmul"].workload({"matrix_size": 32, "precision": "fp16"})
    with pytest.raises(Skip, match="tensor cores"):
        workload.make("cpu")


def test_every_roof_is_a_roof() -> None:
    names = [name for name in CASES if name.startswith("roof_")]
    assert sorted(names) == ["roof_copy", "roof_fma", "roof_matmul", "roof_triad"]
    assert {CASES[name].kind for name in names} == {"roof"}
    assert roofs.KIBIBYTES.values[-1] == 1024 * 1024


def test_the_chains_reference_converges_to_one() -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("triton")
    from benchbench.kernels.multiply_add import multiply_add, reference

    x = torch.tensor([-3.0, 0.0, 1.0, 5.0], dtype=torch.float64)
    assert torch.allclose(reference(x, 4096), 1 + (x - 1) * (1 - 2**-10) ** 4096)
    with pytest.raises(ValueError, match="multiple of 16"):
        multiply_add(x, 17)
