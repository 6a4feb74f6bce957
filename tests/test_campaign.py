"""The gate end to end: rounds through records to verdicts, on simulated machines, on disk and on the command line."""

import json
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchbench import campaign, cli, store
from benchbench.commands import ci, pairing
from benchbench.gate.estimate import between_sittings
from benchbench.gate.rule import Rule
from benchbench.plan import PlanError, Point
from benchbench.record import Record
from benchbench.run import Outcome, Turn

POINTS = tuple(Point(f"op@1;size={i}", "op", 1, {"size": i}) for i in range(30))
CONTROL = (Point("control_copy@1", "control_copy", 1, {}),)
RULES = campaign.Rules(Rule())


class SimulatedMachine:
    """Rounds with a spread and a drift of 3 %, and a planted slowdown of some points in arm B."""

    def __init__(
        self,
        seed: int,
        slow: dict[str, float],
        *,
        spread: float = 0.005,
        drift: float = 0.03,
        dead: tuple[str, int] = ("", -1),
    ) -> None:
        self.spread = spread
        self.dice = np.random.default_rng(seed)
        self.slow, self.drift, self.dead = slow, drift, dead
        self.records: list[Record] = []
        self.turns: list[Turn] = []

    def measure(self, turns: Sequence[Turn]) -> Outcome:
        for turn in turns:
            self.turns.append(turn)
            ramp = 1 + self.drift * len(self.turns) / 48
            for point in turn.points:
                factor = self.slow.get(point.key, 1.0) if turn.arm == "B" else 1.0
                time_s = 1e-3 * factor * ramp * float(np.exp(self.spread * self.dice.normal()))
                status = "crash" if self.dead == (turn.arm, turn.round) else "ok"
                samples = () if status == "crash" else (time_s,) * 3
                place = {"round": turn.round, "arm": turn.arm, "samples_s": samples}
                self.records.append(Record(point.key, point.case, 1, point.params, status, **place))
        return Outcome(complete=True)


def judge(machine: SimulatedMachine, rules: campaign.Rules = RULES) -> dict[str, campaign.Judged]:
    a, b = (campaign.Arm(name, POINTS, CONTROL) for name in "AB")
    found = campaign.measure_pairs(a, b, machine.measure, lambda: machine.records, rules=rules, screen=8, confirm=16)
    return {one.key: one for one in found}


def test_rounds_go_abba_in_fresh_processes() -> None:
    a, b = (campaign.Arm(name, POINTS) for name in "AB")
    turns = campaign.turns_of(a, b, range(4))
    assert "".join(turn.arm for turn in turns) == "ABBAABBA"
    assert [turn.round for turn in turns] == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("seed", range(10))
def test_no_change_raises_no_alarm_under_drift(seed: int) -> None:
    found = judge(SimulatedMachine(seed, {}))
    assert not {"slower", "faster", "invalid"} & {one.verdict for one in found.values()}


@pytest.mark.parametrize("seed", range(10))
def test_a_planted_slowdown_is_found_and_named_and_the_others_are_not(seed: int) -> None:
    slow = POINTS[7].key
    found = judge(SimulatedMachine(seed, {slow: 1.05}))
    assert [key for key, one in found.items() if one.verdict == "slower"] == [slow]


def test_the_intervals_of_ratios_cover_the_truth() -> None:
    """Nominally 90 %; of 30 points in 5 runs, screened ones with 8 pairs and the others with 24."""
    found = [one for seed in range(5) for one in judge(SimulatedMachine(seed, {})).values()]
    assert np.mean([one.low < 1 < one.high for one in found]) > 0.8


def test_only_the_flagged_points_are_measured_again() -> None:
    machine = SimulatedMachine(3, {POINTS[7].key: 1.10})
    judge(machine)
    again = {point.key for turn in machine.turns if turn.round >= 8 for point in turn.points}
    assert POINTS[7].key in again
    assert CONTROL[0].key in again
    assert len(again) < len(POINTS)


