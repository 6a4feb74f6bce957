"""What a call asked of memory: by load and store instruction, by tensor, in order, and out of bounds."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

SECTOR_BYTES = 32
Addresses = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Site:
    """One load, store or atomic of the source: what all of its executions asked for. Requests are modelled."""

    kernel: str
    kind: str  # load, store or atomic
    file: str
    line: int
    tensor: str
    executions: int
    requested_bytes: int
    requests: int
    sectors: int
    narrowest_vector_bytes: int

    @property
    def sectors_per_request(self) -> float:
        """Mean 32-byte sectors of a warp-sized request; 4 for 32 neighbouring floats, 32 for a scattered one."""
        return self.sectors / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class View:
    """How a tensor lies in its storage, in elements: sizes, strides, where it begins; and an element's bytes."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    first: int
    itemsize: int


@dataclass(frozen=True, slots=True)
class TensorTraffic:
    """What one launch asks of one tensor. counts: how often each element was touched, by its place in the storage.

    itemsize: the bytes of what is counted; counts are missing where elements of several sizes were accessed.
    """

    launch: int
    kernel: str
    kind: str
    tensor: str
    requested_bytes: int
    unique_bytes: int
    program_sector_bytes: int
    view: View | None = None
    itemsize: int = 0
    counts: npt.NDArray[np.int64] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class OutOfBounds:
    """A source line that reaches outside every tensor that was given to the kernel: its first access that does.

    lanes: how many elements it asks for outside in all, programs: from how many programs. They were masked off, so that
    the run went on.
    """

    kernel: str
    kind: str
    file: str
    line: int
    program: tuple[int, int, int]
    address: int
    nearest: str
    lanes: int = 1
    programs: int = 1

    def __str__(self) -> str:
        where = f"{os.path.basename(self.file)}:{self.line}"
        does = {"load": "loads", "store": "stores to", "atomic": "updates"}[self.kind]
        first = f"{self.kernel}, {where}: program {self.program} {does} address {self.address:#x}, {self.nearest}"
        of = f" of {self.programs} programs" if self.programs > 1 else ""
        return first if self.lanes == 1 else f"{first}; {self.lanes} elements{of} in all"


@dataclass(frozen=True, slots=True)
class Step:
    """One execution of a site: the sectors it touches, in order, for the modelled cache."""

    launch: int
    program: int
    kind: str
    sectors: Addresses


@dataclass(frozen=True, slots=True)
class Traffic:
    """All that a call asked of memory. Bytes are exact; requests and sectors per request are modelled."""

    launches: tuple[tuple[str, int], ...]
    sites: tuple[Site, ...]
    tensors: tuple[TensorTraffic, ...]
    out_of_bounds: tuple[OutOfBounds, ...]
    steps: tuple[Step, ...] = field(default=(), repr=False)

    def requested_bytes(self, kind: str = "", tensors: tuple[str, ...] = ()) -> int:
        """Unmasked bytes of the loads, stores or atomics; of these tensors only, where some are named."""
        return sum(t.requested_bytes for t in self._of(kind, tensors))

    def unique_bytes(self, kind: str = "", tensors: tuple[str, ...] = ()) -> int:
        """Bytes touched at least once, counted once a launch, kind and tensor."""
        return sum(t.unique_bytes for t in self._of(kind, tensors))

    def program_sector_bytes(self, kind: str = "", tensors: tuple[str, ...] = ()) -> int:
        """Sum over programs of 32 bytes a distinct sector: what reaches the L2 if a program's own reuse is free."""
        return sum(t.program_sector_bytes for t in self._of(kind, tensors))

    def amplification(self, kind: str = "", tensors: tuple[str, ...] = ()) -> float:
        """Requested over unique bytes: 1 where nothing is asked for twice."""
        unique = self.unique_bytes(kind, tensors)
        return self.requested_bytes(kind, tensors) / unique if unique else 0.0

    def _of(self, kind: str, tensors: tuple[str, ...]) -> list[TensorTraffic]:
        return [t for t in self.tensors if kind in ("", t.kind) and (not tensors or t.tensor in tensors)]


def heat_map(tensor: TensorTraffic) -> list[list[float]]:
    """How often each element is touched: rows x columns of the last two dimensions, the mean over the others.

    A vector is drawn as rows of 32 elements. Empty where the tensor's own shape is not known (several arguments share
    its memory), or where it is not accessed element by element.
    """
    view = tensor.view
    if tensor.counts is None or view is None or tensor.itemsize != view.itemsize or 0 in view.shape:
        return []
    step = tensor.counts.itemsize
    strides = tuple(stride * step for stride in view.strides)
    touched = np.lib.stride_tricks.as_strided(tensor.counts[view.first :], view.shape, strides).astype(float)
    if touched.ndim < 2:
        whole = np.zeros(-(-touched.size // 32) * 32)
        whole[: touched.size] = touched
        touched = whole.reshape(-1, 32)
    rows: list[list[float]] = touched.reshape(-1, *touched.shape[-2:]).mean(axis=0).tolist()
    return rows
