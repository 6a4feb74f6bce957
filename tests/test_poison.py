"""Is memory that was never written NaN, whoever allocates it?"""

from __future__ import annotations

from typing import Any

import torch

from benchbench.poison import free_blocks, poisoned


def test_poison_reaches_every_way_to_allocate_and_ends_with_its_block() -> None:
    x = torch.ones(300, 300)
    names = ("empty", "empty_like", "empty_strided")
    before = [getattr(torch, name) for name in names]
    with poisoned("cpu"):
        for fresh in (
            torch.empty(300, 300),
            torch.empty_like(x),
            torch.empty_strided((300, 300), (1, 300)),
            torch.empty_permuted((300, 300), (1, 0)),
            x.new_empty(300, 300),
            x.new_empty_strided((300, 300), (300, 1)),
            torch.tensor([]).resize_(300, 300),
        ):
            assert fresh.isnan().all()
        assert torch.empty(3, dtype=torch.int32).tolist() == [2**31 - 1] * 3
        assert torch.empty(2, dtype=torch.bool).all()
        assert torch.empty(2, dtype=torch.complex64).isnan().all()
        for small in (torch.float8_e4m3fn, torch.float8_e5m2):
            assert torch.empty(2, dtype=small).float().isnan().all()
        assert torch.empty(2, device="meta").is_meta
    assert [getattr(torch, name) for name in names] == before
    assert "new_empty" not in vars(torch.Tensor)


def test_only_blocks_that_this_stream_may_be_given_are_poisoned_largest_first() -> None:
    def segment(*sizes: int, **where: Any) -> dict[str, Any]:
        blocks = [{"size": size, "state": "inactive"} for size in sizes] + [{"size": 9, "state": "active_allocated"}]
        return {"device": 0, "stream": 7, "segment_pool_id": (0, 0), "blocks": blocks} | where

    segments = [
        segment(1, 3),
        segment(2),
        segment(4, device=1),
        segment(5, stream=8),
        segment(6, segment_pool_id=(0, 1)),
    ]
    assert free_blocks(segments, device=0, stream=7) == [3, 2, 1]
    assert free_blocks([segment(5 << 19, segment_type="small")], device=0, stream=7) == [1 << 20, 1 << 20, 1 << 19]
    assert free_blocks([segment(5 << 19, segment_type="large")], device=0, stream=7) == [5 << 19]
    older = [{"device": 0, "blocks": [{"size": 1, "state": "inactive"}]}]
    assert free_blocks(older, device=0, stream=7) == [1]


def test_memory_that_a_custom_operator_or_a_backward_pass_allocates_is_poisoned() -> None:
    @torch.library.custom_op("benchbench_test::nothing", mutates_args=())
    def nothing(x: torch.Tensor) -> torch.Tensor:
        return torch.empty_like(x)

    class Nothing(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return torch.empty_like(grad)

    x = torch.ones(100, 100, requires_grad=True)
    with poisoned("cpu"):
        assert nothing(x.detach()).isnan().all()
        Nothing.apply(x).sum().backward()
    assert x.grad.isnan().all()
