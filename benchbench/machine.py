"""What was it measured on? GPU, driver, versions, switches, clocks and commit, without names of hosts or people."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

from benchbench import nvml
from benchbench.dispatch import backends_in, compiled_kernels, conv_backends, kernel_names, refuse_label
from benchbench.doctor import doctor
from benchbench.host import Finding
from benchbench.monitor import Monitor
from benchbench.switches import autocast, switches

__all__ = [
    "Finding",
    "Monitor",
    "autocast",
    "backends_in",
    "compiled_kernels",
    "conv_backends",
    "describe",
    "difference",
    "doctor",
    "gpu_uuid",
    "kernel_names",
    "refuse_label",
    "switches",
    "testbed",
]

VARIABLES = re.compile(
    r"(PYTORCH|TORCH|TORCHINDUCTOR|TRITON|CUDA|CUDNN|CUBLAS|CUBLASLT|NVIDIA_TF32|OMP|MKL|KMP|GOMP)_|MALLOC_|LD_PRELOAD$"
)
SECRETS = re.compile(r"TOKEN|SECRET|PASSWORD|CREDENTIAL|_KEY", re.IGNORECASE)
SOURCE_BYTES = 1 << 24
TESTBED = (
    "gpu",
    "gpu_memory_bytes",
    "mig",
    "driver_major",
    "power_limit_w",
    "cuda",
    "cudnn",
    "torch",
    "triton",
    "timm",
)
TESTBED_CPU = ("cpu", "cpus", "torch", "timm")


def describe(device: str) -> dict[str, Any]:
    """What measurement.md lists, as one flat JSON-able mapping. Fields that do not apply, or cannot be known, are None.

    device: "cpu", "cuda:0". Host and user names and paths are not recorded. Never raises for what is missing here.
    """
    return {
        "device": device,
        **_gpu(device),
        **_versions(),
        **_system(),
        **_switches(),
        **_repository(Path(__file__).resolve().parent.parent),
        "environment": environment(dict(os.environ)),
    }


def testbed(description: dict[str, Any]) -> dict[str, Any]:
    """The fields that must be equal for two results to be of one testbed."""
    names = TESTBED_CPU if description["device"] == "cpu" else TESTBED
    found = {name: description.get(name) for name in names}
    if "driver_major" in found:
        found["driver_major"] = (description.get("driver") or "").partition(".")[0] or None
    return {"device": "cpu" if description["device"] == "cpu" else "cuda", **found}


def difference(first: dict[str, Any], second: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """(field, first's, second's) of each field in which two descriptions differ; nested fields as "a.b".

    A field that only one of them has differs from every value, None included: its place holds "(not recorded)".
    """
    missing = "(not recorded)"
    found: list[tuple[str, Any, Any]] = []
    for name in sorted({*first, *second}):
        one, other = first.get(name, missing), second.get(name, missing)
        if isinstance(one, dict) and isinstance(other, dict):
            found += [(f"{name}.{inner}", a, b) for inner, a, b in difference(one, other)]
        elif one != other or (name in first) != (name in second):
            found.append((name, one, other))
    return found


def environment(variables: dict[str, str]) -> dict[str, str]:
    """The variables that change what runs, sorted; paths in their values are replaced, and UUIDs are hashed.

    What is named like a secret is left out.
    """
    told = (name for name in sorted(variables) if VARIABLES.match(name) and not SECRETS.search(name))
    return {name: _anonymous(variables[name]) for name in told}


def gpu_uuid(device: str) -> str | None:
    """The UUID of a CUDA device, or of the first one for "cuda"; None on a CPU or where PyTorch sees no GPU."""
    properties = _properties(device)
    uuid = getattr(properties, "uuid", None)
    return None if uuid is None else str(uuid)


def _properties(device: str) -> Any:
    if not device.startswith("cuda"):
        return None
    try:
        import torch

        return torch.cuda.get_device_properties(torch.device(device)) if torch.cuda.is_available() else None
    except (ImportError, OSError, RuntimeError, AssertionError):
        return None


def _gpu(device: str) -> dict[str, Any]:
    properties, uuid = _properties(device), gpu_uuid(device)
    gpu = nvml.find(uuid)
    name = getattr(properties, "name", None)
    slice_name = re.search(r"MIG (\S+)", name or "")
    return {
        "gpu": name,
        "gpu_uuid_hash": hashed(uuid) if uuid else None,
        "gpu_capability": f"{properties.major}.{properties.minor}" if properties else None,
        "gpu_sms": getattr(properties, "multi_processor_count", None),
        "gpu_l2_bytes": getattr(properties, "L2_cache_size", None),
        "gpu_memory_bytes": getattr(properties, "total_memory", None),
        "mig": slice_name[1] if slice_name else ("off" if properties else None),
        "driver": nvml.driver() if properties else None,
        "power_limit_w": gpu.power_limit_w() if gpu else None,
        "default_power_limit_w": gpu.default_power_limit_w() if gpu else None,
        "ecc": gpu.ecc_enabled() if gpu else None,
        "persistence": gpu.persistence_enabled() if gpu else None,
        "max_sm_clock_hz": gpu.max_clock_hz("SM") if gpu else None,
        "max_memory_clock_hz": gpu.max_clock_hz("MEM") if gpu else None,
        "clocks": clocks_locked(gpu),
    }


def clocks_locked(gpu: nvml.Gpu | None) -> str | None:
    """ "locked" where the driver says so, else "cannot tell": no getter answers it, only a load does (bench doctor)."""
    if gpu is None:
        return None
    return "locked" if "applications_clocks_setting" in (gpu.event_reasons() or ()) else "cannot tell"


def _versions() -> dict[str, Any]:
    found: dict[str, Any] = {"python": platform.python_version()}
    try:
        import torch

        found |= {"torch": str(torch.__version__), "torch_commit": torch.version.git_version}
        found |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}  # type: ignore[no-untyped-call]
    except (ImportError, OSError, RuntimeError) as error:
        found |= {
            "torch": f"does not import ({type(error).__name__})",
            "torch_commit": None,
            "cuda": None,
            "cudnn": None,
        }
    return found | {name: _installed(name) for name in ("triton", "timm", "numpy")}


def _installed(name: str) -> str | None:
    """The version of a distribution, without importing it."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _switches() -> dict[str, Any]:
    from benchbench.switches import read_back

    try:
        return {"switches": read_back()}
    except (ImportError, OSError, RuntimeError, AttributeError):
        return {"switches": None}


