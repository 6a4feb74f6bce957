"""From what is a row of a shipped kernel made? A hash that changes whenever its source or its launch does.

It covers the kernel's function with all that it calls, its constants, types, options and grid, the architecture and
Triton's version, so that a change in one kernel leaves the rows of the others as they are. How rows are counted is not
in it.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from dataclasses import asdict
from typing import Any

from benchbench.access import shipped
from benchbench.access.shipped import COUNTED_BATCH, TRACED_BATCH, Spec, Variant


def compiled_from(spec: Spec) -> str:
    """The hash behind a row of resources."""
    return _hash([asdict(spec), [_recipe(variant) for variant in _variants(spec, COUNTED_BATCH)]])


def traced_from(spec: Spec) -> str:
    """The hash behind a row of traffic: the launches at the traced batch, and the module that starts them."""
    host = inspect.getsource(shipped.adapter(spec.op).host(spec))
    return _hash([asdict(spec), host, [_recipe(variant) for variant in _variants(spec, TRACED_BATCH)]])


def _variants(spec: Spec, batch: int) -> list[Variant]:
    return shipped.adapter(spec.op).variants(spec, batch)


def _recipe(variant: Variant) -> list[Any]:
    return [
        # Triton's own key of a function: its source, its place in the file, and the same of everything that it calls.
        variant.function.cache_key,
        sorted(variant.signature.items()),
        sorted((name, repr(value)) for name, value in variant.constants.items()),
        sorted((name, repr(value)) for name, value in variant.options.items()),
        list(variant.grid),
    ]


def _hash(asked: list[Any]) -> str:
    import triton

    return hashlib.sha256(json.dumps([triton.__version__, *asked]).encode()).hexdigest()[:20]
