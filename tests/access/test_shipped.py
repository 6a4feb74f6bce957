"""The shipped mixer kernels keep their thresholds, and the naive control does not. Minutes a case: `make test-all`."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("triton")

from benchbench.access import rows, shipped
from benchbench.access.shipped import STREAMED, Spec
from benchbench.access.thresholds import violations

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
interpreted = os.environ.get("TRITON_INTERPRET") == "1"


@pytest.mark.compiling
@pytest.mark.skipif(interpreted, reason="interpreted kernels can't be compiled")
@pytest.mark.parametrize(("dtype", "shape"), [("fp32", "96x56x56"), ("bf16", "768x7x7")])
@pytest.mark.parametrize("direction", shipped.DIRECTIONS)
@pytest.mark.parametrize("layout", shipped.LAYOUTS)
def test_a_shipped_mixer_kernel_keeps_its_thresholds(layout: str, direction: str, dtype: str, shape: str) -> None:
    spec = Spec("inception_dwconv", direction, dtype, layout, shape)
    traffic = rows.traffic_rows([spec])[0]
    assert violations(rows.resource_row(spec)) + violations(traffic) == []
    assert traffic["out_of_bounds"] == []


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
