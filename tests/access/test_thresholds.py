"""Which rows the thresholds pass, and which single number fails each of them."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("triton")

from benchbench.access.thresholds import violations

RESOURCES: dict[str, Any] = {
    "direction": "forward",
    "arch": "sm_90",
    "dtype": "fp32",
    "layout": "nchw",
    "shape": "96x56x56",
    "registers": 124,
    "spill_bytes": 0,
    "local_accesses": 0,
    "occupancy": 0.25,
    "bytes_in_flight": 65536,
    "instructions_per_output": 8.5,
    "instructions_over_parts": 1.05,
    "store_widths": [16],
    "wide_load_share": 0.75,
    "identity_widths": [16],
    "widest_bytes": 16,
}
TRAFFIC: dict[str, Any] = {
    "direction": "forward",
    "dtype": "fp32",
    "layout": "nchw",
    "shape": "96x56x56",
    "requested_bytes": 1250,
    "program_sector_bytes": 1050,
    "floor_bytes": 1000,
}


def what(row: dict[str, Any], **changes: Any) -> list[str]:
    return [name for name, _, _ in violations({**row, **changes})]


def test_a_row_at_every_limit_passes() -> None:
    assert violations(RESOURCES) == []
    assert violations(TRAFFIC) == []


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"spill_bytes": 8}, "spilled bytes"),
        ({"local_accesses": 2}, "spilled bytes"),
        ({"occupancy": 0.1875}, "occupancy"),
        ({"instructions_per_output": 8.6}, "instructions per output"),
        ({"instructions_per_output": None}, "instructions per output"),
        ({"instructions_over_parts": 1.06}, "instructions over the sum of the parts"),
        ({"bytes_in_flight": 16384}, "bytes in flight"),
        ({"bytes_in_flight": 33000, "arch": "sm_100"}, "bytes in flight"),
        ({"store_widths": [16, 4]}, "store width in bytes"),
        ({"identity_widths": [16, 8]}, "identity width in bytes"),
        ({"wide_load_share": 0.7}, "share of wide loads"),
    ],
)
def test_each_number_of_resources_fails_alone(change: dict[str, Any], name: str) -> None:
    assert what(RESOURCES, **change) == [name]


def test_smaller_planes_have_their_own_limits() -> None:
    assert what(RESOURCES, shape="768x7x7", instructions_per_output=11.5) == []
    assert what(RESOURCES, shape="384x14x14", instructions_per_output=8.6) == ["instructions per output"]
    assert what(TRAFFIC, shape="192x28x28") == ["requested bytes over the floor"]
    assert what(TRAFFIC, shape="384x14x14", requested_bytes=1150, program_sector_bytes=1200) == []


def test_sixteen_bit_groups_of_twelve_channels_may_touch_more_sectors_in_nhwc() -> None:
    nhwc = {**TRAFFIC, "layout": "nhwc", "dtype": "fp16", "program_sector_bytes": 1800}
    assert what(nhwc) == []
    assert what(nhwc, shape="128x56x56") == ["program sectors over the floor"]
    assert what(nhwc, dtype="fp32") == ["program sectors over the floor"]


def test_an_identity_of_half_vectors_may_move_eight_bytes_in_nhwc() -> None:
    nhwc = {**RESOURCES, "layout": "nhwc", "dtype": "fp16", "identity_widths": [8], "store_widths": [2]}
    # 60 channels of two bytes end in half a vector, 80 do not.
    assert what(nhwc, shape="96x56x56") == []
    assert what(nhwc, shape="128x56x56") == ["identity width in bytes"]


def test_a_layout_without_thresholds_is_refused() -> None:
    with pytest.raises(ValueError, match="no thresholds for nchw sideways"):
        violations({**TRAFFIC, "direction": "sideways"})
