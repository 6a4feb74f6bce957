"""What tensors does a workload's state hold, and what is the same state in float64?"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Path = str

# Instances of these libraries' classes (functions, streams, generators, optimizers, launchers) are shared, not copied.
LIBRARIES = ("builtins", "functools", "torch", "triton", "numpy", "threading")


def flattened(outputs: Any, path: Path = "") -> Iterator[tuple[Path, Any]]:
    """(name, tensor or None) of nested tuples, lists, dicts and dataclasses; a bare tensor is named "output"."""
    import torch

    if outputs is None or isinstance(outputs, torch.Tensor):
        yield path or "output", outputs
    elif isinstance(outputs, Mapping):
        for key, value in outputs.items():
            yield from flattened(value, _join(path, str(key)))
    elif isinstance(outputs, (tuple, list)):
        names = getattr(outputs, "_fields", None) or [f"[{i}]" for i in range(len(outputs))]
        for name, value in zip(names, outputs, strict=True):
            yield from flattened(value, _join(path, name))
    elif dataclasses.is_dataclass(outputs):
        for field in dataclasses.fields(outputs):
            yield from flattened(getattr(outputs, field.name), _join(path, field.name))
    else:
        raise TypeError(f"an output is a {type(outputs).__name__}: return tensors, or tuples, lists and dicts of them")


def floating_tensors(state: Any) -> list[tuple[Path, Any]]:
    """(name, tensor) of every floating-point tensor that the state holds, each once; parameters and buffers too."""
    import torch

    found: list[tuple[Path, Any]] = []
    seen: set[int] = set()

    def walk(value: Any, path: Path) -> None:
        if id(value) in seen:
            return
        seen.add(id(value))
        if isinstance(value, torch.Tensor):
            if value.is_floating_point() or value.is_complex():
                found.append((path, value))
        elif isinstance(value, torch.nn.Module):
            for name, tensor in [*value.named_parameters(), *value.named_buffers()]:
                walk(tensor, _join(path, name))
        else:
            for name, item in _items(value):
                walk(item, _join(path, name))

    walk(state, "")
    return found


def float64(state: Any) -> Any:
    """A copy of the state with every floating-point tensor (and every floating dtype that it names) in float64.

    Goes through nn.Modules, tuples, lists, dicts, dataclasses and plain objects; what is neither is shared.
    A tensor that is held twice stays one tensor; leaves that require gradients still do.
    """
    return _mapped(state, _widened)


def tf32_rounded(state: Any) -> Any:
    """A copy of the state with every float32 tensor rounded to the ten bits of mantissa that TF32 products see."""
    return _mapped(state, _rounded)


def _widened(value: Any) -> Any:
    import torch

    if isinstance(value, torch.dtype):
        return torch.float64 if value.is_floating_point else value
    wide = torch.complex128 if value.dtype.is_complex else torch.float64
    return value.detach().to(wide, copy=True) if value.dtype.is_floating_point or value.dtype.is_complex else value


def _rounded(value: Any) -> Any:
    import torch

    if isinstance(value, torch.dtype) or value.dtype != torch.float32:
        return value
    # Float32 keeps 23 bits of mantissa and TF32 ten: add half of the last kept bit, then clear the other thirteen.
    bits = value.detach().clone().view(torch.int32)
    return bits.add_(0x1000).bitwise_and_(~0x1FFF).view(torch.float32)


def _mapped(state: Any, convert: Callable[[Any], Any]) -> Any:
    import torch

    done: dict[int, Any] = {}

    def tensor(value: Any) -> Any:
        new = convert(value)
        if new is value:
            return value
        if isinstance(value, torch.nn.Parameter):
            return torch.nn.Parameter(new, requires_grad=value.requires_grad)
        return new.requires_grad_(value.requires_grad)

    def module(value: Any) -> Any:
        # The copy shares nothing and keeps the tensors' places; each is then replaced by its converted self.
        memo = {id(t): done.setdefault(id(t), tensor(t)) for t in [*value.parameters(), *value.buffers()]}
        return copy.deepcopy(value, memo)

    def walk(value: Any) -> Any:
        if id(value) in done:
            return done[id(value)]
        if isinstance(value, torch.nn.Module):
            new = module(value)
        elif isinstance(value, (torch.Tensor, torch.dtype)):
            new = tensor(value) if isinstance(value, torch.Tensor) else convert(value)
        elif isinstance(value, Mapping):
            new = type(value)((k, walk(v)) for k, v in value.items())  # type: ignore[call-arg]
        elif isinstance(value, (tuple, list)):
            walked = [walk(v) for v in value]
            new = type(value)(*walked) if hasattr(value, "_fields") else type(value)(walked)
        elif _is_plain_object(value):
            new = copy.copy(value)
            done[id(value)] = new
            for name, item in _items(value):
                # A frozen dataclass forbids the usual way.
                object.__setattr__(new, name, walk(item))
        else:
            new = value
        done[id(value)] = new
        return new

    return walk(state)


def _is_plain_object(value: Any) -> bool:
    """An instance of a class of the case's own: a dataclass or an object with attributes."""
    if isinstance(value, type):
        return False
    return dataclasses.is_dataclass(value) or type(value).__module__.partition(".")[0] not in LIBRARIES


def _items(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [(str(k), v) for k, v in value.items()]
    if isinstance(value, (tuple, list)):
        return [(f"[{i}]", v) for i, v in enumerate(value)]
    if not _is_plain_object(value):
        return []
    if dataclasses.is_dataclass(value):
        return [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value) if hasattr(value, f.name)]
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ()) if hasattr(value, name)]
    return [*((name, getattr(value, name)) for name in slots), *getattr(value, "__dict__", {}).items()]


def _join(path: Path, name: str) -> Path:
    if not path or name.startswith("["):
        return path + name if path else name
    return f"{path}.{name}"
