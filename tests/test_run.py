"""A sweep loses nothing: faults cost one point, a kill costs the point in flight, and the same command goes on."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchbench import run as sweeping
from benchbench.case import Value
from benchbench.plan import Point
from benchbench.record import Record
from benchbench.run import Settings
from benchbench.store import Run, Writer, create, runs

ROOT = Path(__file__).parent.parent
FAKES = str(ROOT / "tests" / "cases" / "fake_cases.py")
FAULTS = {
    "fake_killed": "crash",
    "fake_abort": "crash",
    "fake_exit": "crash",
    "fake_endless": "timeout",
    "fake_exception": "fail",
    "fake_memory": "oom",
    "fake_skip_when_planned": "skip",
    "fake_skip_when_made": "skip",
}


def command(store: Path, *more: str) -> list[str]:
    fixed = ["sweep", "--import", FAKES, "--device", "none", "--preset", "quick-cpu", "--store", str(store), "--json"]
    return [sys.executable, "-m", "benchbench", *fixed, *more]


def bench(store: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(store, *more), capture_output=True, text=True, cwd=ROOT, check=False, timeout=240)


def records(store: Path) -> list[Record]:
    (run,) = runs(store)
    return run.read()[0]


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    store = tmp_path_factory.mktemp("faulty")
    return store, bench(store, "--op", "fake*", "--timeout", "2s")


@pytest.mark.parametrize(("case", "status"), FAULTS.items())
def test_a_fault_costs_its_own_point(
    faulty: tuple[Path, subprocess.CompletedProcess[str]], case: str, status: str
) -> None:
    found = [record for record in records(faulty[0]) if record.case == case]
    assert [(record.round, record.status) for record in sorted(found, key=lambda r: r.round)] == [
        (0, status),
        (1, status),
    ]
    assert all(record.reason for record in found)


def test_the_rest_of_the_round_is_complete(faulty: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    rest = [record for record in records(faulty[0]) if record.case not in FAULTS]
    assert {record.status for record in rest} == {"ok"}
    assert len({(record.key, record.round) for record in rest}) == 2 * (12 + 12 + 1)
    assert faulty[1].returncode == 3


def test_the_reason_of_a_fault_says_what_happened(faulty: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    reasons = {record.case: record.reason for record in records(faulty[0])}
    assert "SIGKILL" in reasons["fake_killed"]
    assert "SIGABRT" in reasons["fake_abort"]
    assert "the planted error with a second line" in reasons["fake_exception"]
    assert reasons["fake_skip_when_planned"] == "it makes no sense"
    assert reasons["fake_skip_when_made"] == "this device cannot do it"
    assert "no answer within 2 s" in reasons["fake_endless"]


def test_what_a_case_prints_is_not_mixed_with_the_document(
    faulty: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    rows = json.loads(faulty[1].stdout)
    assert {row["case"] for row in rows} >= set(FAULTS)
    assert "hello from the case" not in faulty[1].stdout


def test_each_round_is_another_process_with_another_order(
    faulty: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    found = records(faulty[0])
    order = [[record.key for record in found if record.round == number] for number in (0, 1)]
    assert sorted(order[0]) == sorted(order[1])
    assert order[0] != order[1]
    processes = [{r.process for r in found if r.round == n and r.status == "ok"} for n in (0, 1)]
    assert not processes[0] & processes[1]


def test_failed_points_are_measured_again_only_when_asked(tmp_path: Path) -> None:
    first = bench(tmp_path, "--op", "fake_exception,fake_printing")
    again = bench(tmp_path, "--op", "fake_exception,fake_printing", "--retry-failed")
    assert (first.returncode, again.returncode) == (3, 3)
    (run,) = runs(tmp_path)
    lines = (run.folder / "records.jsonl").read_text().splitlines()
    assert len(lines) == 4 + 2
    assert len(run.read()[0]) == 4


def test_a_finished_run_is_left_alone_and_an_unfinished_one_is_continued(tmp_path: Path) -> None:
    bench(tmp_path, "--op", "fake_sum")
    bench(tmp_path, "--op", "fake_sum")
    assert len(runs(tmp_path)) == 2
    newest = runs(tmp_path)[-1]
    path = newest.folder / "records.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:10]))
    bench(tmp_path, "--op", "fake_sum")
    assert len(runs(tmp_path)) == 2
    assert len(newest.read()[0]) == 24
    assert len(newest.sittings()) == 2
    assert {record.sitting for record in newest.read()[0]} == {0, 1}


def test_continuing_under_other_conditions_is_refused_naming_the_field(tmp_path: Path) -> None:
    bench(tmp_path, "--op", "fake_sum", "--rounds", "1")
    (run,) = runs(tmp_path)
    asked = json.loads((run.folder / "run.json").read_text())
    asked["testbed"]["device"] = "another machine"
    (run.folder / "run.json").write_text(json.dumps(asked))
    path = run.folder / "records.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
    refused = bench(tmp_path, "--op", "fake_sum", "--rounds", "1")
    assert refused.returncode == 2
    assert "device 'another machine', here it is 'none'" in refused.stderr
    assert len(run.read()[0]) == 3


def test_the_budget_stops_between_two_points_and_the_rest_is_measured_next_time(tmp_path: Path) -> None:
    options = ("--op", "fake_slow", "--rounds", "1", "--set", "size=1:12")
    short = bench(tmp_path, *options, "--budget", "0.05s")
    assert short.returncode == 3
    assert "the budget left" in short.stderr
    left = len(records(tmp_path))
    assert left < 12
    assert bench(tmp_path, *options).returncode == 0
    assert len(records(tmp_path)) == 12


def test_a_second_sweep_of_the_same_run_is_told_who_holds_it(tmp_path: Path) -> None:
    options = ("--op", "fake_endless", "--rounds", "1", "--timeout", "20s")
    first = subprocess.Popen(
        command(tmp_path, *options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT
    )
    try:
        _wait(lambda: runs(tmp_path) and (runs(tmp_path)[0].folder / "lock").exists() and _sittings(tmp_path))
        second = bench(tmp_path, *options)
        assert second.returncode == 4
        assert f"process {first.pid}, run {runs(tmp_path)[0].id}" in second.stderr
    finally:
        first.kill()
        first.wait()


def _sittings(store: Path) -> bool:
    return bool(runs(store)[0].sittings())


def _wait(condition: object, limit_s: float = 30.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_ctrl_c_keeps_the_results_and_prints_the_command_that_continues(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(tmp_path, "--op", "fake_slow,fake_endless", "--rounds", "1", "--timeout", "60s"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    _wait(lambda: runs(tmp_path) and len(runs(tmp_path)[0].read()[0]) > 0)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "continue with: bench sweep" in errors
    assert len(records(tmp_path)) > 0


def test_the_worker_ends_with_its_parent(tmp_path: Path) -> None:
    options = command(tmp_path, "--op", "fake_endless", "--rounds", "1", "--timeout", "60s")
    parent = subprocess.Popen(options, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    _wait(lambda: runs(tmp_path) and _sittings(tmp_path))
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    assert children
    parent.kill()
    parent.wait()
    _wait(lambda: not any(_is_running(int(child)) for child in children), limit_s=5.0)


def _is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


def _kill_at_random(store: Path, times: int, seed: int) -> Run:
    """Start the same sweep again and again, killing it (SIGKILL) each time after a random while, then let it end."""
    options = command(store, "--op", "fake_sum,fake_printing", "--rounds", "3", "--set", "size=1:20")
    dice = random.Random(seed)
    for _ in range(times):
        process = subprocess.Popen(options, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
        time.sleep(dice.uniform(0.2, 1.2))
        process.kill()
        process.wait()
    done = subprocess.run(options, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return runs(store)[0]


def _check_complete(run: Run) -> None:
    lines = [json.loads(line) for line in (run.folder / "records.jsonl").read_text().splitlines()]
    places = [(line["key"], line["round"]) for line in lines]
    assert len(places) == len(set(places)), "a point was measured twice"
    assert len(places) == 3 * 21
    assert {line["status"] for line in lines} == {"ok"}


def test_kills_lose_at_most_the_point_in_flight(tmp_path: Path) -> None:
    _check_complete(_kill_at_random(tmp_path, times=4, seed=1))
    assert len(runs(tmp_path)) == 1


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_hundred_kills_lose_at_most_the_point_in_flight(tmp_path: Path) -> None:
    """A run that a kill let finish is complete; the next start begins another, which the last start finishes."""
    _kill_at_random(tmp_path, times=100, seed=2)
    assert sum(len(run.sittings()) for run in runs(tmp_path)) > 50
    for run in runs(tmp_path):
        _check_complete(run)


class Silent:
    """A listener that has nothing to say."""

    def planned(self, **told: int) -> None:
        pass

    def began(self, point: Point, **told: int) -> None:
        pass

    def ended(self, record: Record) -> None:
        pass


def test_two_lanes_measure_each_point_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchbench import run as parent
    from benchbench.plan import Request, points
    from benchbench.registry import register_cases
    from benchbench.store import create
    from benchbench.sweeps.presets import QUICK_CPU

    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONPATH", str(ROOT) + os.pathsep + os.environ.get("PYTHONPATH", ""))
    register_cases([FAKES])
    chosen = points(Request(op=("fake_sum",)), device="none")
    settings = parent.Settings(("none", "none"), policy=QUICK_CPU.policy, imports=(FAKES,))
    run = create(tmp_path, {})
    outcome = parent.sweep(parent.rounds_of(chosen, 2), settings, open_run=lambda hello: run, listener=Silent())
    assert outcome.complete
    assert len(run.read()[0]) == 24


class Finder:
    """A worker whose memory has room for 24 images in the first round, and for fewer later."""

    alive, turn = True, None

    def __init__(self) -> None:
        self.asked: list[object] = []

    def measure(self, point: Point, *others: object) -> tuple[Record, bool]:
        batch = point.params["batch"]
        if batch == "auto":
            batch = 24 - self.asked.count("auto")
        self.asked.append(point.params["batch"])
        return Record(point.key, point.case, 1, {**point.params, "batch": batch}, "ok", samples_s=(1.0,)), False

    def stop(self) -> None:
        pass


@pytest.mark.parametrize(
    ("params", "limit_s"),
    [
        ({"backend": "aten", "batch": 128}, 60.0),
        ({"backend": "triton"}, 300.0),
        ({"batch": "auto"}, 300.0),
        ({"backend": "triton", "compile": "default"}, 900.0),
    ],
)
def test_a_point_that_compiles_first_has_longer(params: dict[str, Value], limit_s: float) -> None:
    assert sweeping._least_limit_s(Point("a", "a", 1, params)) == limit_s


def test_the_batch_that_auto_found_is_that_of_every_round_and_of_a_continued_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping._Lane, "_make_ready", lambda self, turn: None)
    points = [Point("a@1;batch=auto", "a", 1, {"batch": "auto"}), Point("b@1;batch=8", "b", 1, {"batch": 8})]

    def lane(folder: Path) -> sweeping._Lane:
        writer = Writer(create(folder, {"asked": {}}))
        made = sweeping._Lane("none", Settings(("none",)), writer, Silent(), 0, frozenset())
        made.worker = Finder()  # type: ignore[assignment]
        return made

    first = lane(tmp_path / "first")
    first.work(sweeping.rounds_of(points, 3), [], set(), time.monotonic())
    assert sorted(map(str, first.worker.asked)) == sorted(["auto", "24", "24", "8", "8", "8"])
    again = lane(tmp_path / "again")
    known = [Record("a@1;batch=auto", "a", 1, {"batch": 20}, "ok", samples_s=(1.0,))]
    again.work([sweeping.Turn(points[:1], 1)], known, set(), time.monotonic())
    assert again.worker.asked == [20]
