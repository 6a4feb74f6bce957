"""The naive control does not keep the thresholds that the shipped mixer kernels keep (tests/kernels)."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("triton")

from benchbench.access import shipped
from benchbench.access.shipped import STREAMED, Spec
from benchbench.access.thresholds import violations

interpreted = os.environ.get("TRITON_INTERPRET") == "1"


@pytest.mark.slow
@pytest.mark.interpreter
@pytest.mark.skipif(not interpreted, reason="needs a process with TRITON_INTERPRET=1")
def test_the_naive_control_asks_for_more_than_twice_the_floor() -> None:
    import torch

    from benchbench.access.traced import trace
    from benchbench.kernels.inception_dwconv import triton_naive

    spec = Spec("inception_dwconv", "forward", "fp32", "nchw", "96x14x14")
    channels, _, _ = spec.sizes
    branch = channels // 8
    x = torch.randn(1, *spec.sizes)
    weights = [torch.randn(branch, 1, *kernel) for kernel in ((3, 3), (1, 11), (11, 1))]
    biases = [torch.randn(branch) for _ in weights]
    found = trace(lambda: triton_naive.inception_dwconv(x, *weights, *biases), limit_s=600)
    floor = shipped.adapter(spec.op).floor_elements(spec) * 4
    row = {
        "direction": "forward",
        "layout": "nchw",
        "dtype": "fp32",
        "shape": spec.shape,
        "requested_bytes": found.requested_bytes("", STREAMED),
        "program_sector_bytes": found.program_sector_bytes("", STREAMED),
        "floor_bytes": floor,
    }
    ((what, _, over), *_) = violations(row)
    assert what == "requested bytes over the floor"
    assert over > 2
