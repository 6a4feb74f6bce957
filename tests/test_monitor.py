"""Does the monitor say in what state the GPU was, and which samples were taken under heat or a power cap?"""

from __future__ import annotations

import itertools
import sys
import time
from typing import Any

import pytest
from fake_nvml import NOT_SUPPORTED, FakeGpu, FakeNvml

from benchbench import nvml
from benchbench.monitor import Look, Monitor, summary, tagged, throttled

UUID = "11111111-2222-3333-4444-555555555555"


def opened(monkeypatch: pytest.MonkeyPatch, answers: dict[str, Any]) -> nvml.Gpu:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(FakeGpu(answers)))
    gpu = nvml.find(UUID)
    assert gpu is not None
    return gpu


def look(at_s: float, *reasons: str, clock_hz: int = 1) -> Look:
    return Look(at_s, clock_hz, None, None, None, reasons)


def test_joules_are_the_difference_of_the_total_energy_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = iter([5_000_000, 5_012_500])
    monitor = Monitor(
        opened(monkeypatch, {"nvmlDeviceGetTotalEnergyConsumption": lambda: next(counter)}), interval_s=9.0
    )
    monitor.start()
    seen = monitor.stop()
    assert seen["energy_j"] == 12.5
    assert seen["looks"] == 2
    assert seen["sm_clock_hz"] == [1_755_000_000] * 3
    assert seen["power_w"] == [350.0] * 3
    assert seen["other_processes"] == 0


def test_a_block_that_nobody_ended_looks_no_more_once_the_next_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = Monitor(opened(monkeypatch, {}), interval_s=9.0)
    monitor.start()
    forgotten = monitor._thread
    monitor.start()
    assert forgotten is not None
    assert not forgotten.is_alive()
    assert monitor.stop()["looks"] == 2


@pytest.mark.parametrize(
    ("getter", "field"),
    [
        ("nvmlDeviceGetTotalEnergyConsumption", "energy_j"),
        ("nvmlDeviceGetCurrentClocksEventReasons", "throttled"),
        ("nvmlDeviceGetClockInfo", "sm_clock_hz"),
        ("nvmlDeviceGetTemperature", "temperature_c"),
        ("nvmlDeviceGetPowerUsage", "power_w"),
    ],
)
def test_what_is_not_supported_is_none_and_the_rest_is_there(
    monkeypatch: pytest.MonkeyPatch, getter: str, field: str
) -> None:
    fields = {"energy_j", "throttled", "sm_clock_hz", "temperature_c", "power_w"}
    monitor = Monitor(opened(monkeypatch, {getter: NOT_SUPPORTED}), interval_s=9.0)
    monitor.start()
    seen = monitor.stop()
    assert {name for name in fields if seen[name] is None} == {field}


def test_without_a_gpu_the_monitor_says_nothing() -> None:
    monitor = Monitor("cpu")
    monitor.start()
    assert monitor.stop() == {}
    assert monitor.tagged([1.0]) == (False,)


def test_it_goes_on_looking_until_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = Monitor(opened(monkeypatch, {}), interval_s=0.001)
    monitor.start()
    deadline = time.monotonic() + 10
    while len(monitor.looks) < 5 and time.monotonic() < deadline:
        time.sleep(0.001)
    count = monitor.stop()["looks"]
    assert count >= 5
    time.sleep(0.01)
    assert len(monitor.looks) == count


def test_a_second_block_forgets_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monitor = Monitor(opened(monkeypatch, {}), interval_s=9.0, clock=lambda: float(next(ticks)))
    monitor.start()
    first = monitor.stop()
    monitor.start()
    second = monitor.stop()
    assert first["looks"] == second["looks"] == 2
    assert first["seconds"] == second["seconds"] == 3.0


def test_samples_are_tagged_by_the_nearest_look_and_none_is_thrown_away() -> None:
    looks = [look(0.0), look(1.0, "sw_power_cap"), look(2.0, "hw_thermal_slowdown"), look(3.0, "gpu_idle")]
    assert tagged(looks, [0.4, 0.6, 1.4, 2.4, 2.6, 99.0]) == (False, True, True, True, False, False)
    assert tagged([], [0.0, 1.0]) == (False, False)


def test_a_block_numbers_its_tagged_samples_and_counts_samples_not_looks() -> None:
    looks = [look(0.0), look(1.0, "sw_power_cap"), look(2.0)]
    of_looks = summary(looks)
    assert (of_looks["tagged"], of_looks["limited_share"], of_looks["throttled"]) == (None, 1 / 3, True)
    of_samples = summary(looks, [0.1] * 19 + [1.1])
    assert (of_samples["tagged"], of_samples["limited_share"], of_samples["throttled"]) == ([19], 0.05, False)
    assert summary(looks, [0.1] * 18 + [1.1, 1.2])["throttled"]
    assert summary([Look(0.0, 1, 1, 1, 1.0, None)], [0.0])["tagged"] is None


def test_samples_are_tagged_from_the_times_that_the_timer_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    reasons = iter([0, 0x4])
    gpu = opened(monkeypatch, {"nvmlDeviceGetCurrentClocksEventReasons": lambda: next(reasons)})
    monitor = Monitor(gpu, interval_s=9.0, clock=lambda: float(next(ticks)))
    monitor.start()
    seen = monitor.stop([0.0, 1.0, 2.0])
    assert seen["tagged"] == [2]
    assert seen["throttled"]


def test_more_than_five_percent_of_tagged_samples_mark_a_point_throttled() -> None:
    assert not throttled([True] * 5 + [False] * 95)
    assert throttled([True] * 6 + [False] * 94)
    assert not throttled([])


def test_a_summary_keeps_the_range_and_the_reasons() -> None:
    seen = summary([look(0, "gpu_idle", clock_hz=3), look(1, "sw_power_cap", clock_hz=1), look(2, clock_hz=2)])
    assert seen["sm_clock_hz"] == [1, 2, 3]
    assert seen["event_reasons"] == ["gpu_idle", "sw_power_cap"]
    assert seen["limited_share"] == pytest.approx(1 / 3)
    assert seen["throttled"]
    assert summary([])["throttled"] is None


@pytest.mark.gpu
def test_a_gpu_at_work_has_a_clock_a_power_and_an_energy_that_agree() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    matrix = torch.randn(8192, 8192, device="cuda")
    monitor = Monitor("cuda:0")
    assert monitor.gpu is not None, "NVML did not find the GPU by its UUID"
    monitor.start()
    ends: list[float] = []
    while not ends or ends[-1] - ends[0] < 3.0:
        matrix @ matrix
        torch.cuda.synchronize()
        ends.append(time.perf_counter())
    tags, seen = monitor.tagged(ends), monitor.stop()
    assert len(tags) == len(ends)
    assert seen["looks"] > 20
    assert seen["sm_clock_hz"][1] > 1e8
    if seen["energy_j"] is not None and seen["power_w"] is not None:
        assert seen["energy_j"] == pytest.approx(seen["power_w"][1] * seen["seconds"], rel=0.3)
