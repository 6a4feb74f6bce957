"""Can figures from this machine be trusted? What may spoil them, each with the command that mends it, never run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchbench import nvml
from benchbench.host import Finding, about_host
from benchbench.nvml import THERMAL_OR_POWER, Gpu

CPU_ONLY = "CPU only: figures are for trying the tool"
LOAD_S = 2.0
# Clocks come in steps of 15 MHz; readings one step apart are the same clock.
CLOCK_STEP_HZ = 15_000_000
# Below this distance from the temperature at which the hardware slows down, a long run will get there.
MARGIN_C = 5


@dataclass(frozen=True, slots=True)
class Load:
    """What was read while the GPU worked: SM clocks before and during the load, event reasons, temperature."""

    idle_clock_hz: int | None = None
    clocks_hz: tuple[int, ...] = ()
    event_reasons: tuple[str, ...] = ()
    temperature_c: int | None = None


def doctor(device: str | None = None, *, store: str = ".", load_s: float = LOAD_S) -> list[Finding]:
    """Every finding about this machine and this device (None: the first GPU, else the CPU). Nothing is changed.

    With a GPU, a matrix product runs for load_s seconds, because only a load shows what the clocks do.
    """
    from benchbench import machine

    chosen = device or ("cuda:0" if _visible_gpus() else "cpu")
    findings = [software(*_torch_versions(), nvml.driver(), nvml.driver_cuda(), len(nvml.every_uuid()))]
    gpu = nvml.find(machine.gpu_uuid(chosen)) if chosen != "cpu" else None
    findings.append(seen(chosen, visible=_visible_gpus(), gpus=len(nvml.every_uuid()), answers=gpu is not None))
    if gpu is not None:
        findings += about_gpu(gpu, under_load(gpu, _matmul(chosen), load_s=load_s))
    return [*findings, *about_host(store, has_gpu=chosen != "cpu")]


def about_gpu(gpu: Gpu, load: Load) -> list[Finding]:
    """The findings that the driver's answers give."""
    index = gpu.index
    return [
        clocks(load, gpu.max_clock_hz("SM"), index),
        limits(load.event_reasons),
        temperature(load.temperature_c, gpu.slowdown_temperature_c()),
        power_cap(gpu.power_limit_w(), gpu.default_power_limit_w(), index),
        processes(gpu.other_processes(context=_has_context())),
        memory_errors(gpu.ecc_enabled(), gpu.uncorrected_memory_errors(), index),
        slices(gpu.mig_enabled(), gpu.sliced, index),
        persistence(gpu.persistence_enabled(), index),
    ]


def seen(device: str, *, visible: int, gpus: int, answers: bool) -> Finding:
    """Whether the device that is measured is one that figures can be published for, and NVML can be asked about it.

    visible: how many GPUs PyTorch sees; gpus: how many the driver knows.
    """
    if device == "cpu" and gpus and not visible:
        detail = f"the driver knows {gpus} GPU{'s' if gpus > 1 else ''}, PyTorch sees none"
        return Finding("device", "FAIL", detail, "unset CUDA_VISIBLE_DEVICES, or install torch for the driver's CUDA")
    if device == "cpu":
        return Finding("device", "WARN", CPU_ONLY)
    if int(device.partition(":")[2] or 0) >= visible:
        detail = f"{device} is asked for, PyTorch sees {visible or 'no'} GPU{'s' if visible > 1 else ''}"
        return Finding("device", "FAIL", detail, "bench list devices")
    if not answers:
        detail = "PyTorch sees the GPU, but NVML does not answer: clocks, power and other processes stay unknown"
        return Finding("device", "WARN", detail, "pip install nvidia-ml-py; nvidia-smi must work too")
    return Finding("device", "PASS", device)


