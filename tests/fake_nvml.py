"""A stand-in for the module pynvml: GPUs as tables of answers, where any answer may be "not supported"."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

# The getters by the names of nvml.h, with what a healthy H100 at work answers, in NVML's units.
HEALTHY: dict[str, Any] = {
    "nvmlDeviceGetUUID": "GPU-11111111-2222-3333-4444-555555555555",
    "nvmlDeviceGetName": "NVIDIA H100 80GB HBM3",
    "nvmlDeviceGetClockInfo": {1: 1755, 2: 2619},
    "nvmlDeviceGetMaxClockInfo": {1: 1980, 2: 2619},
    "nvmlDeviceGetTemperature": {0: 45},
    "nvmlDeviceGetTemperatureThreshold": {1: 90},
    "nvmlDeviceGetPowerUsage": 350_000,
    "nvmlDeviceGetEnforcedPowerLimit": 700_000,
    "nvmlDeviceGetPowerManagementDefaultLimit": 700_000,
    "nvmlDeviceGetTotalEnergyConsumption": 5_000_000,
    "nvmlDeviceGetCurrentClocksEventReasons": 0x2,
    "nvmlDeviceGetMigMode": (0, 0),
    "nvmlDeviceGetMaxMigDeviceCount": 0,
    "nvmlDeviceGetEccMode": (1, 1),
    "nvmlDeviceGetTotalEccErrors": 0,
    "nvmlDeviceGetPersistenceMode": 1,
    "nvmlDeviceGetComputeRunningProcesses_v3": (),
    "nvmlDeviceGetGraphicsRunningProcesses_v3": (),
}
OLD_NAMES = {
    "nvmlDeviceGetCurrentClocksEventReasons": "nvmlDeviceGetCurrentClocksThrottleReasons",
    "nvmlDeviceGetComputeRunningProcesses_v3": "nvmlDeviceGetComputeRunningProcesses",
    "nvmlDeviceGetGraphicsRunningProcesses_v3": "nvmlDeviceGetGraphicsRunningProcesses",
}
NOT_SUPPORTED = object()


class NVMLError(Exception):
    """What pynvml raises for everything."""


@dataclass
class FakeGpu:
    """answers: getter -> its answer, a table by its argument, a function, or NOT_SUPPORTED. slices: MIG devices."""

    answers: dict[str, Any] = field(default_factory=dict)
    slices: list[FakeGpu] = field(default_factory=list)

    def answer(self, name: str, *arguments: Any) -> Any:
        found = self.answers.get(name, HEALTHY[name])
        if callable(found):
            found = found()
        if isinstance(found, dict):
            found = found[arguments[0]]
        if found is NOT_SUPPORTED:
            raise NVMLError("Not Supported")
        return found


class FakeNvml:
    """Put it into sys.modules as "pynvml". old_names: a driver binding from before NVML renamed its getters."""

    NVMLError = NVMLError
    NVML_CLOCK_SM = 1
    NVML_CLOCK_MEM = 2
    NVML_TEMPERATURE_GPU = 0
    NVML_TEMPERATURE_THRESHOLD_SLOWDOWN = 1

    def __init__(
        self,
        *gpus: FakeGpu,
        driver: str = "580.65.06",
        cuda: int = 13000,
        old_names: bool = False,
        broken: bool = False,
    ) -> None:
        self.gpus = list(gpus)
        self.driver = driver
        self.cuda = cuda
        self.broken = broken
        for name in HEALTHY:
            setattr(self, OLD_NAMES.get(name, name) if old_names else name, self._getter(name))

    def _getter(self, name: str) -> Callable[..., Any]:
        return lambda gpu, *arguments: gpu.answer(name, *arguments)

    def nvmlInit(self) -> None:  # noqa: N802
        if self.broken:
            raise NVMLError("Driver Not Loaded")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:  # noqa: N802
        return self.gpus[index]

    def nvmlDeviceGetMigDeviceHandleByIndex(self, gpu: FakeGpu, index: int) -> FakeGpu:  # noqa: N802
        if index >= len(gpu.slices):
            raise NVMLError("Not Found")
        return gpu.slices[index]

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return self.driver

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:  # noqa: N802
        return self.cuda


def process(pid: int) -> SimpleNamespace:
    """A process that holds a GPU."""
    return SimpleNamespace(pid=pid, usedGpuMemory=None)
