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
    except (ValueError, TypeError, ImportError, OSError) as error:
        sys.exit(str(error).splitlines()[0])
    print(json.dumps(answer))


def _traffic_row(argument: dict[str, Any]) -> Any:
    from benchbench.access import rows, shipped

    return rows.traffic_row(shipped.Spec(**argument))


TASKS = {"traffic_row": _traffic_row}


if __name__ == "__main__":
    main()