def test_what_the_screen_flags_is_not_yet_an_alarm() -> None:
    """The guard is the confirmation on fresh rounds: at a wide spread the screen alone would cry wolf."""
    flagged = alarms = 0
    for seed in range(5):
        machine = SimulatedMachine(seed, {}, spread=0.03)
        found = judge(machine)
        flagged += len({p.key for t in machine.turns if t.round >= 8 for p in t.points if p.case == "op"})
        alarms += sum(one.verdict == "slower" for one in found.values())
    assert flagged > 0
    assert alarms == 0


def test_an_arm_that_crashes_in_a_round_loses_that_round_only() -> None:
    found = judge(SimulatedMachine(1, {POINTS[2].key: 1.06}, dead=("B", 3)))
    assert found[POINTS[2].key].verdict == "slower"
    assert found[POINTS[3].key].rounds in (7, 23)


def test_another_threshold_for_some_points_holds_for_them_alone() -> None:
    rules = campaign.Rules(Rule(), (("op@1;size=7", 0.2),))
    found = judge(SimulatedMachine(4, {POINTS[7].key: 1.06, POINTS[8].key: 1.06}), rules)
    assert found[POINTS[7].key].verdict != "slower"
    assert found[POINTS[8].key].verdict == "slower"
    assert (found[POINTS[7].key].margin, found[POINTS[8].key].margin) == (0.2, 0.01)


def test_a_threshold_for_nothing_is_refused() -> None:
    with pytest.raises(PlanError, match="fits no point"):
        judge(SimulatedMachine(0, {}), campaign.Rules(Rule(), (("nothing*", 0.05),)))


def test_an_empty_launch_that_moved_is_no_reason_to_call_the_run_invalid() -> None:
    keys = ["control_empty@1", "control_matmul@1", "op@1"]

    def rounds(moved: str) -> list[Record]:
        dice = np.random.default_rng(1)
        times = [(key, 1e-3 * (1.2 if key == moved else 1.0)) for key in keys for _ in range(8)]
        return [
            Record(key, key.partition("@")[0], 1, {}, "ok", round=n % 8, samples_s=(t * dice.normal(1, 0.002),) * 3)
            for n, (key, t) in enumerate(times)
        ]

    for moved, verdict in (("control_empty@1", "same"), ("control_matmul@1", "invalid")):
        stored = campaign.compare_stored(rounds(""), rounds(moved), ["op@1"], controls=keys[:2], rules=RULES)
        assert [one.verdict for one in stored] == [verdict]
        checked = campaign.check_against(rounds(""), rounds(moved), [], ["op@1"], controls=keys[:2], rules=RULES)
        assert [one.verdict for one in checked] == [verdict]


def test_controls_that_moved_make_the_run_invalid() -> None:
    found = judge(SimulatedMachine(5, {CONTROL[0].key: 1.05}))
    assert {one.verdict for one in found.values()} == {"invalid"}


# On disk and on the command line.


def stored(
    folder: Path, name: str, seed: int, *, slow: dict[str, float] | None = None, rounds: int = 8, **asked: object
) -> store.Run:
    """A run of simulated records, as bench sweep leaves it."""
    machine = SimulatedMachine(seed, slow or {}, drift=0.0)
    machine.measure([Turn((*CONTROL, *POINTS), number, "B") for number in range(rounds)])
    whole = {
        "asked": {"plan": "sweep", "policy": {}},
        "testbed": {"gpu": "simulated", "device": "none"},
        "description": {},
    }
    run = store.create(folder, {**whole, **asked}, name=name)
    writer = store.Writer(run)
    from dataclasses import replace

    for record in machine.records:
        writer.append(replace(record, arm=""))
    writer.close()
    return run


