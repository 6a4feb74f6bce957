"""bench roofline --measure: this machine's roofs and our operators, measured now as the plan ``roofline``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from benchbench.commands.terminal import note

# Of the last-level cache: two sizes inside it for one plateau, one four times as large for the other.
SHARES_OF_THE_CACHE = (1 / 16, 1 / 4, 4)
# A triad has three vectors, and other programs run too.
MOST_OF_MEMORY = 1 / 12


def measured_now(store: Path, device: str, imports: tuple[str, ...]) -> str:
    """The id of the new run. Raises CannotMeasure where nothing could be measured."""
    from benchbench.commands.sitting import Sitting
    from benchbench.commands.sweep import plan_of, points_of, preset_named, settings_of
    from benchbench.device import devices
    from benchbench.registry import register_cases
    from benchbench.run import CannotMeasure, rounds_of

    register_cases(imports)
    chosen = devices(device)
    preset = preset_named("", chosen[0], quick=False)
    axes: Mapping[str, tuple[int, ...]] = {"kibibytes": cpu_kibibytes()} if chosen[0] == "cpu" else {}
    points = points_of(plan_of("roofline", (), (), axes, preset), chosen[0], "")
    turns = rounds_of(points, preset.rounds)
    how = settings_of(preset, chosen, "", "", 0, imports, False)
    question = {
        "points": {"count": len(points)},
        "plan": "roofline",
        "preset": preset.name,
        "rounds": len(turns),
        "policy": dict(how.policy),
        "imports": list(imports),
    }
    with Sitting(store, question, how, preset) as sitting:
        outcome = sitting.measure(turns)
    if sitting.run is None or outcome.interrupted:
        raise CannotMeasure("interrupted before the roofs were measured" if outcome.interrupted else "nothing ran")
    note(f"run {sitting.run.id} in {sitting.run.folder}")
    return sitting.run.id


def cpu_kibibytes() -> tuple[int, ...]:
    """Sizes of a vector, from a sixteenth of this machine's last-level cache to four times it, if memory has room."""
    from benchbench.clocks import last_level_cache_bytes

    room = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * MOST_OF_MEMORY
    sizes = (min(last_level_cache_bytes() * share, room) for share in SHARES_OF_THE_CACHE)
    return tuple(dict.fromkeys(int(size) // 1024 for size in sizes))
