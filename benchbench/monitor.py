"""In what state was the GPU while it was measured? Clocks, temperature, power, event reasons and energy."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchbench.nvml import THERMAL_OR_POWER, Gpu

INTERVAL_S = 0.1
# Above this share of samples under thermal or power events a point is marked throttled.
THROTTLED_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the GPU. at_s: of the clock that the monitor was given."""

    at_s: float
    sm_clock_hz: int | None
    memory_clock_hz: int | None
    temperature_c: int | None
    power_w: float | None
    event_reasons: tuple[str, ...] | None

    @property
    def limited(self) -> bool:
        """Whether heat or power held the clocks down."""
        return bool(THERMAL_OR_POWER.intersection(self.event_reasons or ()))


class Monitor:
    """Looks at a GPU from a thread of its own between `start` and `stop`. Without NVML it does nothing and says {}."""

    def __init__(
        self,
        device: str | Gpu | None,
        *,
        interval_s: float = INTERVAL_S,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.gpu = _opened(device) if isinstance(device, str) else device
        self.interval_s = interval_s
        self.clock = clock
        self.looks: list[Look] = []
        self._energy_j: float | None = None
        self._began_s = 0.0
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin a block: forget what was seen, look once, and go on looking. A block that nobody ended is over."""
        if self.gpu is None:
            return
        self._end()
        self.looks = []
        self._done = threading.Event()
        self._began_s = self.clock()
        self._energy_j = self.gpu.energy_j()
        self.look()
        self._thread = threading.Thread(target=self._keep_looking, args=(self._done,), daemon=True)
        self._thread.start()

    def stop(self, ended_s: Sequence[float] = ()) -> dict[str, Any]:
        """End the block: the range of what was seen, the joules drawn, other processes; {} without NVML.

        ended_s: when each sample ended, on the monitor's clock: then "tagged" numbers those under thermal or power
        events, and "limited_share" and "throttled" are of samples, not of looks.
        """
        if self.gpu is None or self._thread is None:
            return {}
        self._end()
        self.look()
        energy_j, over_s = self.gpu.energy_j(), self.clock()
        drawn = None if energy_j is None or self._energy_j is None else energy_j - self._energy_j
        return summary(self.looks, ended_s) | {
            "seconds": over_s - self._began_s,
            "energy_j": drawn,
            "other_processes": self.gpu.other_processes(context=_has_context()),
        }

    def _end(self) -> None:
        if self._thread is not None:
            self._done.set()
            self._thread.join()
            self._thread = None

    def look(self) -> None:
        """Look once, now."""
        assert self.gpu is not None
        gpu = self.gpu
        self.looks.append(
            Look(
                self.clock(),
                gpu.clock_hz("SM"),
                gpu.clock_hz("MEM"),
                gpu.temperature_c(),
                gpu.power_w(),
                gpu.event_reasons(),
            )
        )

    def tagged(self, times_s: Sequence[float]) -> tuple[bool, ...]:
        """For samples that ended at these times of the monitor's clock: whether heat or power held the clocks down.

        A sample takes the state of the nearest look.
        """
        return tagged(self.looks, times_s)

    def _keep_looking(self, done: threading.Event) -> None:
        while not done.wait(self.interval_s):
            self.look()


def tagged(looks: Sequence[Look], times_s: Sequence[float]) -> tuple[bool, ...]:
    """Whether the look nearest to each time was under a thermal or power event."""
    if not looks:
        return (False,) * len(times_s)
    return tuple(min(looks, key=lambda look: abs(look.at_s - at)).limited for at in times_s)


def throttled(tags: Sequence[bool]) -> bool:
    """Whether more than 5 % of the samples were under thermal or power events."""
    return sum(tags) > THROTTLED_SHARE * len(tags)


def summary(looks: Sequence[Look], ended_s: Sequence[float] = ()) -> dict[str, Any]:
    """Lowest, median and highest of what was seen, the event reasons, and the share of samples under heat or power.

    Without the times of samples, the share of looks.
    """
    result: dict[str, Any] = {"looks": len(looks)}
    for name in ("sm_clock_hz", "memory_clock_hz", "temperature_c", "power_w"):
        seen = [value for value in (getattr(look, name) for look in looks) if value is not None]
        result[name] = [min(seen), statistics.median(seen), max(seen)] if seen else None
    known = [look for look in looks if look.event_reasons is not None]
    result["event_reasons"] = sorted({r for look in known for r in look.event_reasons or ()}) if known else None
    if not known:
        return result | {"limited_share": None, "throttled": None, "tagged": None}
    tags = tagged(known, ended_s) if ended_s else tuple(look.limited for look in known)
    result |= {"limited_share": sum(tags) / len(tags), "throttled": throttled(tags)}
    return result | {"tagged": [i for i, tag in enumerate(tags) if tag] if ended_s else None}


def _opened(device: str) -> Gpu | None:
    from benchbench.machine import gpu_uuid
    from benchbench.nvml import find

    return find(gpu_uuid(device))


def _has_context() -> bool:
    import sys

    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())
