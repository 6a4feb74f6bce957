"""What time is it on the device? The host's clock, and events on a GPU whose launch gaps a backlog hides."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Protocol

# A step of the calibration, some 5 ms of a busy GPU; for how long it goes on at least, and while the clock still rises.
CALIBRATION_CYCLES = 10_000_000
CALIBRATION_S = (0.05, 0.5)


class Clock(Protocol):
    """A device's timeline as the host sees it. Marks, holds and flushes queue behind what was launched before."""

    name: str

    def now(self) -> float:
        """Seconds on the host's clock."""

    def mark(self) -> Any:
        """A point on the device's timeline, after everything launched so far."""

    def reached(self, mark: Any) -> bool:
        """Has the device come to this point?"""

    def between(self, first: Any, last: Any) -> float:
        """Seconds between two points that the device has reached."""

    def synchronize(self) -> None:
        """Wait until the device has done everything."""

    def hold(self, seconds: float) -> None:
        """Keep the device busy, so that what is launched meanwhile runs without gaps."""

    def flush(self) -> None:
        """Replace what the device's cache holds."""


class HostClock:
    """The CPU's own clock: a call is over when it returns."""

    name = "host"

    def __init__(self) -> None:
        self._buffer: Any = None

    def now(self) -> float:
        return time.perf_counter()

    mark = now

    def reached(self, mark: float) -> bool:
        return False

    def between(self, first: float, last: float) -> float:
        return last - first

    def synchronize(self) -> None:
        return None

    def hold(self, seconds: float) -> None:
        return None

    def flush(self) -> None:
        if self._buffer is None:
            import numpy as np

            self._buffer = np.ones(2 * last_level_cache_bytes(), dtype=np.uint8)
        self._buffer += 1


def last_level_cache_bytes(cpu: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> int:
    """The size of the largest cache that the first core uses; 32 MiB where the kernel does not say."""
    sizes = []
    for entry in cpu.glob("index*/size"):
        text = entry.read_text().strip()
        scale = {"K": 2**10, "M": 2**20, "G": 2**30}.get(text[-1:], 1)
        digits = text.rstrip("KMG")
        sizes += [int(digits) * scale] if digits.isdigit() else []
    return max(sizes, default=32 * 2**20)


class EventClock:
    """CUDA events on the current stream. Launch gaps are hidden behind a kernel that only waits (the backlog)."""

    name = "events"

    def __init__(self, device: str) -> None:
        import torch

        self._torch: Any = torch
        self._device = torch.device(device)
        torch.cuda.set_device(self._device)
        self._stream = torch.cuda.current_stream(self._device)
        cache = torch.cuda.get_device_properties(self._device).L2_cache_size
        self._buffer = torch.zeros(max(cache, 2**20) // 2, dtype=torch.float32, device=self._device)
        self._sum = torch.empty((), dtype=torch.float32, device=self._device)
        self._cycles_per_s = self._calibrate()

    def _calibrate(self) -> float:
        """Cycles that the waiting kernel counts in a second, once the GPU has left the clock at which it idles."""
        rates = [0.0]
        began, (least_s, most_s) = self.now(), CALIBRATION_S
        while (spent := self.now() - began) < least_s or (rates[-1] > 1.02 * rates[-2] and spent < most_s):
            first = self.mark()
            self._torch.cuda._sleep(CALIBRATION_CYCLES)
            last = self.mark()
            self.synchronize()
            rates.append(CALIBRATION_CYCLES / self.between(first, last))
        return max(rates)

    def now(self) -> float:
        return time.perf_counter()

    def mark(self) -> Any:
        event = self._torch.cuda.Event(enable_timing=True)
        event.record(self._stream)
        return event

    def reached(self, mark: Any) -> bool:
        return bool(mark.query())

    def between(self, first: Any, last: Any) -> float:
        return float(first.elapsed_time(last)) * 1e-3

    def synchronize(self) -> None:
        self._torch.cuda.synchronize(self._device)

    def hold(self, seconds: float) -> None:
        if seconds > 0:
            # Private in torch, but there is no public kernel that waits without touching memory.
            self._torch.cuda._sleep(int(seconds * self._cycles_per_s))

    def flush(self) -> None:
        # Reads, so that the next call does not pay for writing back what a flush that writes leaves behind.
        self._torch.sum(self._buffer, dim=0, out=self._sum)


def clock_for(device: str) -> Clock:
    """The clock of a device: the host's for "cpu", events with a backlog for "cuda:0". ValueError for any other."""
    if device == "cpu":
        return HostClock()
    if device.startswith("cuda"):
        return EventClock(device)
    raise ValueError(f"no clock for device {device!r}: use cpu or cuda:N")
