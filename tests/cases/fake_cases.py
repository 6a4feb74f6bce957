"""Cases that need no torch and no time, one for each way in which a point can end."""

import os
import time

from benchbench import Axis, Skip, Work, Workload, case
from benchbench.case import positive_integer

SIZE = Axis("size", tuple(range(1, 13)), parse=positive_integer)
LEAST = Work(4, 4, 1, 1)


def _workload(call, make=lambda device: None):
    return Workload(make=make, call=call, work=LEAST)


@case(SIZE)
def fake_sum(size: int) -> Workload:
    """A short computation that takes a little time."""
    return _workload(lambda state: sum(range(10 * size)))


@case(SIZE)
def fake_slow(size: int) -> Workload:
    """A call of two milliseconds."""
    return _workload(lambda state: time.sleep(0.002))


@case()
def fake_killed() -> Workload:
    """The process is killed, as by the out-of-memory killer."""
    return _workload(lambda state: os.kill(os.getpid(), 9))


@case()
def fake_abort() -> Workload:
    """The process aborts, as a C++ library does."""
    return _workload(lambda state: os.abort())


@case()
def fake_endless() -> Workload:
    """A call that never returns."""

    def call(state):
        while True:
            pass

    return _workload(call)


@case()
def fake_exception() -> Workload:
    """A call that raises."""

    def call(state):
        raise RuntimeError("the planted error\nwith a second line")

    return _workload(call)


@case()
def fake_memory() -> Workload:
    """An allocation of a petabyte."""
    return _workload(lambda state: bytearray(10**15))


@case()
def fake_skip_when_planned() -> Workload:
    """A point that makes no sense."""
    raise Skip("it makes no sense")


@case()
def fake_skip_when_made() -> Workload:
    """A point that this device cannot do."""

    def make(device):
        raise Skip("this device cannot do it")

    return _workload(lambda state: None, make)


@case()
def fake_exit() -> Workload:
    """A call that ends the process as if all were well."""
    return _workload(lambda state: os._exit(0))


@case()
def fake_printing() -> Workload:
    """A call that prints to standard output, where no answer may be mixed with it."""
    return _workload(lambda state: print("hello from the case"))