@pytest.mark.parametrize("seed", range(10))
def test_stored_runs_give_the_same_verdicts_through_the_command_line(
    tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = {POINTS[4].key: 1.08}
    runs = [stored(tmp_path, "a", seed), stored(tmp_path, "b", seed + 100, slow=slow)]
    code = cli.run(["-q", "compare", "a", "b", "--store", str(tmp_path), "--json"])
    rows = {row["key"]: row for row in json.loads(capsys.readouterr().out)}
    keys = [point.key for point in POINTS]
    direct = campaign.compare_stored(runs[0].read()[0], runs[1].read()[0], keys, controls=[CONTROL[0].key], rules=RULES)
    assert {one.key: one.verdict for one in direct} == {key: row["verdict"] for key, row in rows.items()}
    assert rows[POINTS[4].key]["verdict"] == "slower"
    assert code == 1


def test_runs_of_other_testbeds_are_not_compared_unless_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(tmp_path, "a", 1)
    stored(tmp_path, "b", 2, testbed={"gpu": "another", "device": "none"})
    assert cli.run(["compare", "a", "b", "--store", str(tmp_path)]) == 5
    assert "gpu 'simulated', here it is 'another'" in capsys.readouterr().err
    assert cli.run(["-q", "compare", "a", "b", "--cross", "--store", str(tmp_path)]) == 0


def test_a_measured_offset_between_sittings_takes_the_blame(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored(tmp_path, "a", 1)
    stored(tmp_path, "b", 2, slow={POINTS[4].key: 1.08})
    compare = ["-q", "compare", "a", "b", "--store", str(tmp_path)]
    assert cli.run([*compare, "--offset", "0.3%"]) == 1
    assert cli.run([*compare, "--offset", "6%"]) == 0
    capsys.readouterr()
    assert cli.run([*compare, "--offset", "much"]) == 2
    assert "--offset" in capsys.readouterr().err


def test_sittings_of_the_same_code_and_machine_tell_how_much_points_move(tmp_path: Path) -> None:
    about = {"asked": {"plan": "aa"}, "description": {"commit": "c0ffee"}}
    others = ({"description": {"commit": "bad"}}, {"asked": {"plan": "sweep"}}, {"testbed": {"gpu": "another"}})
    for number, change in enumerate(others):
        stored(tmp_path, f"other{number}", number, **{**about, **change})
    newest = [stored(tmp_path, name, seed, **about) for seed, name in enumerate("abc")][-1]
    keys = [point.key for point in POINTS]
    found = pairing.same_before(tmp_path, newest, keys)
    assert [one.shape for one in found] == [(len(keys), 8)] * 3
    assert between_sittings(found) < 0.002
    assert pairing.same_before(tmp_path, newest, ["no@1"]) == []


def test_one_round_is_undecided_and_strict_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored(tmp_path, "a", 1, rounds=1)
    stored(tmp_path, "b", 2, rounds=1)
    fixed = ["-q", "compare", "a", "b", "--store", str(tmp_path), "--json"]
    assert cli.run(fixed) == 0
    assert {row["verdict"] for row in json.loads(capsys.readouterr().out)} == {"undecided"}
    assert cli.run([*fixed, "--strict"]) == 6


def test_a_baseline_is_set_listed_shown_and_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored(tmp_path, "a", 1)
    place = ["--store", str(tmp_path)]
    assert cli.run(["baseline", "set", "main", "a", *place]) == 0
    assert cli.run(["baseline", "list", "--json", *place]) == 0
    assert json.loads(capsys.readouterr().out)[0]["run"] == "a"
    assert cli.run(["baseline", "show", "main", *place]) == 0
    assert cli.run(["baseline", "rm", "main", *place]) == 0
    assert cli.run(["baseline", "show", "main", *place]) == 2
    assert cli.run(["check", "a", *place]) == 5


def test_a_stored_run_is_checked_against_the_baseline_and_pins_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(tmp_path, "a", 1)
    stored(tmp_path, "b", 2)
    place = ["--store", str(tmp_path), "--confirm", "0"]
    assert cli.run(["-q", "baseline", "set", "main", "a", "--store", str(tmp_path)]) == 0
    assert cli.run(["check", "b", "--update-baseline", *place]) == 0
    assert "baseline main is now run b" in capsys.readouterr().err


def test_history_shows_a_ratio_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, name in enumerate(("2026-a", "2026-b", "2026-c")):
        stored(tmp_path, name, number)
    assert cli.run(["-q", "baseline", "set", "main", "2026-a", "--store", str(tmp_path)]) == 0
    assert cli.run(["history", POINTS[0].key, "--store", str(tmp_path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["run"] for row in rows] == ["2026-a", "2026-b", "2026-c"]
    assert rows[0]["ratio"] == pytest.approx(1.0)


CODES = [
    (["slower", "invalid"], True, True, 4),
    (["slower", "undecided"], True, True, 1),
    (["same", "undecided"], True, True, 3),
    (["same", "undecided"], False, True, 6),
    (["same", "undecided"], False, False, 0),
    (["faster", "same"], False, True, 0),
    ([], False, True, 5),
    ([], True, False, 3),
]


@pytest.mark.parametrize(("verdicts", "failed", "strict", "code"), CODES)
def test_exit_codes_and_their_precedence(verdicts: list[str], failed: bool, strict: bool, code: int) -> None:
    assert ci.exit_code(verdicts, failed=failed, strict=strict) == code


def test_warn_only_never_fails_for_slower() -> None:
    assert ci.exit_code(["slower"], failed=False, strict=False, warn_only=True) == 0


def one(verdict: str, key: str = "op@1;size=1", ratio: float = 1.07) -> campaign.Judged:
    return campaign.Judged(key, verdict, ratio, ratio - 0.01, ratio + 0.01, 0.02, 24, float("nan"), 0.01)


def test_github_gets_annotations_a_summary_and_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    slower = [one("slower", f"op@1;size={i}", 1.05 + i / 100) for i in range(15)]
    ci.annotate([*slower, one("same", "op@1;size=99")], "a title")
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("::error") for line in lines) == 10
    assert "op 14" in lines[0]
    assert lines[-1].startswith("::notice")
    assert (tmp_path / "summary").read_text().startswith("## 15 slower, 1 same")
    assert (tmp_path / "output").read_text() == "slower=15\nverdict=slower\n"


def test_a_summary_stays_under_the_size_that_github_shows() -> None:
    many = [one("slower", f"op@1;name={'x' * 200};size={i}") for i in range(6000)]
    text = ci.summary(many, "title")
    assert len(text.encode()) < ci.SUMMARY_BYTES + 300
    assert "more points are in the run" in text


def test_junit_counts_each_verdict_once() -> None:
    text = ci.junit([one("slower"), one("same"), one("undecided"), one("invalid")], "a <title>")
    suite = ElementTree.fromstring(text)
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors"), suite.get("skipped")) == (
        "4",
        "1",
        "1",
        "1",
    )
    assert len(suite.findall("testcase")) == 4


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "case.txt").write_text("one")
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "one"]):
        subprocess.run(["git", "-C", str(folder), *words], check=True)
    return folder


