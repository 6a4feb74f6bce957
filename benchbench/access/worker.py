"""The process in which kernels are interpreted: one task in as JSON, one line of JSON out."""

from __future__ import annotations

import json
import sys
from typing import Any


def main() -> None:
    """python -m benchbench.access.worker TASK JSON."""
    task, argument = sys.argv[1], json.loads(sys.argv[2])
    try:
        answer = TASKS[task](argument)
    except Exception as error:
        # The parent shows one line; what a kernel of the user's raises can be anything.
        name = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        sys.exit(name + (str(error).splitlines() or [""])[0])
    print(json.dumps(answer))


def _traffic_row(argument: dict[str, Any]) -> Any:
    from benchbench.access import rows, shipped

    return rows.traffic_row(shipped.Spec(**argument))


def _example(argument: dict[str, Any]) -> Any:
    from benchbench.access import cache, example

    l2 = cache.L2(**argument["l2"]) if argument.get("l2") else None
    return example.traffic_of(argument["path"], limit_s=argument.get("limit_s", 120.0), l2=l2)


TASKS = {"traffic_row": _traffic_row, "example": _example}


if __name__ == "__main__":
    main()
