"""Are the times that the timer reports those of the script? A scripted device stands in for the GPU.

The device here knows nothing of the timer: the host issues commands at its own pace, the device runs them in order, and
both sides of every call are in the script.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from benchbench import timer
from benchbench.clocks import HostClock, clock_for
from benchbench.timer import Policy, measure

WARM = Policy(cache="warm", warmup_floor_s=0.01, warmup_cap_s=0.2)
COLD = Policy(cache="cold", warmup_floor_s=0.01, warmup_cap_s=0.2)


@dataclass
class ScriptedDevice:
    """A host that needs ``issue_s`` for a launch, and a device that runs what is queued, in order, without overlap."""

    issue_s: float = 20e-6
    flush_s: float = 50e-6
    sync_s: float = 10e-6
    name: str = "events"
    host_s: float = 100.0
    device_s: float = 100.0
    cached: bool = False
    flushes: int = 0
    held_s: float = 0.0
    depth: int = 10**9
    queued: deque[float] = field(default_factory=deque)

    def run(self, seconds: float, issue_s: float | None = None) -> None:
        """One launch: the host issues it, the device begins when it is issued and everything before is done.

        Where ``depth`` launches are not done yet, the host waits until one is.
        """
        self.host_s += self.issue_s if issue_s is None else issue_s
        while self.queued and (len(self.queued) >= self.depth or self.queued[0] <= self.host_s):
            self.host_s = max(self.host_s, self.queued.popleft())
        self.device_s = max(self.device_s, self.host_s) + seconds
        self.queued.append(self.device_s)

    def now(self) -> float:
        return self.host_s

    def mark(self) -> float:
        self.device_s = max(self.device_s, self.host_s)
        return self.device_s

    def reached(self, mark: float) -> bool:
        return mark <= self.host_s

    def between(self, first: float, last: float) -> float:
        return last - first

    def synchronize(self) -> None:
        self.host_s = max(self.host_s, self.device_s) + self.sync_s

    def hold(self, seconds: float) -> None:
        self.held_s += seconds
        self.device_s = max(self.device_s, self.host_s) + seconds

    def flush(self) -> None:
        self.flushes += 1
        self.cached = False
        self.run(self.flush_s)


def noisy(seconds: float, spread: float = 0.001, seed: int = 0) -> Iterator[float]:
    generator = np.random.default_rng(seed)
    while True:
        yield from (seconds * np.exp(spread * generator.standard_normal(1000))).tolist()


def kernel(device: ScriptedDevice, durations: Iterator[float], run: list[float]) -> Callable[[], None]:
    """An operation of one launch; what the script gave each call is kept in ``run``."""

    def launch() -> None:
        run.append(next(durations))
        device.run(run[-1])

    return launch


def test_device_times_are_the_scripts_durations_and_no_launch_gap_is_in_them() -> None:
    device, run = ScriptedDevice(), list[float]()
    samples = measure(kernel(device, noisy(5e-6), run), policy=WARM, clock=device)
    assert samples.gaps == 0
    at = next(i for i in range(len(run)) if abs(run[i] - samples.samples_s[0]) < 1e-12)
    assert run[at : at + 10] == pytest.approx(samples.samples_s[:10], abs=1e-9)


def test_without_the_backlog_the_launch_gap_is_in_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ScriptedDevice, "hold", lambda self, seconds: None)
    device = ScriptedDevice()
    samples = measure(kernel(device, itertools.repeat(5e-6), []), policy=WARM, clock=device)
    assert min(samples.samples_s) > 4 * 5e-6 - 1e-9
    assert samples.gaps == len(samples.samples_s)


@pytest.mark.parametrize("duration", [5e-6, 15e-6, 1e-3], ids=["launch-bound", "nearly", "device-bound"])
def test_host_times_of_warm_calls_are_the_pace_of_launches_or_of_the_device(duration: float) -> None:
    device = ScriptedDevice()
    samples = measure(kernel(device, itertools.repeat(duration), []), policy=WARM, clock=device)
    calls = min(max(int(np.ceil(2e-3 / duration)), 5), 50)
    pace = max(device.issue_s, duration)
    whole = device.issue_s + (calls - 1) * pace + duration + device.sync_s
    assert samples.samples_s == pytest.approx([duration] * len(samples.samples_s), abs=1e-9)
    assert samples.host_samples_s == pytest.approx([whole / calls] * len(samples.host_samples_s), abs=1e-9)


def test_host_times_of_cold_calls_are_single_calls_without_the_flush() -> None:
    device = ScriptedDevice()
    samples = measure(kernel(device, itertools.repeat(30e-6), []), policy=COLD, clock=device)
    assert samples.host_samples_s == pytest.approx([20e-6 + 30e-6 + 10e-6] * len(samples.host_samples_s), abs=1e-9)


def cache_sensitive(device: ScriptedDevice) -> Callable[[], None]:
    """10 us on data in the cache, 40 us on data that are not."""

    def launch() -> None:
        device.run(10e-6 if device.cached else 40e-6)
        device.cached = True

    return launch


def test_cold_calls_never_find_their_data_in_the_cache_and_warm_calls_do() -> None:
    for policy, expected in ((COLD, 40e-6), (WARM, 10e-6)):
        device = ScriptedDevice()
        samples = measure(cache_sensitive(device), policy=policy, clock=device)
        assert samples.samples_s == pytest.approx([expected] * len(samples.samples_s), abs=1e-9)


def test_without_the_flush_a_cold_measurement_is_a_warm_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ScriptedDevice, "flush", lambda self: None)
    device = ScriptedDevice()
    samples = measure(cache_sensitive(device), policy=COLD, clock=device)
    assert samples.samples_s == pytest.approx([10e-6] * len(samples.samples_s), abs=1e-9)


def test_flushing_takes_nothing_from_the_warm_up_budget() -> None:
    slow_flush = ScriptedDevice(flush_s=5e-3)
    samples = measure(kernel(slow_flush, noisy(1e-3), []), policy=COLD, clock=slow_flush)
    assert samples.warmup_s == pytest.approx(samples.warmup_calls * 1e-3, rel=0.01)
    assert samples.warmup_s >= COLD.warmup_floor_s


def test_every_sample_knows_when_it_was_over() -> None:
    device, over = ScriptedDevice(), list[float]()

    def launch() -> None:
        device.run(1e-3)
        over.append(device.device_s)

    samples = measure(launch, policy=WARM, clock=device)
    # The timer sees the end of a batch when the synchronisation returns, not when the device is done.
    expected = [at + device.sync_s for at in over]
    assert len(samples.ended_s) == len(samples.samples_s)
    assert all(min(abs(at - ended) for ended in expected) < 1e-9 for at in samples.ended_s)
    assert np.diff(samples.ended_s).min() > 0


def test_phases_are_split_by_marks_and_add_up_to_the_samples() -> None:
    device = ScriptedDevice()
    durations = {"forward": 300e-6, "backward": 650e-6, "optimizer": 50e-6}
    phases = [(name, lambda seconds=seconds: device.run(seconds)) for name, seconds in durations.items()]
    samples = measure(lambda: pytest.fail("the phases are the call"), policy=WARM, clock=device, phases=phases)
    for name, seconds in durations.items():
        assert samples.phases[name] == pytest.approx([seconds] * len(samples.samples_s), abs=1e-9)
    assert np.sum(list(samples.phases.values()), axis=0) == pytest.approx(samples.samples_s, abs=1e-12)


def test_a_call_of_many_launches_that_the_host_issues_slower_than_the_device_runs_has_no_gaps() -> None:
    device = ScriptedDevice(issue_s=10e-6)

    def network() -> None:
        for _ in range(100):
            device.run(3e-6)

    samples = measure(network, policy=WARM, clock=device)
    assert samples.samples_s == pytest.approx([300e-6] * len(samples.samples_s), abs=1e-9)
    assert samples.gaps == 0


@pytest.mark.parametrize("each", [3e-6, 30e-6], ids=["host-bound", "device-bound"])
def test_a_queue_too_short_for_a_batch_makes_no_gaps(each: float) -> None:
    device = ScriptedDevice(issue_s=10e-6, depth=1024)

    def network() -> None:
        for _ in range(600):
            device.run(each)

    samples = measure(network, policy=WARM, clock=device)
    assert samples.samples_s == pytest.approx([600 * each] * len(samples.samples_s), abs=1e-9)
    assert samples.gaps == 0


def test_a_call_whose_launches_outlast_the_longest_backlog_says_that_gaps_are_possible() -> None:
    device = ScriptedDevice()
    samples = measure(lambda: device.run(1e-3, issue_s=timer._HOLD_CAP_S * 2), policy=WARM, clock=device)
    assert samples.gaps == len(samples.samples_s)


def test_quiet_times_stop_at_the_least_number_of_samples() -> None:
    device = ScriptedDevice()
    samples = measure(kernel(device, itertools.repeat(1e-3), []), policy=WARM, clock=device)
    assert len(samples.samples_s) == WARM.min_samples
    assert not samples.capped


def test_a_policy_of_seven_samples_takes_seven() -> None:
    device = ScriptedDevice()
    policy = Policy(cache="warm", min_samples=7, warmup_floor_s=0, warmup_cap_s=0.001)
    samples = measure(kernel(device, itertools.repeat(1e-3), []), policy=policy, clock=device)
    assert len(samples.samples_s) == 7


def test_loud_times_stop_when_the_interval_is_narrow_and_not_before() -> None:
    device = ScriptedDevice()
    samples = measure(kernel(device, noisy(1e-3, 0.02), []), policy=WARM, clock=device)
    assert len(samples.samples_s) > WARM.min_samples
    assert not samples.capped
    assert (samples.high_s - samples.low_s) / 2 <= WARM.half_width * np.median(samples.samples_s)


@pytest.mark.parametrize("cap", [{"max_samples": 40}, {"time_cap_s": 0.05}], ids=["samples", "seconds"])
def test_a_point_stopped_by_a_cap_says_so_and_keeps_its_width(cap: dict[str, float]) -> None:
    device = ScriptedDevice()
    policy = Policy(cache="warm", warmup_floor_s=0, warmup_cap_s=0.01, **cap)  # type: ignore[arg-type]
    samples = measure(kernel(device, noisy(1e-3, 0.2), []), policy=policy, clock=device)
    assert samples.capped
    assert 20 <= len(samples.samples_s) <= 60
    assert (samples.high_s - samples.low_s) / 2 > policy.half_width * np.median(samples.samples_s)


def test_calls_longer_than_the_time_cap_still_give_the_least_number_of_samples() -> None:
    device = ScriptedDevice()
    policy = Policy(cache="warm", min_samples=7, time_cap_s=0.5, warmup_floor_s=0, warmup_cap_s=0.01)
    samples = measure(kernel(device, noisy(2.0, 0.2), []), policy=policy, clock=device)
    assert len(samples.samples_s) == 7
    assert samples.capped


def test_warm_up_goes_on_until_the_times_have_settled() -> None:
    device, calls = ScriptedDevice(), itertools.count()
    noise = noisy(1e-3, 0.005)

    def settling() -> None:
        device.run(next(noise) * (1 + 0.1 * np.exp(-next(calls) / 30)))

    samples = measure(settling, policy=WARM, clock=device)
    assert samples.warmup_class == "warming"
    assert 0.8 * 30 * np.log(40) <= samples.warmup_calls
    assert np.median(samples.samples_s) == pytest.approx(1e-3, rel=0.0035)


def test_without_a_look_at_the_data_the_first_samples_are_still_warming(monkeypatch: pytest.MonkeyPatch) -> None:
    device, calls = ScriptedDevice(), itertools.count()
    monkeypatch.setattr(timer.series, "warmup", lambda times: timer.series.Warmup(0, "flat"))
    samples = measure(lambda: device.run(1e-3 * (1 + 0.1 * np.exp(-next(calls) / 30))), policy=WARM, clock=device)
    assert samples.samples_s[0] > 1.03e-3


def test_a_warm_up_that_never_settles_ends_at_its_cap() -> None:
    device, calls = ScriptedDevice(), itertools.count()
    policy = Policy(cache="warm", warmup_floor_s=0.01, warmup_cap_s=0.1, max_samples=100)
    samples = measure(lambda: device.run(1e-3 * (1 + 0.002 * next(calls))), policy=policy, clock=device)
    assert 0.1 <= samples.warmup_s <= 0.12
    assert samples.warmup_class == "slowing"


def test_an_operation_that_fails_fails_the_measurement() -> None:
    def broken() -> None:
        raise RuntimeError("illegal address")

    with pytest.raises(RuntimeError, match="illegal address"):
        measure(broken, policy=WARM, clock=ScriptedDevice())


def test_the_loop_spends_under_a_twentieth_of_the_device_s_time_outside_timed_work() -> None:
    device = ScriptedDevice()
    samples = measure(kernel(device, noisy(1e-3, 0.01), []), policy=WARM, clock=device)
    assert 0 < 1 - samples.timed_s / samples.elapsed_s < 0.05


def test_on_a_cpu_both_clocks_are_the_host_s(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(HostClock, "mark", lambda self: next(ticks) * 1e-3)
    samples = measure(lambda: None, policy=Policy(cache="warm", warmup_floor_s=0, warmup_cap_s=0.01), clock=HostClock())
    assert samples.samples_s == pytest.approx([1e-3] * 20)
    assert samples.host_samples_s == samples.samples_s
    assert samples.clock == "host"


@pytest.mark.parametrize(
    "wrong",
    [
        {"cache": "tepid"},
        {"min_samples": 0},
        {"min_samples": 20, "max_samples": 10},
        {"look_every": 0},
        {"warmup_floor_s": 2.0, "warmup_cap_s": 1.0},
        {"half_width": 0.0},
        {"level": 1.0},
    ],
    ids=str,
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"expected|cache"):
        Policy(**wrong)  # type: ignore[arg-type]


@pytest.mark.gpu
def test_a_copy_of_half_the_l2_is_faster_warm_and_one_of_eight_times_the_l2_is_not() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    cache = torch.cuda.get_device_properties(0).L2_cache_size
    assert cold_over_warm(torch, cache // 2) > 1.3
    # No cache replaces strictly the oldest: an eighth of the bytes, all that it holds, may be found in it.
    assert 0.97 < cold_over_warm(torch, 8 * cache) < 8 / 7


def cold_over_warm(torch: Any, total_bytes: int) -> float:
    source = torch.randn(total_bytes // 8, device="cuda")
    target = torch.empty_like(source)
    clock = clock_for("cuda:0")
    cold, warm = (measure(lambda: target.copy_(source), policy=p, clock=clock) for p in (COLD, WARM))
    return float(np.median(cold.samples_s) / np.median(warm.samples_s))


@pytest.mark.parametrize("policy", [WARM, COLD], ids=["warm", "cold"])
def test_the_parts_of_a_marked_run_are_beside_the_samples_and_in_none_of_them(policy: Policy) -> None:
    device = ScriptedDevice()

    def marked(mark: Callable[[str], None]) -> None:
        for part, seconds in (("mixer", 10e-6), ("", 7e-6), ("rest", 5e-6), ("mixer", 20e-6), ("rest", 1e-6)):
            device.run(seconds)
            mark(part)

    samples = measure(lambda: device.run(30e-6), policy=policy, clock=device, marked=marked)
    count = len(samples.samples_s)
    assert samples.samples_s == pytest.approx([30e-6] * count, abs=1e-9)
    assert set(samples.parts) == {"mixer", "rest"}
    assert samples.parts["mixer"] == pytest.approx([30e-6] * count, abs=1e-9)
    assert samples.parts["rest"] == pytest.approx([6e-6] * count, abs=1e-9)
    assert samples.gaps == 0
    alone = ScriptedDevice()
    without = measure(lambda: alone.run(30e-6), policy=policy, clock=alone)
    assert without.parts == {}
    assert samples.host_samples_s[0] == pytest.approx(without.host_samples_s[0], abs=1e-9)


def test_a_sample_ended_before_the_marked_run_beside_it_began() -> None:
    device = ScriptedDevice()
    ended: list[float] = []

    def launch() -> None:
        device.run(30e-6)
        ended.append(device.device_s)

    def marked(mark: Callable[[str], None]) -> None:
        device.run(1e-3)
        mark("all")

    samples = measure(launch, policy=WARM, clock=device, marked=marked)
    # Synchronising takes a moment after the last of a batch, which the device does not see.
    assert all(min(abs(end - told) for told in ended) <= device.sync_s + 1e-9 for end in samples.ended_s)
