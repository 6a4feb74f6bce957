"""Heat maps of touched elements."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

from benchbench.reports.heat import heat
from benchbench.reports.save import save

TOUCHES = [[2.0, 3.0, 3.0, 2.0], [2.0, 3.0, 3.0, 2.0]]


def test_the_map_carries_its_counts_and_says_their_range() -> None:
    chart = heat("band", "load", "x/y", TOUCHES)
    assert chart.name == "heat-band-load-x-y"
    assert chart.data["touches"].tolist() == [2, 3, 3, 2] * 2
    assert chart.notes == ["An element is touched 2 to 3 times, 2.5 in the mean."]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_same_map_is_saved_as_the_same_bytes(tmp_path: Path, theme: str) -> None:
    first = save(heat("k", "load", "x", TOUCHES, theme=theme), tmp_path / "a", formats=("svg", "png"))
    second = save(heat("k", "load", "x", TOUCHES, theme=theme), tmp_path / "b", formats=("svg", "png"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


@pytest.mark.parametrize("touches", [[], [[]]])
def test_nothing_known_is_nothing_drawn(touches: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="no heat map of x"):
        heat("k", "load", "x", touches)


def test_an_untouched_tensor_is_drawn_as_such() -> None:
    assert "0 to 0 times" in heat("k", "load", "x", [[0.0, 0.0]]).notes[0]
