"""Does a number become the text that a reader expects?"""

import math

import pytest

from benchbench import units


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1.5, "1.500 s"),
        (0.0012345, "1.234 ms"),
        (999.96e-6, "1.000 ms"),
        (999.94e-6, "999.9 µs"),
        (12.34e-9, "12.34 ns"),
        (1e-12, "0.001000 ns"),
        (0.0, "0 s"),
    ],
)
def test_a_time_takes_the_unit_that_leaves_one_to_three_digits_before_the_point(seconds: float, text: str) -> None:
    assert units.time_text(seconds) == text


@pytest.mark.parametrize("missing", [None, math.nan, math.inf])
def test_what_was_not_measured_is_a_dash_and_never_zero(missing: float | None) -> None:
    printers = (
        units.time_text,
        units.throughput_text,
        units.bandwidth_text,
        units.compute_text,
        units.bytes_text,
        units.energy_text,
        units.count_text,
        units.ratio_text,
        units.change_text,
        units.share_text,
        units.spread_text,
        units.duration_text,
        units.number_text,
    )
    assert [printer(missing) for printer in printers] == ["-"] * len(printers)
    assert units.interval_text(missing, 1.0) == "-"


def test_an_interval_has_the_unit_and_the_decimals_of_its_value() -> None:
    assert units.time_text(0.0012345, 0.00123, 0.00124) == "1.234 ms (1.230-1.240)"
    assert units.throughput_text(2413.2, 2401.4, 2425.0) == "2,413 img/s (2,401-2,425)"


def test_one_round_prints_the_value_without_an_interval() -> None:
    assert units.ratio_text(1.2) == "1.20x"
    assert units.ratio_text(1.2, math.nan, math.nan) == "1.20x"


def test_bounds_that_differ_are_printed_differently() -> None:
    assert units.ratio_text(1.2, 1.19, 1.21) == "1.20x (1.19-1.21)"
    assert units.ratio_text(1.2003, 1.2001, 1.2005) == "1.2003x (1.2001-1.2005)"


def test_an_interval_without_information_has_no_third_digit() -> None:
    assert units.ratio_text(0.938, 0.0463, 20.021) == "0.938x (0.046-20)"
    assert units.time_text(0.5018, 0.000123, 2041.8188) == "501.8 ms (0.12-2,000,000)"


def test_a_small_ratio_keeps_its_digits() -> None:
    assert units.ratio_text(0.0123) == "0.0123x"


def test_bytes_are_counted_in_thousands_and_a_few_are_whole() -> None:
    assert units.bytes_text(28) == "28 B"
    assert units.bytes_text(154_140_672) == "154.1 MB"
    assert units.bandwidth_text(3.21e12) == "3.210 TB/s"


def test_a_change_says_its_direction() -> None:
    assert units.change_text(901 / 575) == "+57 %"
    assert units.change_text(0.964) == "-3.6 %"


def test_a_rounded_zero_has_no_sign() -> None:
    assert units.share_text(-0.00001) == "0.0 %"


def test_a_duration_carries_into_the_next_unit() -> None:
    assert units.duration_text(59.6) == "1 min 00 s"
    assert units.duration_text(3599.7) == "1 h 00 min"
    assert units.duration_text(2.04) == "2.0 s"


def test_counts_below_a_thousand_are_whole() -> None:
    assert units.count_text(312) == "312"
    assert units.count_text(28_056_000) == "28.1 M"
