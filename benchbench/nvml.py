"""What does the driver say about one GPU? Every question may go unanswered: None where NVML does not support it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

# nvml.h, nvmlClocksEventReasons.
EVENT_REASONS = {
    0x1: "gpu_idle",
    0x2: "applications_clocks_setting",
    0x4: "sw_power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
}
THERMAL_OR_POWER = frozenset(
    {"sw_power_cap", "hw_slowdown", "sw_thermal_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown"}
)


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU, or one slice of it, as NVML knows it.

    nvml: the module pynvml, or what stands for it in a test. whole: the GPU that a slice is part of, else the handle:
    clocks, temperature and events belong to the whole; processes, power and energy are asked of the slice alone.
    index: the number that nvidia-smi gives the whole GPU.
    """

    nvml: Any
    handle: Any
    whole: Any
    index: int = 0

    @property
    def sliced(self) -> bool:
        """Whether this is a MIG slice."""
        return self.handle is not self.whole

    def ask(self, *getters: str, more: tuple[Any, ...] = (), whole: bool = True) -> Any:
        """The answer of the first getter that exists and is supported, newer names first; None where none is."""
        for name in getters:
            getter = getattr(self.nvml, name, None)
            if getter is None:
                continue
            try:
                return getter(self.whole if whole else self.handle, *more)
            except self.nvml.NVMLError:
                continue
        return None

    def constant(self, name: str, default: int) -> int:
        """A number of nvml.h, by its name where the module has it."""
        return int(getattr(self.nvml, name, default))

    def clock_hz(self, kind: str) -> int | None:
        """Present clock of "SM" or "MEM"."""
        return _scaled(self.ask("nvmlDeviceGetClockInfo", more=(self._clock(kind),)), 1_000_000)

    def max_clock_hz(self, kind: str) -> int | None:
        """The highest clock of "SM" or "MEM" that the GPU can be given."""
        return _scaled(self.ask("nvmlDeviceGetMaxClockInfo", more=(self._clock(kind),)), 1_000_000)

    def _clock(self, kind: str) -> int:
        return self.constant(f"NVML_CLOCK_{kind}", {"SM": 1, "MEM": 2}[kind])

    def temperature_c(self) -> int | None:
        """Degrees Celsius of the die."""
        answer = self.ask("nvmlDeviceGetTemperature", more=(self.constant("NVML_TEMPERATURE_GPU", 0),))
        return None if answer is None else int(answer)

    def slowdown_temperature_c(self) -> int | None:
        """Degrees Celsius from which the hardware slows itself down."""
        kind = self.constant("NVML_TEMPERATURE_THRESHOLD_SLOWDOWN", 1)
        answer = self.ask("nvmlDeviceGetTemperatureThreshold", more=(kind,))
        return None if answer is None else int(answer)

    def power_w(self) -> float | None:
        """Present draw."""
        return _divided(self.ask("nvmlDeviceGetPowerUsage", whole=False), 1000)

    def power_limit_w(self) -> float | None:
        """The cap in force."""
        return _divided(self.ask("nvmlDeviceGetEnforcedPowerLimit", "nvmlDeviceGetPowerManagementLimit"), 1000)

    def default_power_limit_w(self) -> float | None:
        """The cap that the GPU was made for."""
        return _divided(self.ask("nvmlDeviceGetPowerManagementDefaultLimit"), 1000)

    def energy_j(self) -> float | None:
        """Joules drawn since the driver was loaded."""
        return _divided(self.ask("nvmlDeviceGetTotalEnergyConsumption", whole=False), 1000)

    def event_reasons(self) -> tuple[str, ...] | None:
        """Why the clocks are what they are, now."""
        answer = self.ask("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")
        if answer is None:
            return None
        return tuple(name for bit, name in EVENT_REASONS.items() if int(answer) & bit)

    def mig_enabled(self) -> bool | None:
        """Whether the GPU is cut into slices."""
        answer = self.ask("nvmlDeviceGetMigMode")
        return None if answer is None else bool(answer[0])

    def ecc_enabled(self) -> bool | None:
        """Whether memory is checked, which costs bandwidth on some GPUs."""
        answer = self.ask("nvmlDeviceGetEccMode")
        return None if answer is None else bool(answer[0])

    def uncorrected_memory_errors(self) -> int | None:
        """Since the driver was loaded."""
        kind = self.constant("NVML_MEMORY_ERROR_TYPE_UNCORRECTED", 1)
        answer = self.ask("nvmlDeviceGetTotalEccErrors", more=(kind, self.constant("NVML_VOLATILE_ECC", 0)))
        return None if answer is None else int(answer)

    def persistence_enabled(self) -> bool | None:
        """Whether the driver stays loaded while nobody uses the GPU."""
        answer = self.ask("nvmlDeviceGetPersistenceMode")
        return None if answer is None else bool(answer)

    def other_processes(self, *, context: bool) -> int | None:
        """How many processes other than this one hold the GPU. context: whether this one holds it.

        In a container NVML counts in the host's process numbers, so this process is not found by its own: then one of
        those found is this one.
        """
        found = [
            self.ask(f"nvmlDeviceGet{kind}RunningProcesses_v3", f"nvmlDeviceGet{kind}RunningProcesses", whole=False)
            for kind in ("Compute", "Graphics")
        ]
        if all(processes is None for processes in found):
            return None
        numbers = {int(process.pid) for processes in found for process in processes or ()}
        if os.getpid() in numbers:
            return len(numbers) - 1
        return max(0, len(numbers) - int(context))


