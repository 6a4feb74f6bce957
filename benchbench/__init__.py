"""GPU throughput and memory-access benchmarks for depthwise convolutions and the networks built on them."""

from benchbench.case import Axis, Skip, Workload, case
from benchbench.work import Work

__all__ = ["Axis", "Skip", "Work", "Workload", "case"]
__version__ = "0.1.0"