def software(
    torch: str | None, torch_cuda: str | None, driver: str | None, driver_cuda: tuple[int, int] | None, gpus: int
) -> Finding:
    """Whether PyTorch and the driver can work together. gpus: how many the driver knows."""
    name = "driver and torch"
    if torch is None:
        return Finding(name, "FAIL", "torch does not import", "python -c 'import torch' shows why")
    if driver is None:
        return Finding(name, "PASS", f"torch {torch}, no NVIDIA driver")
    built = f"torch {torch} is built for CUDA {torch_cuda}, the driver {driver} runs up to"
    if torch_cuda is None:
        if not gpus:
            return Finding(name, "PASS", f"torch {torch}, no GPU")
        return Finding(
            name, "FAIL", f"torch {torch} is a CPU build, but there is a GPU", "install a CUDA build of torch"
        )
    if driver_cuda is None:
        return Finding(name, "WARN", f"{built} a CUDA that it does not tell", "nvidia-smi")
    wanted = tuple(int(part) for part in torch_cuda.split(".")[:2])
    detail = f"{built} {driver_cuda[0]}.{driver_cuda[1]}"
    # Within one major version, a build for a newer minor version runs on an older driver.
    if driver_cuda[0] < wanted[0]:
        return Finding(name, "FAIL", detail, f"update the driver, or install torch for CUDA {driver_cuda[0]}")
    return Finding(name, "PASS", detail)


def under_load(
    gpu: Gpu,
    work: Callable[[], None],
    *,
    load_s: float = LOAD_S,
    clock: Callable[[], float] = time.perf_counter,
) -> Load:
    """Read the clocks before a load and, from half of its time on, during it. work: one burst, waited for."""
    idle = gpu.clock_hz("SM")
    began_s = clock()
    clocks_hz: list[int] = []
    reasons: set[str] = set()
    while (elapsed_s := clock() - began_s) < load_s:
        work()
        if elapsed_s < load_s / 2:
            continue
        reading = gpu.clock_hz("SM")
        clocks_hz += [] if reading is None else [reading]
        reasons.update(gpu.event_reasons() or ())
    return Load(idle, tuple(clocks_hz), tuple(sorted(reasons)), gpu.temperature_c())


def clocks_state(load: Load, highest_hz: int | None) -> str:
    """ "locked", "not locked" or "cannot tell", from what a load showed: no getter of the driver answers it."""
    if "applications_clocks_setting" in load.event_reasons:
        return "locked"
    if not load.clocks_hz:
        return "cannot tell"
    low, high = min(load.clocks_hz), max(load.clocks_hz)
    if high - low > CLOCK_STEP_HZ:
        return "not locked"
    if load.idle_clock_hz is None or highest_hz is None:
        return "cannot tell"
    if low - load.idle_clock_hz > CLOCK_STEP_HZ:
        return "not locked"
    # The same clock idle and loaded is held by a lock, unless it is the highest, which it reaches by itself too.
    return "locked" if high < highest_hz - CLOCK_STEP_HZ else "cannot tell"


def clocks(load: Load, highest_hz: int | None, index: int = 0) -> Finding:
    """Whether the SM clock is held."""
    state = clocks_state(load, highest_hz)
    seen = "no clock was read"
    if load.clocks_hz:
        low, high = min(load.clocks_hz) // 1_000_000, max(load.clocks_hz) // 1_000_000
        seen = f"{low} MHz under load" if low == high else f"{low} to {high} MHz under load"
    if state == "locked":
        return Finding("clocks", "PASS", f"locked, {seen}")
    at = (min(load.clocks_hz) if load.clocks_hz else highest_hz or 0) // 1_000_000
    mend = f"sudo nvidia-smi -i {index} -lgc {at or 'MHZ'}   (undo: sudo nvidia-smi -i {index} -rgc)"
    return Finding("clocks", "WARN", f"{state}, {seen}", mend)