def find(uuid: str | None) -> Gpu | None:
    """The GPU or slice with this UUID (with or without "GPU-" or "MIG-"); None without NVML or where nothing matches.

    CUDA's numbering and NVML's differ, so that a number is never used to match.
    """
    if uuid is None:
        return None
    nvml = started()
    if nvml is None:
        return None
    wanted = _bare(uuid)
    for index, whole in enumerate(_handles(nvml)):
        for each in (whole, *_slices(nvml, whole)):
            gpu = Gpu(nvml, each, whole, index)
            answer = gpu.ask("nvmlDeviceGetUUID", whole=False)
            if answer is not None and _bare(_text(answer)) == wanted:
                return gpu
    return None


def driver() -> str | None:
    """The driver's version; None without NVML."""
    nvml = started()
    try:
        return None if nvml is None else _text(nvml.nvmlSystemGetDriverVersion())
    except nvml.NVMLError:
        return None


def driver_cuda() -> tuple[int, int] | None:
    """The newest CUDA that the driver runs, as (major, minor)."""
    nvml = started()
    if nvml is None:
        return None
    for name in ("nvmlSystemGetCudaDriverVersion_v2", "nvmlSystemGetCudaDriverVersion"):
        try:
            # 13020 is 13.2.
            major, rest = divmod(int(getattr(nvml, name)()), 1000)
            return major, rest // 10
        except (AttributeError, nvml.NVMLError):
            continue
    return None


def started() -> Any:
    """The module pynvml, initialised; None where there is no driver or no such module."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def every_uuid() -> list[str]:
    """The UUIDs of all whole GPUs, in NVML's order; empty without NVML."""
    nvml = started()
    if nvml is None:
        return []
    answers = [Gpu(nvml, handle, handle).ask("nvmlDeviceGetUUID") for handle in _handles(nvml)]
    return [_text(answer) for answer in answers if answer is not None]


def _handles(nvml: Any) -> list[Any]:
    try:
        return [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
    except nvml.NVMLError:
        return []


def _slices(nvml: Any, handle: Any) -> list[Any]:
    try:
        count = nvml.nvmlDeviceGetMaxMigDeviceCount(handle)
    except (nvml.NVMLError, AttributeError):
        return []
    found = []
    for i in range(count):
        try:
            found.append(nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, i))
        except nvml.NVMLError:
            continue
    return found


def _bare(uuid: str) -> str:
    return uuid.lower().removeprefix("gpu-").removeprefix("mig-")


def _text(answer: Any) -> str:
    return answer.decode() if isinstance(answer, bytes) else str(answer)


def _scaled(answer: Any, factor: int) -> int | None:
    return None if answer is None else int(answer) * factor


def _divided(answer: Any, divisor: int) -> float | None:
    return None if answer is None else answer / divisor
