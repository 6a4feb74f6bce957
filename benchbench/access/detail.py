"""What does one call ask of memory, instruction by instruction and tensor by tensor, and what reaches DRAM of it?"""

from __future__ import annotations

import linecache
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchbench.access import cache, traced, traffic

Row = dict[str, Any]


def detail(
    call: Callable[[], Any],
    *,
    limit_s: float = 120.0,
    l2: cache.L2 | None = None,
    told: Callable[[str], None] | None = None,
) -> Row:
    """What the call's kernels ask of memory, as JSON-able rows; call it in a process with TRITON_INTERPRET=1.

    {"sites": a row a load or store, "tensors": a row a tensor, "out_of_bounds": lines, "dram": the modelled cache's,
    "launches": kernel and programs, "heat": {launch, kernel, kind, tensor, touches}, the latter
    empty where no map can be drawn}.
    """
    found = traced.trace(call, limit_s=limit_s, keep_steps=True, told=told)
    dram = cache.modelled_dram(found.steps, l2 or cache.L2())
    return {
        "sites": [site_row(site) for site in found.sites],
        "tensors": [tensor_row(tensor) for tensor in found.tensors],
        "heat": [
            {"launch": t.launch, "kernel": t.kernel, "kind": t.kind, "tensor": t.tensor, "touches": traffic.heat_map(t)}
            for t in found.tensors
        ],
        "out_of_bounds": [str(one) for one in found.out_of_bounds],
        "dram": {"read_bytes": dram.read_bytes, "written_bytes": dram.written_bytes, "hit_sectors": dram.hit_sectors},
        "launches": [{"kernel": kernel, "programs": programs} for kernel, programs in found.launches],
    }


def site_row(site: traffic.Site) -> Row:
    """A load or store of the source as a flat row; requests and sectors are modelled."""
    return {
        "kernel": site.kernel,
        "kind": site.kind,
        "file": Path(site.file).name,
        "line": site.line,
        "tensor": site.tensor,
        "executions": site.executions,
        "requested_bytes": site.requested_bytes,
        "requests_modelled": site.requests,
        "sectors_modelled": site.sectors,
        "sectors_per_request_modelled": site.sectors_per_request,
        "vector_bytes_modelled": site.narrowest_vector_bytes,
        "statement": linecache.getline(site.file, site.line).strip(),
    }


def tensor_row(tensor: traffic.TensorTraffic) -> Row:
    """What one launch asks of one tensor."""
    return {
        "launch": tensor.launch,
        "kernel": tensor.kernel,
        "kind": tensor.kind,
        "tensor": tensor.tensor,
        "requested_bytes": tensor.requested_bytes,
        "unique_bytes": tensor.unique_bytes,
        "program_sector_bytes": tensor.program_sector_bytes,
        "amplification": tensor.requested_bytes / tensor.unique_bytes if tensor.unique_bytes else None,
    }
