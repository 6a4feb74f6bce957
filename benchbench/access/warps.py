"""How do the lanes of one load or store become requests? Modelled: the interpreter has no warps."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from benchbench.access.traffic import SECTOR_BYTES, Addresses

THREADS_A_REQUEST = 32
WIDEST_VECTOR_BYTES = 16


def vector_elements(lanes: Addresses, active: npt.NDArray[np.bool_], size: int) -> int:
    """Elements that a thread takes at once: the widest power of two that is contiguous, aligned and equally masked."""
    elements = max(1, WIDEST_VECTOR_BYTES // size)
    while elements > 1:
        if lanes.size % elements == 0:
            groups, masks = lanes.reshape(-1, elements), active.reshape(-1, elements)
            used = masks[:, 0]
            expected = groups[:, :1] + np.arange(elements) * size
            equally = bool((masks == masks[:, :1]).all())
            if equally and bool((groups == expected)[used].all()) and not (groups[used, 0] % (elements * size)).any():
                return elements
        elements //= 2
    return 1


def modelled_requests(lanes: Addresses, active: npt.NDArray[np.bool_], size: int, vector: int) -> tuple[int, int]:
    """(requests, sectors): 32 threads of ``vector`` elements each, in row-major order, ask together."""
    request = np.flatnonzero(active) // (THREADS_A_REQUEST * vector)
    first = lanes[active]
    sectors = first // SECTOR_BYTES
    if (first % size).any():
        sectors, request = np.append(sectors, (first + size - 1) // SECTOR_BYTES), np.append(request, request)
    lowest = sectors.min()
    pairs = request * int(sectors.max() - lowest + 1) + (sectors - lowest)
    return np.unique(request).size, np.unique(pairs).size