def test_a_revision_is_checked_out_and_thrown_away(repository: Path) -> None:
    (repository / "case.txt").write_text("two")
    with campaign.revision(repository, "HEAD") as found:
        assert (Path(found["folder"]) / "case.txt").read_text() == "one"
        assert found["overlay"] == ""
    assert not Path(found["folder"]).exists()
    listed = subprocess.run(
        ["git", "-C", str(repository), "worktree", "list"], capture_output=True, text=True, check=True
    )
    assert len(listed.stdout.splitlines()) == 1


@pytest.mark.parametrize("name", ["nothing", "HEAD~5"])
def test_a_revision_that_does_not_exist_is_one_line(repository: Path, name: str) -> None:
    with pytest.raises(PlanError, match="no git revision"), campaign.revision(repository, name):
        pass


def test_no_repository_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="no git repository"), campaign.revision(tmp_path, "HEAD"):
        pass


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["ab", "HEAD", "backend=aten"], "not of one kind"),
        (["ab", "backend=aten", "backend=tritn"], "did you mean triton?"),
        (["ab", "layout=nchw,nhwc", "layout=nhwc"], "one value"),
        (["compare", "a"], "two runs"),
        (["compare", "a", "b", "--fail-on", "sometimes"], "--fail-on"),
        (["check", "--threshold", "lots"], "--threshold"),
        (["check", "--per", "inception"], "PATTERN=5%"),
        (["baseline", "sett"], "did you mean set?"),
        (["simulate", "--spread", "wide"], "--spread"),
    ],
)
def test_bad_input_of_the_gate_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], word: str
) -> None:
    monkeypatch.chdir(tmp_path)
    stored(tmp_path / "bench-runs", "a", 1)
    stored(tmp_path / "bench-runs", "b", 2)
    assert cli.run(["-q", "baseline", "set", "main", "a"]) == 0
    assert cli.run(arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert word in lines[0]
