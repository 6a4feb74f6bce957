"""Are the joules of a call those that a scripted GPU draws?"""

from __future__ import annotations

import sys
from typing import Any

import pytest
from fake_nvml import NOT_SUPPORTED, FakeGpu, FakeNvml

from benchbench import nvml
from benchbench.energy import joules_per_call

UUID = "11111111-2222-3333-4444-555555555555"


class Device:
    """Draws a constant power on a time line of its own; its counter, in millijoules, shows the last tick."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, watts: float, call_s: float, tick_s: float) -> None:
        self.now_s = 0.0
        self.watts, self.call_s, self.tick_s = watts, call_s, tick_s
        answers: dict[str, Any] = {"nvmlDeviceGetTotalEnergyConsumption": self.counter}
        monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(FakeGpu(answers)))
        self.gpu = nvml.find(UUID)

    def counter(self) -> int:
        # Asking takes time too, during which the device draws as much.
        self.now_s += 1e-5
        return int(self.now_s // self.tick_s * self.tick_s * self.watts * 1000)

    def launch(self) -> None:
        self.now_s += self.call_s

    def joules(self, **how: Any) -> tuple[float, ...]:
        return joules_per_call(self.gpu, self.launch, lambda: None, clock=lambda: self.now_s, **how)


@pytest.mark.parametrize("tick_s", [0.02, 0.1])
@pytest.mark.parametrize("call_s", [2e-5, 1e-3, 0.03])
def test_joules_are_power_times_time_of_the_call(monkeypatch: pytest.MonkeyPatch, call_s: float, tick_s: float) -> None:
    found = Device(monkeypatch, watts=300.0, call_s=call_s, tick_s=tick_s).joules()
    assert len(found) == 5
    # One burst or one call at either end of half a second, and the questions to the counter.
    assert found == pytest.approx([300.0 * call_s] * 5, rel=0.02 + 2 * call_s / 0.5)


def test_a_counter_that_stands_still_or_does_not_exist_gives_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Device(monkeypatch, watts=0.0, call_s=1e-3, tick_s=0.1).joules() == ()
    monkeypatch.setitem(
        sys.modules, "pynvml", FakeNvml(FakeGpu({"nvmlDeviceGetTotalEnergyConsumption": NOT_SUPPORTED}))
    )
    gpu = nvml.find(UUID)
    calls: list[int] = []
    assert joules_per_call(gpu, lambda: calls.append(1), lambda: None) == ()
    assert joules_per_call(None, lambda: calls.append(1), lambda: None) == ()
    assert calls == []
