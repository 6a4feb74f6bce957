"""The process in which kernels are interpreted: one task in as JSON, one line of JSON out."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any


def main() -> None:
    """python -m benchbench.access.worker TASK JSON."""
    task, argument = sys.argv[1], json.loads(sys.argv[2])
    try:
        # What a file of the user's prints is no answer.
        with contextlib.redirect_stdout(sys.stderr):
            answer = TASKS[task](argument)
    except Exception as error:
        # The parent shows one line; what a kernel of the user's raises can be anything.
        name = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        sys.exit(name + " ".join(str(error).split()))
    print(json.dumps(answer))


def _traffic_row(argument: dict[str, Any]) -> Any:
    from benchbench.access import rows, shipped

    return rows.traffic_row(shipped.Spec(**argument["spec"]), batch=argument["batch"])


def _file(argument: dict[str, Any]) -> Any:
    from benchbench.access import cache, detail, example

    call = example.load_example(argument["path"])
    with example.first_configurations():
        return detail.detail(call, limit_s=argument["limit_s"], l2=cache.L2(**argument["l2"]), told=_tell)


def _shipped(argument: dict[str, Any]) -> Any:
    from benchbench.access import cache, detail, shipped

    spec = shipped.Spec(**argument["spec"])
    call = shipped.adapter(spec.op).launcher(spec, argument["batch"])
    return detail.detail(call, limit_s=argument["limit_s"], l2=cache.L2(**argument["l2"]), told=_tell)


def _tell(text: str) -> None:
    from benchbench.access.rows import NOTE

    print(f"{NOTE}{text}", file=sys.stderr, flush=True)


TASKS = {"traffic_row": _traffic_row, "file": _file, "shipped": _shipped}


if __name__ == "__main__":
    main()
