"""Which arithmetic a point is measured in: TF32, cuDNN and autocast set explicitly, read back, and put back."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

PRECISIONS = ("fp32", "tf32", "amp-fp16", "amp-bf16", "fp16", "bf16")


@contextmanager
def switches(precision: str, backend: str = "aten") -> Iterator[dict[str, Any]]:
    """Set the switches of PyTorch that decide what arithmetic runs, and yield what was read back.

    precision: "tf32" allows TF32 in convolutions and matrix products alike; every other one forbids it in both.
    backend:   "native" disables cuDNN (forward and backward); every other one leaves PyTorch's choice.
    cudnn.benchmark is on. What was set before is set again on the way out.
    Raises ValueError for an unknown precision, and RuntimeError where PyTorch or the environment overrules the request.
    """
    import torch

    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r} is none of {', '.join(PRECISIONS)}")
    before = _state()
    _set(tf32=precision == "tf32", enabled=backend != "native", benchmark=True)
    try:
        effective = read_back()
        asked = "tf32" if precision == "tf32" else "ieee"
        for name in ("convolution_fp32", "matmul_fp32"):
            if effective[name] != asked:
                raise RuntimeError(
                    f"asked for {asked}, but PyTorch reports {name} = {effective[name]}: "
                    "unset torch.backends.fp32_precision before measuring"
                )
        override = os.environ.get("NVIDIA_TF32_OVERRIDE", "")
        if override and torch.cuda.is_available() and (override == "0") == (asked == "tf32"):
            raise RuntimeError(f"asked for {asked}, but NVIDIA_TF32_OVERRIDE={override} overrules it: unset it")
        yield effective
    finally:
        _set(**before)


def autocast(precision: str, device: str) -> AbstractContextManager[Any]:
    """The autocast of "amp-fp16" and "amp-bf16" on that device's kind; nothing for the other precisions."""
    import torch

    dtypes = {"amp-fp16": torch.float16, "amp-bf16": torch.bfloat16}
    if precision not in dtypes:
        return nullcontext()
    return torch.autocast(device_type=torch.device(device).type, dtype=dtypes[precision])


@contextmanager
def ieee() -> Iterator[None]:
    """Forbid TF32 and leave every other switch as it is: the arithmetic that references are computed in."""
    before = _state()
    _set(**{**before, "tf32": False, "convolution_tf32": False})
    try:
        yield
    finally:
        _set(**before)


def tf32_allowed() -> bool:
    """Whether a float32 product on a GPU may be rounded to TF32 now."""
    effective = read_back()
    return "tf32" in (effective["convolution_fp32"], effective["matmul_fp32"])


def read_back() -> dict[str, Any]:
    """The switches as PyTorch reports them now; JSON-able. "tf32" or "ieee" for each kind of float32 product."""
    import torch

    cudnn, cuda = torch.backends.cudnn, torch.backends.cuda
    return {
        "convolution_fp32": _fp32("conv"),
        "matmul_fp32": _fp32("matmul"),
        "cudnn_enabled": bool(cudnn.enabled),
        "cudnn_benchmark": bool(cudnn.benchmark),
        "cudnn_benchmark_limit": cudnn.benchmark_limit,
        "cudnn_deterministic": bool(cudnn.deterministic),
        # Newer PyTorch only: it steers which depthwise convolutions go to cuDNN.
        "cudnn_depthwise_kernel": getattr(torch._C, "_get_cudnn_depthwise_kernel", lambda: None)(),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "fp16_reduced_precision_reduction": cuda.matmul.allow_fp16_reduced_precision_reduction,
        "bf16_reduced_precision_reduction": cuda.matmul.allow_bf16_reduced_precision_reduction,
        "flash_attention": cuda.flash_sdp_enabled(),  # type: ignore[no-untyped-call]
        "memory_efficient_attention": cuda.mem_efficient_sdp_enabled(),  # type: ignore[no-untyped-call]
        "math_attention": cuda.math_sdp_enabled(),  # type: ignore[no-untyped-call]
        "nvidia_tf32_override": os.environ.get("NVIDIA_TF32_OVERRIDE"),
    }


def _fp32(operation: str) -> str:
    """The newer getter sees what is inherited from torch.backends.fp32_precision; the older flags do not."""
    import torch

    getter = getattr(torch._C, "_get_fp32_precision_getter", None)
    if getter is not None:
        return "tf32" if getter("cuda", operation) == "tf32" else "ieee"
    allowed = torch.backends.cudnn.allow_tf32 if operation == "conv" else torch.backends.cuda.matmul.allow_tf32
    return "tf32" if allowed else "ieee"


def _state() -> dict[str, bool]:
    import torch

    return {
        "tf32": _fp32("matmul") == "tf32",
        "convolution_tf32": _fp32("conv") == "tf32",
        "enabled": torch.backends.cudnn.enabled,
        "benchmark": torch.backends.cudnn.benchmark,
    }


def _set(*, tf32: bool, enabled: bool, benchmark: bool, convolution_tf32: bool | None = None) -> None:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Only the older flags are written: their setters keep the newer ones in step, the reverse does not hold, and
        # PyTorch refuses to read the older ones (as its compiler does) once the newer ones were written.
        torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.backends.cudnn.allow_tf32 = tf32 if convolution_tf32 is None else convolution_tf32
        torch.backends.cudnn.enabled = enabled
        torch.backends.cudnn.benchmark = benchmark