def _system() -> dict[str, Any]:
    return {
        "os": platform.system(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "cpu": cpu_model(_read("/proc/cpuinfo") or ""),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cpu_governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "memory_bytes": _memory(),
        "container": container(),
    }


def cpu_model(cpuinfo: str) -> str:
    """The CPU's name in /proc/cpuinfo; on processors that give none there, what the platform calls itself."""
    named = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    if named:
        return named[1].strip()
    part = re.search(r"^CPU part\s*:\s*(\S+)$", cpuinfo, re.MULTILINE)
    return platform.machine() + (f" part {part[1]}" if part else "")


def container() -> str | None:
    """The kind of container that this runs in, None outside one."""
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        return "kubernetes"
    if os.environ.get("APPTAINER_CONTAINER") or os.environ.get("SINGULARITY_CONTAINER"):
        return "apptainer"
    for path, name in (("/.dockerenv", "docker"), ("/run/.containerenv", "podman")):
        if os.path.exists(path):
            return name
    return os.environ.get("container") or None  # noqa: SIM112 - systemd names it in lower case


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def _repository(root: Path) -> dict[str, Any]:
    """Commit of this package's checkout and a hash of what differs from it; None where it was installed."""
    nothing = {"commit": None, "dirty_hash": None}
    # Installed into an environment that lies inside some repository, that repository's commit says nothing.
    if not (root / "pyproject.toml").exists():
        return nothing
    commit = _git(root, "rev-parse", "HEAD")
    difference_ = _git(root, "diff", "HEAD", "--binary")
    untracked = _git(root, "ls-files", "--others", "--exclude-standard", "-z")
    if commit is None or difference_ is None or untracked is None:
        return nothing
    digest = hashlib.sha256(difference_)
    for name in filter(None, untracked.split(b"\0")):
        digest.update(name + b"\0" + _told(root / os.fsdecode(name)))
    dirty = bool(difference_ or untracked)
    return {"commit": commit.decode().strip(), "dirty_hash": digest.hexdigest()[:16] if dirty else ""}


def _told(path: Path) -> bytes:
    """A file's contents, or the size and time of one that is too large to be source."""
    try:
        about = path.stat()
        small = about.st_size <= SOURCE_BYTES and path.is_file()
        return path.read_bytes() if small else f"{about.st_size} {about.st_mtime_ns}".encode()
    except OSError:
        return b""


def _git(root: Path, *arguments: str) -> bytes | None:
    try:
        ran = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return ran.stdout


def hashed(text: str) -> str:
    """Enough of a hash to tell one from another, and not enough to tell what it was."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _anonymous(value: str) -> str:
    value = re.sub(r"(GPU|MIG)-[0-9a-fA-F/-]{8,}", lambda uuid: f"{uuid[1]}#{hashed(uuid[0])}", value)
    return re.sub(r"(?<![\w.])[~/][^:;,\s]*", "(path)", value)


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return None
