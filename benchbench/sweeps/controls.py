"""Did the machine move? Fixed copies, a fixed matmul and an empty launch of PyTorch, in every round of every run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchbench import work
from benchbench.case import Axis, Workload, case, positive_integer

if TYPE_CHECKING:
    from torch import Tensor

KIBIBYTES = Axis("kibibytes", (1024, 16384, 131072, 1048576), parse=positive_integer)
MATRIX_SIZE = Axis("matrix_size", (2048,), parse=positive_integer)


@case(KIBIBYTES, kind="control")
def control_copy(kibibytes: int) -> Workload:
    """One tensor copied into another of the same size; the copy roof of its round and footprint."""
    moved = kibibytes * 1024

    def make(device: str) -> tuple[Tensor, Tensor]:
        import torch

        source = torch.randn(moved // 4, device=device)
        return torch.empty_like(source), source

    def call(state: tuple[Tensor, Tensor]) -> Tensor:
        return state[0].copy_(state[1])

    def plain(state: tuple[Tensor, Tensor]) -> Tensor:
        return state[1] * 1.0

    return Workload(make, call, work.Work(moved, moved, 0, 1), plain)


@case(MATRIX_SIZE, kind="control")
def control_matmul(matrix_size: int) -> Workload:
    """A product of two fixed float32 matrices."""

    def make(device: str) -> tuple[Tensor, Tensor]:
        import torch

        return torch.randn(matrix_size, matrix_size, device=device), torch.randn(
            matrix_size, matrix_size, device=device
        )

    def call(state: tuple[Tensor, Tensor]) -> Tensor:
        return state[0] @ state[1]

    def plain(state: tuple[Tensor, Tensor]) -> Tensor:
        import torch

        left, right = state
        product = torch.zeros_like(left)
        for i in range(0, matrix_size, 8):
            product += (left[:, i : i + 8, None] * right[None, i : i + 8]).sum(1)
        return product

    return Workload(make, call, work.Work(2 * 4 * matrix_size**2, 4 * matrix_size**2, 2 * matrix_size**3, 1), plain)


@case(kind="control")
def control_empty() -> Workload:
    """The smallest launch there is: one element added to itself. What takes hardly longer is bound by overhead."""

    def make(device: str) -> Tensor:
        import torch

        return torch.ones(1, device=device)

    def call(state: Tensor) -> Tensor:
        return state + state

    return Workload(make, call, work.Work(4, 4, 1, 1), call)
