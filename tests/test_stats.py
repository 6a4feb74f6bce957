"""Do results say what the records say? And are impossible times refused, and right ones left alone?"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest

from benchbench import stats
from benchbench.record import Record, from_line, to_line
from benchbench.series import rounds_interval
from benchbench.stats import impossible, is_overhead_bound, least_seconds, parts_of, results, round_medians

MIB = 2**20
# A device with 3 us of overhead, a cache of 50 MiB at 6 TB/s and memory at 3 TB/s behind it.
COPIES = tuple((size * MIB, 3e-6 + size * MIB / (6e12 if size <= 50 else 3e12)) for size in (2, 32, 256, 2048))


def record(seconds: float, *, read: int, written: int, flops: int = 0) -> Record:
    work = {"bytes_read": read, "bytes_written": written, "flops": flops, "items": 1}
    return Record("k", "case", 1, {}, "ok", samples_s=(seconds,) * 5, work=work)


def test_a_time_below_the_copy_s_is_impossible_and_says_why() -> None:
    moved = 128 * MIB
    reason = impossible(record(0.4 * 2 * moved / 3e12, read=moved, written=moved), COPIES)
    assert reason is not None
    assert "impossible" in reason
    assert str(2 * moved) in reason


def test_a_time_at_the_copy_s_is_possible() -> None:
    assert impossible(record(COPIES[2][1], read=128 * MIB, written=128 * MIB), COPIES) is None


def test_a_right_result_from_a_warm_cache_is_not_condemned() -> None:
    seconds = 3e-6 + 40 * MIB / 6e12
    assert impossible(record(seconds, read=20 * MIB, written=20 * MIB), COPIES) is None


def test_judged_by_the_larger_copy_alone_a_warm_result_would_be_condemned() -> None:
    work = {"bytes_read": 20 * MIB, "bytes_written": 20 * MIB}
    least = least_seconds(work, COPIES)
    assert least is not None
    assert least < 3e-6 + 40 * MIB / 6e12 < COPIES[2][1] * 40 / 256 / stats.COPY_HEADROOM


def test_a_small_operation_is_not_judged_by_the_overhead_of_a_smaller_copy() -> None:
    seconds = 3e-6 + 16 * MIB / 6e12
    assert impossible(record(seconds, read=8 * MIB, written=8 * MIB), COPIES) is None


def test_fewer_flops_than_the_definition_are_no_reason() -> None:
    moved = 128 * MIB
    assert impossible(record(COPIES[2][1], read=moved, written=moved, flops=10**15), COPIES) is None


def test_an_operation_that_aliases_its_input_declares_less_work_and_is_not_condemned() -> None:
    moved = 128 * MIB
    seconds = COPIES[2][1] / 4
    assert impossible(record(seconds, read=moved, written=moved), COPIES) is not None
    assert impossible(record(seconds, read=moved // 8, written=moved // 8), COPIES) is None


def test_a_copy_a_little_better_than_pytorch_s_is_possible() -> None:
    assert impossible(record(COPIES[2][1] / 1.05, read=128 * MIB, written=128 * MIB), COPIES) is None


def test_reading_alone_may_beat_a_copy_but_not_by_half() -> None:
    moved, seconds = 256 * MIB, COPIES[2][1]
    assert impossible(record(seconds / 1.1, read=moved, written=0), COPIES) is None
    assert impossible(record(seconds / 1.5, read=moved, written=0), COPIES) is not None


def test_without_the_allowance_for_one_direction_a_fast_read_would_be_condemned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stats, "ONE_WAY_HEADROOM", 1.0)
    assert impossible(record(COPIES[2][1] / 1.1, read=256 * MIB, written=0), COPIES) is not None


@pytest.mark.parametrize(
    ("read", "copies"),
    [(MIB // 4, COPIES), (4096 * MIB, COPIES), (64 * MIB, ()), (0, COPIES)],
    ids=["smaller", "larger", "no copies", "no bytes"],
)
def test_a_footprint_without_copies_around_it_is_not_judged(read: int, copies: tuple[tuple[int, float], ...]) -> None:
    assert least_seconds({"bytes_read": read, "bytes_written": 0}, copies) is None
    assert impossible(record(1e-12, read=read, written=0), copies) is None


def test_a_record_without_samples_or_work_is_not_judged() -> None:
    assert impossible(Record("k", "case", 1, {}, "oom"), COPIES) is None
    assert impossible(Record("k", "case", 1, {}, "ok", samples_s=(1e-9,)), COPIES) is None


def test_a_time_below_five_empty_launches_is_bound_by_overhead() -> None:
    assert is_overhead_bound(14.9e-6, 3e-6)
    assert not is_overhead_bound(15.1e-6, 3e-6)


def measured(key: str, number: int, times: tuple[float, ...] = (1e-3,) * 3, **changes: Any) -> Record:
    """A good record of an operator on 8 images that reads 100 bytes, writes 50 and computes 300 flops."""
    fields: dict[str, Any] = {
        "key": key,
        "case": key.split("@")[0],
        "version": 1,
        "params": {"kernel_size": 3, "cache": "warm"},
        "status": "ok",
        "round": number,
        "samples_s": times,
        "host_samples_s": tuple(2 * one for one in times),
        "work": {"bytes_read": 100, "bytes_written": 50, "flops": 300, "items": 8},
        "warmup_class": "flat",
        "clock": "events",
    }
    return Record(**fields | changes)


def row(*records: Record) -> dict[str, Any]:
    table = results(records)
    assert len(table) == 1
    return dict(table.iloc[0])


def test_a_result_is_the_median_of_the_rounds_medians_with_student_s_interval() -> None:
    rounds = [(1.0, 2.0, 9.0), (2.1, 2.1), (1.9, 1.5, 2.3, 1.9)]
    found = row(*(measured("a@1", i, times) for i, times in enumerate(rounds)))
    medians = [2.0, 2.1, 1.9]
    assert found["median_s"] == 2.0
    assert (found["low_s"], found["high_s"]) == pytest.approx(rounds_interval(medians))
    assert found["between_spread"] == pytest.approx(np.std(np.log(medians), ddof=1))
    inside = [np.var(np.log(times), ddof=1) for times in rounds]
    assert found["within_spread"] == pytest.approx(np.sqrt(np.mean(inside)))
    assert (found["rounds"], found["samples"], found["host_median_s"]) == (3, 9, 4.0)


def test_one_round_has_no_interval_whatever_its_samples_say() -> None:
    found = row(measured("a@1", 0, (1.0, 1.1, 1.2)))
    assert found["median_s"] == 1.1
    assert all(math.isnan(found[name]) for name in ("low_s", "high_s", "between_spread", "throughput_low_img_per_s"))


def test_rates_are_of_the_work_over_the_median_and_turn_the_interval_round() -> None:
    found = row(measured("a@1", 0, (0.5,) * 3), measured("a@1", 1, (0.6,) * 3))
    middle = 0.55
    assert found["throughput_img_per_s"] == pytest.approx(8 / middle)
    assert found["throughput_low_img_per_s"] == pytest.approx(8 / found["high_s"])
    assert found["throughput_high_img_per_s"] == pytest.approx(8 / found["low_s"])
    assert (found["bytes_per_s"], found["flops_per_s"]) == pytest.approx((150 / middle, 300 / middle))


def test_joules_an_image_have_an_interval_from_between_the_rounds() -> None:
    found = row(*(measured("a@1", i, energy_j=energy) for i, energy in enumerate((8.0, 8.8, 7.2))))
    assert found["energy_j"] == 8.0
    assert found["joules_per_image"] == 1.0
    low, high = rounds_interval([1.0, 1.1, 0.9])
    assert (found["joules_low_per_image"], found["joules_high_per_image"]) == pytest.approx((low, high))
    assert math.isnan(row(measured("a@1", 0))["joules_per_image"])


def test_phases_and_memory_and_compile_time_are_reported() -> None:
    parts = {"forward_s": (1.0, 3.0), "backward_s": (5.0,), "optimizer_s": (0.5,)}
    found = row(
        measured("a@1", 0, **parts, peak_memory_bytes=7, compile_s=2.0),
        measured("a@1", 1, peak_memory_bytes=9, compile_s=0.5),
        measured("a@1", 2),
    )
    assert (found["forward_s"], found["backward_s"], found["optimizer_s"]) == (2.0, 5.0, 0.5)
    assert (found["peak_memory_bytes"], found["compile_s"]) == (9, 2.0)


def test_parts_of_a_marked_run_are_columns_of_their_own_and_axes_of_none() -> None:
    one = measured("a@1", 0, (1.5, 3.5), parts_s={"mixer": (1.0, 3.0), "rest": (0.5, 0.5)})
    other = measured("a@1", 1, (4.0, 4.0), parts_s={"mixer": (4.0, 4.0), "rest": (0.4, 0.0)})
    frame = results([one, other, measured("b@1", 0)])
    assert parts_of(frame.columns) == {"mixer": "part_mixer_s", "rest": "part_rest_s"}
    assert frame["part_mixer_s"].tolist()[0] == 3.0
    assert frame["part_rest_s"].tolist()[0] == 0.35
    # 1 and 1 in one round, 1.1 and 1 in the other.
    assert frame["parts_share"].tolist()[0] == pytest.approx(1.025)
    assert math.isnan(frame["part_mixer_s"].tolist()[1])
    assert parts_of(results([measured("b@1", 0)]).columns) == {}


def test_a_round_that_failed_is_named_and_the_others_still_give_the_time() -> None:
    bad = measured("a@1", 1, (), status="oom", reason="12 GB asked, 8 GB there")
    found = row(measured("a@1", 0), bad, measured("a@1", 2))
    assert found["status"] == "oom"
    assert found["reason"] == "oom in 1 of 3 rounds: 12 GB asked, 8 GB there"
    assert (found["rounds"], found["median_s"]) == (2, 1e-3)


def test_the_worst_status_of_several_is_the_result_s() -> None:
    bad = [measured("a@1", i, (), status=status) for i, status in enumerate(("skip", "oom", "crash", "timeout"))]
    found = row(*bad)
    assert found["status"] == "crash"
    assert "oom in 1 of 4 rounds" in found["reason"]


def test_an_impossible_time_is_kept_and_shown_with_its_status() -> None:
    found = row(measured("a@1", 0, (1e-9,), status="impossible", reason="faster than memory"))
    assert (found["status"], found["median_s"]) == ("impossible", 1e-9)


def test_a_point_that_was_skipped_is_a_row_with_its_reason_and_no_time() -> None:
    found = row(measured("a@1", 0, (), status="skip", reason="no fp16 on a CPU"))
    assert (found["status"], found["reason"], found["rounds"]) == ("skip", "no fp16 on a CPU", 0)
    assert math.isnan(found["median_s"])


def test_a_round_measured_again_counts_once_by_its_last_record_and_says_so() -> None:
    found = row(measured("a@1", 0, (), status="crash"), measured("a@1", 0, (2.0,)))
    assert (found["status"], found["rounds"], found["median_s"]) == ("ok", 1, 2.0)
    assert "measured again after 1 crash" in found["reason"]


def test_doubts_about_good_rounds_are_kept() -> None:
    assert row(measured("a@1", 0, reason="not verified"), measured("a@1", 1))["reason"] == "not verified"


def test_arms_of_a_comparison_are_rows_of_their_own() -> None:
    table = results([measured("a@1", 0, (1.0,), arm="A"), measured("a@1", 0, (2.0,), arm="B")])
    assert list(table["arm"]) == ["A", "B"]
    assert list(table["median_s"]) == [1.0, 2.0]


def test_axes_are_columns_by_their_names_and_missing_where_a_case_has_none() -> None:
    network = measured("b@1", 0, params={"model": "resnet50", "clock": "x"})
    table = results([measured("a@1", 0), network, measured("c@1", 0, params={})])
    assert table["kernel_size"].tolist()[0] == 3
    assert table["kernel_size"].isna().tolist() == [False, True, True]
    assert table["model"].tolist()[1] == "resnet50"
    assert table["axis_clock"].tolist()[1] == "x"
    assert list(table["clock"]) == ["events"] * 3


def test_the_order_is_that_in_which_the_keys_first_appear() -> None:
    table = results([measured("b@1", 0), measured("a@1", 0), measured("b@1", 1)])
    assert list(table["key"]) == ["b@1", "a@1"]


def test_no_records_give_a_table_with_all_columns_and_no_rows() -> None:
    empty, full = results([]), results([measured("a@1", 0)])
    assert len(empty) == 0
    assert set(empty.columns) == set(full.columns) - {"kernel_size", "cache"}


def test_a_time_of_zero_is_no_warning_and_no_rate_with_a_spread(recwarn: pytest.WarningsRecorder) -> None:
    found = row(measured("a@1", 0, (0.0, 0.0)), measured("a@1", 1, (0.0, 0.0)))
    assert found["median_s"] == 0.0
    assert not recwarn.list


def test_a_point_under_heat_or_power_limits_is_marked_throttled() -> None:
    assert row(measured("a@1", 0, machine_state={"limited_share": 0.06}))["throttled"]
    assert not row(measured("a@1", 0, machine_state={"limited_share": 0.05}))["throttled"]
    assert not row(measured("a@1", 0, machine_state={"limited_share": None}))["throttled"]


def test_a_point_hardly_longer_than_the_empty_launch_is_marked() -> None:
    table = results([measured("control_empty@1", 0, (3e-6,)), measured("a@1", 0, (1e-5,)), measured("b@1", 0)])
    assert table["overhead_bound"].tolist() == [True, True, False]
    assert not row(measured("a@1", 0, (1e-5,)))["overhead_bound"]


def test_rounds_that_disagree_about_a_word_show_both() -> None:
    found = row(measured("a@1", 0), measured("a@1", 1, warmup_class="warming", capped=True))
    assert found["warmup_class"] == "flat, warming"
    assert found["capped"]


def test_the_gate_gets_the_rounds_medians_of_one_arm_with_nothing_where_a_round_is_bad() -> None:
    records = [
        measured("a@1", 0, (1.0, 3.0, 2.0), arm="A"),
        measured("a@1", 2, (4.0,), arm="A"),
        measured("b@1", 0, (), arm="A", status="oom"),
        measured("b@1", 1, (1e-9,), arm="A", status="impossible"),
        measured("b@1", 2, (5.0, 5.0), arm="A"),
        measured("a@1", 0, (9.0,), arm="B"),
    ]
    keys, medians = round_medians(records, arm="A")
    assert keys == ("a@1", "b@1")
    expected = np.array([[2.0, math.nan, 4.0], [math.nan, math.nan, 5.0]])
    assert medians == pytest.approx(expected, nan_ok=True)
    assert round_medians(records, arm="B")[1].tolist() == [[9.0]]


def test_a_time_of_zero_and_no_records_give_the_gate_nothing() -> None:
    assert np.isnan(round_medians([measured("a@1", 0, (0.0,))])[1]).all()
    assert round_medians([])[1].shape == (0, 0)


def test_fifty_thousand_records_are_read_and_summarised_in_five_seconds() -> None:
    generator = np.random.default_rng(0)
    times = (1e-3 * np.exp(0.003 * generator.standard_normal((100, 20)))).tolist()
    lines = [to_line(measured(f"a@1;k={i}", r, tuple(times[i % 100]))) for r in range(5) for i in range(10_000)]
    began = time.process_time()
    table = results([from_line(line) for line in lines])
    spent = time.process_time() - began
    print(f"50,000 records: {spent:.1f} s of CPU time")
    assert len(table) == 10_000
    assert spent < 5
