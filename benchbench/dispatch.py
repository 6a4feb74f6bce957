"""What did PyTorch really run? Convolution backends as it selects them, and kernel names from a profile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

LAUNCHES_KEPT = 200


def conv_backends(call: Callable[[], Any]) -> str:
    """Run ``call`` once and say which backend PyTorch selected for its convolutions, as in

    "forward CudaDepthwise2d x3, Cudnn x1; backward CudaDepthwise2d x3". Empty where it ran no convolution of PyTorch.
    Asked of torch._C._select_conv_backend for each convolution as it is dispatched, with its own tensors. Of a compiled
    call these are the convolutions that its graph leaves to PyTorch; what it generates shows in `kernel_names` alone.
    """
    from torch.utils._python_dispatch import TorchDispatchMode

    found: dict[str, Counter[str]] = {"forward": Counter(), "backward": Counter()}

    class Asking(TorchDispatchMode):  # type: ignore[no-untyped-call,unused-ignore]
        @classmethod
        def ignore_compile_internals(cls) -> bool:
            # Else PyTorch runs compiled functions eagerly while they are watched.
            return True

        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            # Nothing is compiled in here; saying so spares each process the import of the compiler, some 2 s.
            return False

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            selected = _selected(function, args, kwargs or {})
            if selected:
                found[selected[0]][selected[1]] += 1
            return function(*args, **(kwargs or {}))

    with Asking():  # type: ignore[no-untyped-call,unused-ignore]
        call()
    return "; ".join(
        f"{way} " + ", ".join(f"{name} x{count}" for name, count in sorted(counts.items()))
        for way, counts in found.items()
        if counts
    )


def _selected(function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[str, str] | None:
    """(forward or backward, backend) of a dispatched convolution; None for every other operator."""
    import torch

    aten = torch.ops.aten
    name = function._schema.name
    if name in ("aten::convolution", "aten::convolution_overrideable"):
        return "forward", _backend(*args, **kwargs)
    if name == "aten::convolution_backward":
        _, input, weight, bias_sizes, *rest = args
        # Backward never has the bias itself, only its sizes; the last argument says which gradients are asked for.
        return "backward", _backend(input, weight, None, *rest[:6], bias_sizes)
    direct = {
        aten._conv_depthwise2d.default: "CudaDepthwise2d",
        aten.cudnn_convolution.default: "Cudnn",
        aten.mkldnn_convolution.default: "Mkldnn",
    }
    return ("forward", direct[function]) if function in direct else None


def _backend(*arguments: Any, **named: Any) -> str:
    """What PyTorch would give this convolution to; "unknown" where it does not tell, which no label accepts."""
    import torch

    try:
        return str(torch._C._select_conv_backend(*arguments, **named).name)
    except (RuntimeError, TypeError):
        return "unknown"


def refuse_label(backend: str, ran: str, kernels: Sequence[str] = ()) -> str:
    """Why a point must not carry this backend's name, or "" where it may.

    "cudnn" is only what PyTorch itself gives to cuDNN, every convolution of it; "native" only what never went there.
    kernels: names from a profile, which overrule what PyTorch said that it would do.
    """
    names = backends_in(ran)
    if backend == "cudnn":
        if not names:
            return "asked for cudnn, but no convolution of PyTorch ran"
        others = sorted(names - {"Cudnn", "CudnnTranspose"})
        if others:
            return f"asked for cudnn, but PyTorch picks {', '.join(others)} here ({ran})"
        native = [kernel for kernel in kernels if "conv_depthwise2d" in kernel]
        return f"asked for cudnn, but the profile shows {native[0]}" if native else ""
    if backend == "native":
        if not names:
            return "asked for native, but no convolution of PyTorch ran"
        others = sorted(names & {"Cudnn", "CudnnTranspose", "unknown"})
        if others:
            return f"asked for native, but PyTorch picks {', '.join(others)} ({ran})"
        library = [kernel for kernel in kernels if "cudnn" in kernel.lower()]
        return f"asked for native, but the profile shows {library[0]}" if library else ""
    return ""


def backends_in(ran: str) -> set[str]:
    """The names in what `conv_backends` said."""
    names: set[str] = set()
    for way in filter(None, ran.split("; ")):
        names.update(part.rsplit(" x", 1)[0] for part in way.split(" ", 1)[1].split(", "))
    return names


def kernel_names(call: Callable[[], Any]) -> tuple[str, ...]:
    """The device kernels of one call in the order of their launch; empty on a CPU.

    A name stands there as often as it was launched, so that counters of a profile can be shared out; of more than 200
    launches (networks) each name once. Copies and fills of memory are left out: they are no kernels.
    """
    import torch
    from torch._C._autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    if not torch.cuda.is_available():
        return ()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        call()
        torch.cuda.synchronize()
    events = [e for e in profiled.events() or () if e.device_type == DeviceType.CUDA]
    names = [e.name for e in sorted(events, key=lambda e: e.time_range.start)]
    kernels = [name for name in names if not name.startswith(("Memcpy", "Memset", "ProfilerStep"))]
    return tuple(kernels if len(kernels) <= LAUNCHES_KEPT else dict.fromkeys(kernels))


def compiled_kernels(launched: Collection[str] | None = None) -> dict[str, list[str]]:
    """The hashes of what Triton has compiled in this process, by kernel: equal hashes are equal binaries.

    launched: names from a profile; then only the kernels of these names, in all forms that this process has of them.
    Looks at the kernels that this package and what it imported hold as module attributes.
    """
    import sys

    found: dict[str, list[str]] = {}
    for module_name, module in list(sys.modules.items()):
        if not module_name.startswith("benchbench"):
            continue
        for name, value in vars(module).items():
            if type(value).__name__ != "JITFunction" or getattr(value, "__module__", module_name) != module_name:
                continue
            if launched is not None and getattr(value, "__name__", name) not in launched:
                continue
            caches = list(getattr(value, "device_caches", {}).values())
            hashes = {str(kernel.hash) for cache in caches for kernel in cache[0].values() if hasattr(kernel, "hash")}
            if hashes:
                found[f"{module_name.partition('.')[2]}.{name}"] = sorted(hashes)
    return found
