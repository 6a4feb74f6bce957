"""Cases in which every two values of different axes meet: far fewer than all, and still each pair of circumstances."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Any


def pairwise(axes: Sequence[Sequence[Any]], seed: int = 0) -> list[tuple[Any, ...]]:
    """One value an axis each: greedy, the same list for the same seed."""
    chance = random.Random(seed)
    numbered = list(itertools.combinations(range(len(axes)), 2))
    missing = {(a, b, u, v) for a, b in numbered for u in range(len(axes[a])) for v in range(len(axes[b]))}
    cases = []
    while missing:
        a, b, u, v = min(missing)
        tried = [[chance.randrange(len(axis)) for axis in axes] for _ in range(60)]
        for row in tried:
            row[a], row[b] = u, v
        best = max(tried, key=lambda row: sum((a, b, row[a], row[b]) in missing for a, b in numbered))
        missing -= {(a, b, best[a], best[b]) for a, b in numbered}
        cases.append(tuple(axis[place] for axis, place in zip(axes, best, strict=True)))
    return cases
