"""Does the table show every point, failed ones included, with the spread beside the number?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas

from benchbench.reports.sentence import closing
from benchbench.reports.table import caption, markdown, rows

Row = Callable[..., dict[str, Any]]
Frame = Callable[..., pandas.DataFrame]


def test_a_point_has_its_time_and_throughput_with_their_intervals(network: Row, frame: Frame) -> None:
    (row,) = rows(frame([network("inception_next_tiny", None, None, 1600.0)]))
    assert row["what"] == "InceptionNeXt-T"
    assert row["time"] == "80.00 ms (79.60-80.40)"
    assert row["throughput"] == "1,600 img/s (1,592-1,608)"
    assert row["spread"] == "0.40 %"
    assert row["status"] == "ok"


def test_failed_points_are_rows_with_their_reason_and_no_number(network: Row, frame: Frame) -> None:
    table = rows(
        frame(
            [
                network("resnet50", None, None, 900.0),
                network("convnext_tiny", 7, "1", 1.0, status="oom", reason="out of memory in 2 of 3 rounds"),
                network("convnext_tiny", 3, "1", 1.0, status="wrong", reason="grad_weight", median_s=0.01),
            ]
        )
    )
    assert [row["status"] for row in table] == ["wrong: grad_weight", "oom: out of memory in 2 of 3 rounds", "ok"]
    assert [row["time"] for row in table[:2]] == ["-", "-"]


def test_what_is_too_fast_to_be_true_is_shown_with_its_status(network: Row, frame: Frame) -> None:
    row = network("resnet50", None, None, 900.0)
    row.update(status="impossible", reason="faster than a copy")
    (found,) = rows(frame([row]))
    assert found["time"] != "-"
    assert found["status"] == "impossible: faster than a copy"


def test_doubts_about_a_number_stand_beside_it(network: Row, frame: Frame) -> None:
    (row,) = rows(frame([network("resnet50", None, None, 900.0, warmup_class="warming", capped=True)]))
    assert row["status"] == "ok (warming, capped)"


def test_what_all_rows_share_is_said_once(networks: pandas.DataFrame) -> None:
    table = rows(networks)
    assert len(table) == len(networks)
    assert {"layout", "mode"} < set(table[0])
    assert not {"precision", "batch", "backend"} & set(table[0])
    assert caption(networks) == "batch 128, 224 px, tf32, aten, eager, sgd"
    assert closing(networks)[0] == "Everywhere: batch 128, 224 px, tf32, aten, eager, sgd."


def test_a_setting_that_does_not_explain_itself_is_named(network: Row, frame: Frame) -> None:
    assert caption(frame([network("resnet50", None, None, 900.0, drop_path="0")])).endswith("sgd, drop path 0")


def test_an_axis_of_a_users_case_is_a_column_where_it_varies(network: Row, frame: Frame) -> None:
    table = rows(frame([network("resnet50", None, None, 900.0, tile=tile) for tile in (16, 32)]))
    assert [row["tile"] for row in table] == ["16", "32"]


def test_an_axis_that_some_cases_lack_does_not_turn_whole_numbers_into_fractions(
    network: Row, operator: Row, frame: Frame
) -> None:
    table = rows(
        frame([network("resnet50", None, None, 900.0, batch=64), operator("depthwise_conv", 7, None, "96x56x56", 1e-3)])
    )
    assert [row["what"] for row in table] == ["ResNet-50", "depthwise k7 96x56x56"]
    assert [row["batch"] for row in table] == ["64", "128"]


def test_rows_are_in_an_order_for_readers(network: Row, operator: Row, frame: Frame) -> None:
    run = [
        operator("depthwise_conv", 7, None, "192x28x28", 1e-3),
        operator("depthwise_conv", 3, None, "96x56x56", 1e-3, mode="forward_backward"),
        {"case": "control_empty", "status": "ok", "median_s": 1e-6, "key": "e"},
        operator("depthwise_conv", 3, None, "96x56x56", 1e-3),
        network("resnet50", None, None, 900.0),
    ]
    assert [row["what"] for row in rows(frame(run))] == [
        "ResNet-50", "depthwise k3 96x56x56", "depthwise k3 96x56x56", "depthwise k7 192x28x28", "control empty",
    ]  # fmt: skip


def test_a_network_has_no_bandwidth(network: Row, frame: Frame) -> None:
    (row,) = rows(frame([network("resnet50", None, None, 900.0, bytes_per_s=1e9)]))
    assert "bandwidth" not in row


def test_no_results_are_no_rows() -> None:
    assert rows(pandas.DataFrame()) == []
    assert markdown([]) == ""
    assert closing(pandas.DataFrame()) == []


def test_markdown_survives_hostile_cells(network: Row, frame: Frame) -> None:
    reason = "a|b\n<script>`x`\\"
    text = markdown(rows(frame([network("m|n", None, None, 1.0, status="fail", reason=reason)])))
    lines = text.strip().split("\n")
    assert len(lines) == 3
    assert lines[2].replace("\\|", "").count("|") == lines[0].count("|")
    assert "<script>" not in text
