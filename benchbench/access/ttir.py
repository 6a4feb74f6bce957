"""Which of a kernel's arguments does a load or store reach? Read from Triton's intermediate code."""

from __future__ import annotations

import os
import re

_ARGUMENT = re.compile(r"(%[\w]+): (?:!tt\.ptr<|!tt\.tensordesc<)")
_ASSIGNED = re.compile(r"^\s*(%[\w]+)(?::\d+)? = (.*)$")
_CARRIED = re.compile(r"(%[\w]+) = (%[\w#]+)")
_OPERAND = re.compile(r"%[\w]+(?:#\d+)?")
_PLACE = re.compile(r"^(#loc\d*) = loc\((.*)\)$")
_FILE = re.compile(r'"([^"]*)":(\d+):\d+')
_MEMORY = re.compile(r"(tt\.(?:load|store|atomic_rmw|atomic_cas|descriptor_\w+))\b(.*?)(?:loc\((#loc\d*)\))?$")


def tensors_by_line(text: str) -> dict[tuple[str, str, int], tuple[str, ...]]:
    """(load | store | atomic, file name, innermost line) of a memory operation -> the arguments its pointer is from."""
    places = _places(text)
    known: dict[str, frozenset[str]] = {}
    found: dict[tuple[str, str, int], set[str]] = {}
    for row in text.splitlines():
        # Names are given anew in sibling regions, so a pointer is looked up where it is used.
        _follow(row, known)
        if operation := _MEMORY.search(row):
            pointers = _OPERAND.findall(operation[2])
            where = places.get(operation[3] or "")
            if pointers and where:
                origin = known.get(pointers[0].split("#")[0], frozenset())
                found.setdefault((_kind(operation[1]), *where), set()).update(origin)
    return {where: tuple(sorted(names)) for where, names in found.items()}


def _kind(operation: str) -> str:
    if "atomic" in operation or "reduce" in operation:
        return "atomic"
    return "store" if "store" in operation or "scatter" in operation else "load"


def _follow(row: str, known: dict[str, frozenset[str]]) -> None:
    """Note which pointer arguments the values that this line defines are computed from; carried ones by their start."""
    if "tt.func" in row:
        known.update({name: frozenset({name.lstrip("%")}) for name in _ARGUMENT.findall(row)})
        return
    for inner, outer in _CARRIED.findall(row) if "iter_args" in row else ():
        known[inner] = known.get(outer.split("#")[0], frozenset())
    if assigned := _ASSIGNED.match(row):
        # What is loaded may be an index, but is no pointer.
        operands = () if "tt.load" in row else _OPERAND.findall(assigned[2])
        known[assigned[1]] = frozenset().union(*(known.get(name.split("#")[0], frozenset()) for name in operands))


def _places(text: str) -> dict[str, tuple[str, int]]:
    """Every location name -> (file name, line) of its innermost place."""
    raw = {found[1]: found[2] for row in text.splitlines() if (found := _PLACE.match(row.strip()))}

    def resolve(body: str, depth: int = 0) -> tuple[str, int] | None:
        # callsite(inner at outer) and "name"(inner): the first location named inside is the innermost.
        if depth > 20:
            return None
        direct = _FILE.search(body)
        inner = re.search(r"#loc\d*", body)
        if direct and (inner is None or direct.start() < inner.start()):
            return os.path.basename(direct[1]), int(direct[2])
        return resolve(raw[inner[0]], depth + 1) if inner and inner[0] in raw else None

    resolved = ((name, resolve(body)) for name, body in raw.items())
    return {name: where for name, where in resolved if where is not None}
