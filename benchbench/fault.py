"""What became of a point that raised: out of memory, a device that can no longer be trusted, or a plain failure?"""

from __future__ import annotations

# What is said of a device error after which no launch of this process can be trusted, in small letters: PyTorch's and
# CUDA's own words, Triton's launcher's, and those of cuDNN and cuBLAS for a kernel that failed.
DEVICE_FAULTS = (
    "cuda error",
    "acceleratorerror",
    "illegal memory access",
    "triton error [cuda]",
    "status_execution_failed",
    "status_internal_error",
)
OUT_OF_MEMORY = ("outofmemory", "out of memory", "can't allocate")


def status_of(error: Exception) -> str:
    """The status of the record: "oom", "crash" where the device is at fault, else "fail"."""
    text = f"{type(error).__name__} {error}".lower()
    if isinstance(error, MemoryError) or any(sign in text for sign in OUT_OF_MEMORY):
        return "oom"
    return "crash" if any(sign in text for sign in DEVICE_FAULTS) else "fail"


def one_line(error: Exception) -> str:
    """The kind of error and the beginning of what it says."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:400]}" if text else type(error).__name__