def limits(event_reasons: Sequence[str]) -> Finding:
    """Whether heat or power holds the clocks down under load."""
    limiting = sorted(THERMAL_OR_POWER.intersection(event_reasons))
    if not limiting:
        return Finding("throttling", "PASS", "no thermal or power event under load")
    status = "FAIL" if any("thermal" in reason or "hw" in reason for reason in limiting) else "WARN"
    mend = "mend the cooling or the power supply" if status == "FAIL" else "lock a clock that the power cap can hold"
    return Finding("throttling", status, f"under load: {', '.join(limiting)}", mend)


def temperature(now_c: int | None, slowdown_c: int | None) -> Finding:
    """Whether there is room below the temperature at which the hardware slows down."""
    if now_c is None:
        return Finding("temperature", "WARN", "the driver does not tell", "nvidia-smi -q -d TEMPERATURE")
    if slowdown_c is not None and now_c > slowdown_c - MARGIN_C:
        return Finding(
            "temperature", "FAIL", f"{now_c} C, slows down at {slowdown_c} C", "let it cool, mend the cooling"
        )
    return Finding("temperature", "PASS", f"{now_c} C" + (f", slows down at {slowdown_c} C" if slowdown_c else ""))


def power_cap(limit_w: float | None, default_w: float | None, index: int = 0) -> Finding:
    """Whether the power cap is the one that the GPU was made for."""
    if limit_w is None:
        return Finding("power cap", "WARN", "the driver does not tell", "nvidia-smi -q -d POWER")
    if default_w is not None and limit_w < default_w:
        detail = f"{limit_w:.0f} W of {default_w:.0f} W: figures are those of a capped GPU"
        return Finding("power cap", "WARN", detail, f"sudo nvidia-smi -i {index} -pl {default_w:.0f}")
    return Finding("power cap", "PASS", f"{limit_w:.0f} W")


def processes(others: int | None) -> Finding:
    """Whether somebody else is on the GPU."""
    if others is None:
        return Finding("other processes", "WARN", "the driver does not tell", "nvidia-smi")
    if others:
        detail = f"{others} other process{'es' if others > 1 else ''} on this GPU"
        return Finding("other processes", "FAIL", detail, "nvidia-smi names them: wait, or end them")
    return Finding("other processes", "PASS", "none")


def memory_errors(enabled: bool | None, errors: int | None, index: int = 0) -> Finding:
    """Whether memory is checked, and whether it failed."""
    if errors:
        return Finding("ECC", "FAIL", f"{errors} uncorrected memory errors", f"sudo nvidia-smi -i {index} --gpu-reset")
    if enabled is None:
        return Finding("ECC", "PASS", "this GPU has none")
    return Finding("ECC", "PASS", "on, no uncorrected errors" if enabled else "off")


def slices(enabled: bool | None, sliced: bool, index: int = 0) -> Finding:
    """Whether this is a whole GPU."""
    if enabled or sliced:
        detail = "this is a slice of a GPU: its neighbours share clocks and power, and energy is not known"
        return Finding("MIG", "WARN", detail, f"sudo nvidia-smi -i {index} -mig 0")
    return Finding("MIG", "PASS", "off")


def persistence(enabled: bool | None, index: int = 0) -> Finding:
    """Whether the driver stays loaded between processes."""
    if enabled is False:
        detail = "off: the driver is loaded anew for each round"
        return Finding("persistence", "WARN", detail, f"sudo nvidia-smi -i {index} -pm 1")
    return Finding("persistence", "PASS", "on" if enabled else "the driver does not tell")


def _torch_versions() -> tuple[str | None, str | None]:
    try:
        import torch
    except (ImportError, OSError):
        return None, None
    return str(torch.__version__), torch.version.cuda


def _visible_gpus() -> int:
    """How many GPUs PyTorch can use."""
    try:
        import torch
    except (ImportError, OSError):
        return 0
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _has_context() -> bool:
    import torch

    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def _matmul(device: str) -> Callable[[], None]:
    import torch

    matrix = torch.randn(4096, 4096, device=device)

    def burst() -> None:
        for _ in range(4):
            matrix @ matrix
        torch.cuda.synchronize(device)

    return burst
