"""What does the gate promise, and does it keep it? Prints the table of simulated mistakes, one JSON object a line.

    python benchmarks/gate_table.py [--full] [--spread 0.0123] [--seed 1]

``rate`` is the share of runs (of points for "undecided"; printed over simulated change for "mde"), ``target`` what is
promised, ``holds`` whether it is kept. Exits 1 where a promise is broken.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from benchbench.gate.simulate import rows


def main() -> int:
    parser = argparse.ArgumentParser(description="the gate's false alarms and powers on simulated machines")
    parser.add_argument("--full", action="store_true", help="3,000 null runs a setting instead of 300")
    parser.add_argument("--spread", type=float, help="a measured spread in place of .5, 1 and 2 percent")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    broken = 0
    for row in rows(full=asked.full, spread=asked.spread, seed=asked.seed):
        broken += row.holds is False
        print(json.dumps(asdict(row)), flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
