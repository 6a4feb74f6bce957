"""What around the GPU may spoil figures? Governor, load, container, environment, disk, permissions, timm."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass

DISK_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One question and its answer. status: PASS, WARN or FAIL. mend: a command or a step, "" where none is needed."""

    name: str
    status: str
    detail: str
    mend: str = ""


def about_host(store: str, *, has_gpu: bool) -> list[Finding]:
    """The findings about this host. store: the folder that records would be written to."""
    quota_cpus, cpus = _cpu_quota()
    return [
        governor(_read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        load(os.getloadavg()[0] if hasattr(os, "getloadavg") else None, cpus),
        cpu_limit(quota_cpus, cpus),
        variables(dict(os.environ)),
        disk(_free_bytes(store), store_is_writable=os.access(_existing(store), os.W_OK)),
        *([counters(_read("/proc/driver/nvidia/params"))] if has_gpu else []),
        networks(_timm_problem()),
    ]


def governor(name: str | None) -> Finding:
    """Whether the CPU keeps its clock between launches."""
    if name is None:
        return Finding("CPU governor", "PASS", "not visible here, as in most virtual machines")
    if name != "performance":
        return Finding(
            "CPU governor", "WARN", f"{name}: launches slow down", "sudo cpupower frequency-set -g performance"
        )
    return Finding("CPU governor", "PASS", name)


def load(average: float | None, cpus: int) -> Finding:
    """Whether others keep the CPU busy, on which launches and a CPU's own figures wait."""
    if average is None:
        return Finding("CPU load", "PASS", "the system does not tell")
    detail = f"{average:.1f} processes ran or waited in the last minute, on {cpus} CPUs"
    # This process is one of them.
    if average > max(1.5, cpus / 2):
        return Finding("CPU load", "WARN", detail, "top names them: wait, or end them")
    return Finding("CPU load", "PASS", detail)


def cpu_limit(quota_cpus: float | None, cpus: int) -> Finding:
    """Whether the container takes the CPU away in the middle of a sample."""
    if quota_cpus is not None and quota_cpus < cpus:
        detail = f"the container may use {quota_cpus:g} of {cpus} CPUs and is stopped when it has used them up"
        mend = f"start it with --cpuset-cpus=0-{max(0, int(quota_cpus) - 1)} instead of a quota"
        return Finding("container limits", "WARN", detail, mend)
    return Finding("container limits", "PASS", f"no CPU quota, {cpus} CPUs")


SPOILING = {
    "CUDA_LAUNCH_BLOCKING": "waits after every launch",
    "PYTORCH_NO_CUDA_MEMORY_CACHING": "asks the driver for every tensor",
    "NVIDIA_TF32_OVERRIDE": "overrules the precision that a point is named after",
    "TRITON_INTERPRET": "runs Triton's kernels in Python",
    "CUDA_MEMCHECK": "checks every access",
    "COMPUTE_SANITIZER_ROOT": "checks every access",
}


# Set to 0 it still forbids TF32.
MEANS_SOMETHING_AT_0 = {"NVIDIA_TF32_OVERRIDE"}


def variables(environment: dict[str, str]) -> Finding:
    """Whether the environment changes what runs."""
    nothing = {name: ("",) if name in MEANS_SOMETHING_AT_0 else ("", "0") for name in SPOILING}
    found = [name for name in SPOILING if environment.get(name, "") not in nothing[name]]
    if found:
        detail = "; ".join(f"{name}={environment[name]} {SPOILING[name]}" for name in found)
        return Finding("environment", "FAIL", detail, f"unset {' '.join(found)}")
    return Finding("environment", "PASS", "no variable that changes the figures")


def disk(free_bytes: int | None, *, store_is_writable: bool) -> Finding:
    """Whether records can be written."""
    if not store_is_writable:
        return Finding("disk", "FAIL", "the store cannot be written", "choose another with --store DIR")
    if free_bytes is not None and free_bytes < DISK_BYTES:
        return Finding("disk", "WARN", f"{free_bytes >> 20} MiB free", "make room, or choose another with --store DIR")
    return Finding("disk", "PASS", "can be written" + (f", {free_bytes >> 30} GiB free" if free_bytes else ""))


def counters(driver_parameters: str | None) -> Finding:
    """Whether Nsight Compute may read performance counters."""
    found = re.search(r"^RmProfilingAdminOnly:\s*(\d)", driver_parameters or "", re.MULTILINE)
    if found is None:
        return Finding("counters", "PASS", "not visible here; ncu says so when it may not")
    if found[1] == "1" and os.geteuid() != 0:
        mend = "options nvidia NVreg_RestrictProfilingToAdminUsers=0 in /etc/modprobe.d, then restart"
        return Finding("counters", "WARN", "performance counters are for root only", mend)
    return Finding("counters", "PASS", "performance counters may be read")


def networks(problem: str | None) -> Finding:
    """Whether timm, which builds the networks, imports."""
    if problem is None:
        return Finding("timm", "PASS", "imports")
    detail = f"does not import, so networks are not measured: {problem}"
    return Finding("timm", "WARN", detail, "install timm, and a torchvision that fits torch")


def _timm_problem() -> str | None:
    try:
        import timm  # noqa: F401
    # timm imports torchvision, which raises RuntimeError where it was built for another torch.
    except (ImportError, OSError, RuntimeError) as error:
        return str(error).partition("\n")[0] or type(error).__name__
    return None


def _cpu_quota() -> tuple[float | None, int]:
    """How many CPUs' time the control group grants (None: no limit), and how many CPUs can be used."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    unified = _read("/sys/fs/cgroup/cpu.max")
    if unified:
        quota, period = unified.split()[:2]
    else:
        quota = _read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") or "-1"
        period = _read("/sys/fs/cgroup/cpu/cpu.cfs_period_us") or "100000"
    return (None if quota in ("max", "-1") else int(quota) / int(period)), cpus


def _existing(path: str) -> str:
    """The path, or the nearest folder above it that exists: where a store would be made."""
    path = os.path.abspath(path)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def _free_bytes(path: str) -> int | None:
    try:
        return shutil.disk_usage(_existing(path)).free
    except OSError:
        return None


def _read(path: str) -> str | None:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return None
