"""Which memory was a launch given? The storages of its tensors, each with the arguments that lie in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchbench.access.traffic import View


@dataclass(slots=True)
class Argument:
    """A storage that a launch was given: its extent, and the names of the arguments that lie in it."""

    names: tuple[str, ...]
    start: int
    stop: int
    views: tuple[tuple[str, int, int], ...]
    shapes: dict[str, View]

    def name_of(self, low: int, high: int) -> str:
        """The argument whose own elements hold both addresses; several that share memory are joined by a stroke."""
        if len(self.names) == 1:
            return self.names[0]
        inside = [name for name, start, stop in self.views if start <= low and high < stop]
        return "/".join(inside or self.names)


def nearest(address: int, size: int, arguments: tuple[Argument, ...]) -> str:
    """Where an address lies that is in none of them: so many bytes before or beyond the nearest."""
    found = []
    for argument in arguments:
        before, beyond = argument.start - address, address + size - argument.stop
        words = f"{before} bytes before" if before > 0 else f"{beyond} bytes beyond the end of"
        found.append((max(before, beyond), f"{words} {'/'.join(argument.names)}"))
    return min(found)[1] if found else "but no tensor was given"


def arguments_of(arguments: Any) -> tuple[Argument, ...]:
    """The tensors among a launch's arguments, one entry a storage."""
    named: dict[int, list[tuple[str, Any]]] = {}
    for name, value in arguments.items():
        for tensor in _tensors_in(value):
            named.setdefault(tensor.untyped_storage().data_ptr(), []).append((name, tensor))
    found = []
    for start, group in named.items():
        stop = start + group[0][1].untyped_storage().nbytes()
        views = tuple((name, t.data_ptr(), t.data_ptr() + _extent_bytes(t)) for name, t in group)
        shapes = {
            name: View(tuple(t.shape), tuple(t.stride()), t.storage_offset(), t.element_size()) for name, t in group
        }
        found.append(Argument(tuple(name for name, _ in group), start, stop, views, shapes))
    return tuple(found)


def _tensors_in(value: Any) -> list[Any]:
    if isinstance(value, tuple):
        return [tensor for part in value for tensor in _tensors_in(part)]
    value = getattr(value, "base", value) if hasattr(value, "block_shape") else value
    return [value] if hasattr(value, "data_ptr") and hasattr(value, "untyped_storage") else []


def _extent_bytes(tensor: Any) -> int:
    if tensor.numel() == 0:
        return 0
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return int((last + 1) * tensor.element_size())
