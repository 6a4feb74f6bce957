"""The NCHW kernels against the thresholds of the static checks: compiled without a GPU, traced in the interpreter."""

from __future__ import annotations

import pytest

from benchbench.access import rows, shipped
from benchbench.access.thresholds import violations

OPERATION = "inception_dwconv"
SHAPES = tuple(shipped.shapes_of("T,B"))
# The planes of the stages; bytes over the floor do not depend on how many channels there are.
FEW_CHANNELS = ("16x56x56", "16x28x28", "16x14x14", "32x7x7")


def check_compiled(direction: str, dtype: str, shape: str, arch: str) -> None:
    row = rows.resource_row(shipped.Spec(OPERATION, direction, dtype, "nchw", shape, arch))
    assert violations(row) == []


@pytest.mark.compiling
@pytest.mark.parametrize(
    ("dtype", "shape"), [pytest.param("bf16", "96x56x56", marks=pytest.mark.slow), ("fp32", "768x7x7")]
)
def test_the_forward_meets_the_thresholds(dtype: str, shape: str) -> None:
    check_compiled("forward", dtype, shape, "sm_90")


@pytest.mark.compiling
@pytest.mark.slow
def test_the_backward_meets_the_thresholds() -> None:
    check_compiled("backward", "fp32", "768x7x7", "sm_90")


@pytest.mark.compiling
@pytest.mark.slow
@pytest.mark.parametrize("arch", ["sm_90", "sm_80", "sm_100", "sm_120"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", shipped.DTYPES)
@pytest.mark.parametrize("direction", shipped.DIRECTIONS)
def test_every_stage_meets_the_thresholds_on_every_architecture(
    direction: str, dtype: str, shape: str, arch: str
) -> None:
    check_compiled(direction, dtype, shape, arch)


def check_traced(direction: str, dtype: str, shape: str) -> None:
    row = rows.traffic_row(shipped.Spec(OPERATION, direction, dtype, "nchw", shape))
    assert row["out_of_bounds"] == []
    assert violations(row) == []


@pytest.mark.interpreter
@pytest.mark.usefixtures("interpreting")
@pytest.mark.parametrize("direction", shipped.DIRECTIONS)
def test_no_more_is_asked_of_memory_than_the_thresholds_allow(direction: str) -> None:
    check_traced(direction, "bf16", "32x7x7")


@pytest.mark.interpreter
@pytest.mark.slow
@pytest.mark.usefixtures("interpreting")
@pytest.mark.parametrize("shape", FEW_CHANNELS)
@pytest.mark.parametrize("dtype", shipped.DTYPES)
@pytest.mark.parametrize("direction", shipped.DIRECTIONS)
def test_no_stage_asks_more_of_memory_than_the_thresholds_allow(direction: str, dtype: str, shape: str) -> None:
    check_traced(direction, dtype, shape)
