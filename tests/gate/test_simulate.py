"""Does the gate keep its promises? The quick form of the table that `bench simulate` prints; it fails on any row."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from benchbench.gate import paired, simulate
from benchbench.gate.rule import Rule
from benchbench.gate.simulate import DRIFTS, NOISES, SPREADS, Machine, Row, drift, rows, scatter


@pytest.fixture(scope="module")
def table() -> list[Row]:
    return list(rows())


@pytest.mark.simulation
def test_every_promise_is_kept(table: list[Row]) -> None:
    for row in table:
        mark = {True: "holds", False: "BROKEN", None: ""}[row.holds]
        print(
            f"{row.gate:8}{row.what:10}{row.noise:12}{row.spread:7.2%} {row.drift:5}{row.effect:+7.2%}"
            f"{row.runs:7}{row.rate:9.2%} {row.target:8}{mark}"
        )
    assert not [row for row in table if row.holds is False]


@pytest.mark.simulation
def test_the_table_has_every_machine_and_every_kind_of_row(table: list[Row]) -> None:
    for gate in ("ab", "check"):
        for what in ("alarm", "faster", "undecided", "invalid"):
            seen = {(r.noise, r.spread, r.drift) for r in table if (r.gate, r.what, r.effect) == (gate, what, 0.0)}
            assert len(seen) == len(NOISES) * len(SPREADS) * (len(DRIFTS) if gate == "ab" else 1)
    assert {row.noise for row in table if row.gate == "history"} == {"normal", "AR(.5)", "t3", "bimodal"}
    assert {row.gate for row in table if row.what == "mde"} == {"ab", "check"}


@pytest.mark.simulation
def test_a_row_is_one_object_of_json(table: list[Row]) -> None:
    keys = {"noise", "spread", "drift", "effect", "runs", "alarms", "rate", "target", "holds"}
    assert keys <= set(json.loads(json.dumps(asdict(table[0]))))


@pytest.mark.simulation
def test_one_after_the_other_a_ramp_is_an_alarm_in_nearly_every_run_and_in_turn_in_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine("normal", 0.005, "ramp")
    in_turn = simulate.null_rows("ab", machine, 100, Rule(), 1)[0].rate
    # All of A, then all of B: the screen's and the fresh rounds' slots alike.
    monkeypatch.setattr(simulate, "_arms", lambda slots: tuple(np.split(slots, 2, axis=1)))
    monkeypatch.setattr(simulate, "CONTROLS", 0)
    in_a_row = simulate.null_rows("ab", machine, 100, Rule(), 1)[0].rate
    print(f"ramp of 3 %, nothing changed: alarms in {in_turn:.0%} of runs in turn, {in_a_row:.0%} one after the other")
    assert in_turn == 0
    assert in_a_row > 0.9


@pytest.mark.simulation
def test_without_the_second_stage_null_runs_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    lax = Rule(screen_alpha=0.1, confirm_alpha=0.1, family_alpha=0.999)
    alarms = simulate.margin_row("ab", Machine("normal", 0.01), 200, lax, 1).rate
    print(f"every point at the margin, one-sided 10 % in both stages: alarms in {alarms:.0%} of runs")
    assert alarms > 0.02


@pytest.mark.simulation
def test_without_the_allowance_for_sittings_stored_runs_alarm_at_the_margin() -> None:
    blind = Rule(same_within=0.025, confirm_alpha=0.02, sitting_offset=0.0)
    alarms = simulate.margin_row("check", Machine("normal", 0.005, offset=0.003), 200, blind, 1).rate
    print(f"every point at the margin, offsets of .3 % between sittings ignored: alarms in {alarms:.0%} of runs")
    assert alarms > 0.02


@pytest.mark.parametrize("noise", NOISES)
def test_every_noise_has_mean_zero_and_its_spread(noise: str) -> None:
    values = scatter(np.random.default_rng(0), noise, (400_000,))
    assert values.mean() == pytest.approx(0, abs=0.01)
    assert values.std() == pytest.approx(1, abs=0.2 if noise == "t3" else 0.01)


def test_drifts_are_what_they_are_called() -> None:
    generator = np.random.default_rng(0)
    assert not drift(generator, "none", 2, 5).any()
    assert np.diff(drift(generator, "ramp", 1, 48)[0]) == pytest.approx(0.03 / 47)
    wander = drift(generator, "ar", 4000, 20)
    assert wander.std() == pytest.approx(0.01, rel=0.05)
    assert np.corrcoef(wander[:, 7], wander[:, 8])[0, 1] == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize("call", [lambda g: scatter(g, "loud", (1,)), lambda g: drift(g, "up", 1, 1)])
def test_an_unknown_machine_is_refused(call: object) -> None:
    with pytest.raises(ValueError, match="is one of"):
        call(np.random.default_rng(0))  # type: ignore[operator]


def test_the_simulation_drives_the_very_functions_that_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("decided here")

    monkeypatch.setattr(paired, "decide", refuse)
    with pytest.raises(RuntimeError, match="decided here"):
        simulate.null_rows("ab", Machine("normal", 0.01), 1, Rule(), 1)


def test_a_measured_spread_replaces_the_assumed_ones() -> None:
    first = next(rows(spread=0.0123))
    assert first.spread == 0.0123
    assert first.runs == simulate.QUICK.null
