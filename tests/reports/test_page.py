"""Does the page say what was found, on what machine, what limits and what failed?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas
import pytest

from benchbench.reports.figure1 import figure1
from benchbench.reports.limits import controls, limit, summary
from benchbench.reports.page import page

Row = Callable[..., dict[str, Any]]
Frame = Callable[..., pandas.DataFrame]


def control(case: str, seconds: float, size: float = 0.0) -> dict[str, Any]:
    rate = size / seconds if size else None
    return {
        "case": case,
        "status": "ok",
        "median_s": seconds,
        "work_bytes": size or None,
        "bytes_per_s": rate,
        "key": case,
    }


def test_the_page_begins_with_the_finding_and_counts_every_point(networks: pandas.DataFrame) -> None:
    text = page(networks, {"gpu": "Fixture 100"}, title="A run", conditions="three rounds")
    head = text.split("## Machine")[0]
    assert head.startswith("# A run\n\n**inception_next_tiny is 1.39x (1.38-1.40) convnext_tiny")
    assert "three rounds" in head
    assert f"{len(networks)} points: {len(networks)} ok." in head


def test_the_machine_is_described_field_by_field_and_what_is_unknown_is_left_out() -> None:
    text = page(pandas.DataFrame(), {"gpu": None, "gpu_l2_bytes": 50_000_000, "switches": {"tf32": True}, "cpu": "a|b"})
    assert "| gpu l2 bytes | 50.00 MB |" in text
    assert "| switches.tf32 | True |" in text
    assert "a\\|b" in text
    assert "| gpu |" not in text
    assert "Nothing was measured." in text


def test_failures_are_grouped_by_reason_before_the_skips(network: Row, frame: Frame) -> None:
    bad = [network("convnext_tiny", k, "1", 1.0, status="oom", reason="out of memory") for k in (3, 5, 7)]
    skipped = [network("resnet50", None, None, 1.0, status="skip", reason="not <here>")] * 5
    text = page(frame([*skipped, *bad]), {})
    failures = text.split("## Failures and skips")[1]
    assert "**oom**, 3: out of memory (ConvNeXt-T/k3, ConvNeXt-T/k5, ConvNeXt-T/k7)" in failures
    assert failures.index("**oom**") < failures.index("**skip**, 5: not &lt;here> (ResNet-50)")


def test_figures_are_shown_with_their_notes_and_data(networks: pandas.DataFrame) -> None:
    chart = figure1(networks)
    text = page(networks, {}, charts=[(chart, "figures/figure1.svg")])
    assert "![figure1](figures/figure1.svg)" in text
    assert "(figures/figure1.csv)" in text
    assert all(note in text for note in chart.notes)


def test_a_long_table_says_how_many_rows_it_left_out(network: Row, frame: Frame) -> None:
    text = page(frame([network(f"net_{i}", None, None, 100.0 + i) for i in range(205)]), {})
    assert "200 of 205 rows" in text


def test_each_limit_is_named_with_its_figure(operator: Row, frame: Frame) -> None:
    known = controls(frame([control("control_empty", 5e-6), control("control_copy", 1e-4, 3e8)]))
    at = {"work_bytes": 3e8, "case": "depthwise_conv", "clock": "events"}
    limits = {
        "launch": limit({**at, "median_s": 2e-5, "bytes_per_s": 1.5e13}, known),
        "host": limit({**at, "median_s": 1e-4, "host_median_s": 2e-4, "bytes_per_s": 3e12}, known),
        "memory": limit({**at, "median_s": 1.1e-4, "bytes_per_s": 0.9 * 3e12}, known),
        "cache": limit({**at, "median_s": 0.5e-4, "bytes_per_s": 2 * 3e12}, known),
        "more": limit({**at, "median_s": 4e-4, "bytes_per_s": 0.25 * 3e12}, known),
    }
    assert limits["launch"] == "launch overhead: 4.0 times an empty launch"
    assert limits["host"] == "the host: its launches take 2.00x the device's time"
    assert limits["memory"] == "memory: 90.0 % of the copy rate"
    assert limits["cache"].startswith("a cache: 200.0 %")
    assert limits["more"].startswith("not memory alone: its least bytes at 25.0 %")


def test_the_copy_of_the_nearest_footprint_is_the_measure(frame: Frame) -> None:
    known = controls(frame([control("control_copy", 1e-6, 1e7), control("control_copy", 1e-3, 1e9)]))
    assert known.copy_rate(2e7) == 1e13
    assert known.copy_rate(8e8) == 1e12


def test_a_cold_point_is_held_against_copies_that_no_cache_helps(frame: Frame) -> None:
    copies = [
        control("control_copy", 1e-5, 3e7),
        control("control_copy", 1e-4, 2.4e8),
        control("control_copy", 1e-3, 2e9),
    ]
    known = controls(frame(copies), cache_bytes=6e7)
    small = {"work_bytes": 4e7, "bytes_per_s": 1.9e12, "median_s": 2e-5, "case": "depthwise_conv"}
    assert known.copy_rate_at({**small, "cache": "warm"}) == pytest.approx(3e12)
    assert known.copy_rate_at({**small, "cache": "cold"}) == pytest.approx(2.4e12)
    assert limit({**small, "cache": "warm"}, known).startswith("not memory alone")
    assert limit({**small, "cache": "cold"}, known) == "memory: 79.2 % of the copy rate"
    assert controls(frame(copies[:1]), cache_bytes=6e7).copy_rate_at({**small, "cache": "cold"}) is None
    assert controls(frame(copies)).copy_rate_at({**small, "cache": "cold"}) == pytest.approx(3e12), "unknown cache"


def test_without_controls_nothing_is_said_about_limits(operators: pandas.DataFrame) -> None:
    assert summary(operators) == []
    assert "What limits" not in page(operators, {})


def test_a_training_step_says_where_its_time_goes(network: Row) -> None:
    row = network("resnet50", None, None, 128.0, forward_s=0.3, backward_s=0.6, optimizer_s=0.1)
    assert limit(row, controls(pandas.DataFrame())) == "time goes to: forward 30.0 %, backward 60.0 %, optimizer 10.0 %"
