"""GPU throughput and memory-access benchmarks for depthwise convolutions and the networks built on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchbench.case import Axis, Skip, Workload, case
from benchbench.work import Work

if TYPE_CHECKING:
    from torch import nn

    from benchbench.models.accelerate import Report

__all__ = ["Axis", "Skip", "Work", "Workload", "accelerate", "case", "restore"]
__version__ = "0.1.0"


def accelerate(model: nn.Module, backend: str = "triton", *, blocks: bool = False) -> Report:
    """Put our kernels into ``model``, in place and with its weights; see ``benchbench.models.accelerate``."""
    from benchbench.models.accelerate import accelerate as replace

    return replace(model, backend, blocks=blocks)


def restore(model: nn.Module) -> tuple[str, ...]:
    """Undo ``accelerate``: the very modules come back; the names of them."""
    from benchbench.models.accelerate import restore as put_back

    return put_back(model)
