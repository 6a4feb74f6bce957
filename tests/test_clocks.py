"""Do the clocks flush what they must, and count cycles at the pace of a busy GPU?"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from benchbench import clocks
from benchbench.clocks import EventClock, HostClock, clock_for, last_level_cache_bytes


def test_the_cpu_s_flush_covers_twice_its_last_level_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index, size in (("index0", "48K"), ("index2", "2048K"), ("index3", "3M")):
        (tmp_path / index).mkdir()
        (tmp_path / index / "size").write_text(size + "\n")
    assert last_level_cache_bytes(tmp_path) == 3 * 2**20
    assert last_level_cache_bytes(tmp_path / "nothing") == 32 * 2**20
    monkeypatch.setattr(clocks, "last_level_cache_bytes", lambda: 1000)
    clock = HostClock()
    clock.flush()
    assert clock._buffer.nbytes == 2000


def test_a_device_without_a_clock_is_refused() -> None:
    with pytest.raises(ValueError, match="no clock for device 'mps'"):
        clock_for("mps")


class RisingGpu:
    """Events and the waiting kernel of a GPU whose clock rises from call to call to the last of these, in hertz."""

    def __init__(self, *rates_hz: float) -> None:
        self.rates_hz = list(rates_hz)
        self.now_s = 0.0
        self.cuda = SimpleNamespace(_sleep=self.wait, Event=self.event, synchronize=lambda device: None)

    def wait(self, cycles: int) -> None:
        self.now_s += cycles / (self.rates_hz.pop(0) if len(self.rates_hz) > 1 else self.rates_hz[0])

    def event(self, *, enable_timing: bool) -> SimpleNamespace:
        made = SimpleNamespace(at_s=0.0)
        made.record = lambda stream: setattr(made, "at_s", self.now_s)
        made.elapsed_time = lambda later: (later.at_s - made.at_s) * 1e3
        return made


@pytest.mark.parametrize(
    "rates_hz", [(1.98e9,), (345e6, 1.98e9), (345e6, 345e6, 1.98e9), (345e6, 700e6, 1.2e9, 1.6e9, 1.9e9, 1.98e9)]
)
def test_cycles_are_counted_at_the_clock_of_a_busy_gpu(rates_hz: tuple[float, ...]) -> None:
    clock = EventClock.__new__(EventClock)
    clock._torch, clock._device, clock._stream = RisingGpu(*rates_hz), None, None
    assert clock._calibrate() == pytest.approx(rates_hz[-1])
