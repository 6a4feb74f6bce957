"""What is on disk survives: torn lines, corrupt lines, full disks, locks."""

import errno
import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchbench import store
from benchbench.record import Record, SchemaError, from_line, to_line


def record(number: int = 0, *, round_number: int = 0, status: str = "ok") -> Record:
    return Record(
        f"case@1;size={number}", "case", 1, {"size": number}, status, round=round_number, samples_s=(0.1, 0.2)
    )


@pytest.fixture
def run(tmp_path: Path) -> store.Run:
    return store.create(tmp_path, {"asked": {"what": 1}, "testbed": {"gpu": "H200"}})


def write(run: store.Run, *records: Record) -> None:
    writer = store.Writer(run)
    for one in records:
        writer.append(one)
    writer.close()


def test_a_record_comes_back_as_it_was() -> None:
    full = Record(
        "case@1;ratio=1/8", "case", 1, {"ratio": "1/8"}, "ok", samples_s=(1 / 3, 2e-9), error={"y": 0.25},
        kernels=("k",), machine_state={"sm_mhz": 1980}, work={"bytes_read": 1}, energy_j=0.5,
    )  # fmt: skip
    assert from_line(to_line(full)) == full


@pytest.mark.parametrize(
    "line", ["", "{", "[]", "{}", '{"key":"a","status":"ok"}', '{"key":"a","status":"good","schema":1}', '{"schema":1}']
)
def test_a_line_that_is_no_record_is_refused(line: str) -> None:
    with pytest.raises(SchemaError):
        from_line(line)


def test_an_infinity_is_never_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_line(Record("k", "c", 1, {}, "ok", samples_s=(float("inf"),)))


def test_a_torn_last_line_is_measured_again(run: store.Run) -> None:
    write(run, record(1), record(2))
    path = run.folder / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    kept, damage = run.read()
    assert [r.params["size"] for r in kept] == [1]
    assert [(d.line, d.torn) for d in damage] == [(2, True)]
    write(run, record(2), record(3))
    kept, damage = run.read()
    assert [r.params["size"] for r in kept] == [1, 2, 3]
    assert damage == []


def test_a_last_line_that_lacks_only_its_newline_is_torn_too(run: store.Run) -> None:
    write(run, record(1))
    path = run.folder / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    assert run.read()[0] == []
    write(run, record(1))
    assert len(run.read()[0]) == 1


def test_a_corrupt_line_in_the_middle_is_named_and_the_rest_is_read(run: store.Run) -> None:
    write(run, record(1), record(2), record(3))
    path = run.folder / "records.jsonl"
    lines = path.read_bytes().split(b"\n")
    lines[1] = b'{"key": \xff\xfe'
    path.write_bytes(b"\n".join(lines))
    kept, damage = run.read()
    assert [r.params["size"] for r in kept] == [1, 3]
    assert [(d.line, d.torn) for d in damage] == [(2, False)]


def test_reading_never_writes(run: store.Run) -> None:
    write(run, record(1))
    path = run.folder / "records.jsonl"
    path.write_bytes(path.read_bytes() + b'{"torn')
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in run.folder.iterdir()}
    run.read()
    run.asked()
    run.sittings()
    store.find(run.folder.parent, "latest")
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in run.folder.iterdir()} == before


def test_packed_records_are_read_and_not_appended_to(run: store.Run) -> None:
    write(run, record(1))
    path = run.folder / "records.jsonl"
    (run.folder / "records.jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert len(run.read()[0]) == 1
    with pytest.raises(store.StoreError, match="packed"):
        store.Writer(run)


def test_the_last_record_of_a_key_and_round_counts(run: store.Run) -> None:
    write(run, record(1, status="fail"), record(1, round_number=1), record(1))
    kept, _ = run.read()
    assert {(r.round, r.status) for r in kept} == {(0, "ok"), (1, "ok")}


def test_a_full_disk_keeps_what_was_written(run: store.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = store.Writer(run)
    writer.append(record(1))
    whole = os.write

    def half(handle: int, data: bytes) -> int:
        return whole(handle, data[: len(data) // 2])

    monkeypatch.setattr(store.os, "write", half)
    with pytest.raises(store.StoreError, match="what was measured is safe") as caught:
        writer.append(record(2))
    assert os.strerror(errno.ENOSPC) in str(caught.value)
    monkeypatch.undo()
    assert run.read() == ([record(1)], [])


def test_a_store_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(store.StoreError, match="choose another with --store"):
        store.create(tmp_path / "file" / "store", {})


def test_a_second_holder_of_a_lock_is_told_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = f"process {os.getpid()}, run one"
    with store.lock(path, "run one"), pytest.raises(store.Locked, match=holder), store.lock(path, "run two"):
        pass
    with store.lock(path, "run three"):
        assert "run three" in path.read_text()


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from benchbench.store import lock\n"
        f"with lock(Path({str(tmp_path / 'lock')!r}), 'the dead'): os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    with store.lock(tmp_path / "lock", "the living"):
        pass


def test_runs_are_found_by_prefix_latest_tag_and_path(tmp_path: Path) -> None:
    first = store.create(tmp_path, {"tag": "old"}, name="20260101-000000-aaaa")
    second = store.create(tmp_path, {"tag": "new"}, name="20260102-000000-bbbb")
    assert store.find(tmp_path, "20260101").id == first.id
    assert store.find(tmp_path, "latest").id == second.id
    assert store.find(tmp_path, "latest~1").id == first.id
    assert store.find(tmp_path, "@old").id == first.id
    assert store.find(tmp_path / "elsewhere", str(second.folder)).id == second.id


@pytest.mark.parametrize("word", ["20260", "latest~9", "latestx", "@none", "nothing", "20260101-000000-aaab"])
def test_a_word_that_means_no_run_is_refused(tmp_path: Path, word: str) -> None:
    store.create(tmp_path, {}, name="20260101-000000-aaaa")
    store.create(tmp_path, {}, name="20260102-000000-bbbb")
    with pytest.raises(store.NotFound):
        store.find(tmp_path, word)


def test_an_empty_store_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(store.NotFound, match="bench sweep"):
        store.find(tmp_path, "latest")


def test_continuing_on_another_machine_is_refused_naming_the_field(run: store.Run) -> None:
    store.refuse_other_conditions(run, {"gpu": "H200"})
    with pytest.raises(store.Mixed, match="gpu 'H200', here it is 'B200'"):
        store.refuse_other_conditions(run, {"gpu": "B200"})
    with pytest.raises(store.Mixed, match="torch"):
        store.refuse_other_conditions(run, {"gpu": "H200", "torch": "2.15"})


def test_merging_keeps_every_record_and_refuses_other_testbeds(tmp_path: Path) -> None:
    asked = {"asked": {"what": 1}, "testbed": {"gpu": "H200"}}
    parts = [store.create(tmp_path, asked, name=name) for name in ("one", "two")]
    write(parts[0], record(1), record(2))
    write(parts[1], record(3))
    assert {r.params["size"] for r in store.merge(tmp_path, parts, name="whole").read()[0]} == {1, 2, 3}
    other = store.create(tmp_path, {**asked, "testbed": {"gpu": "B200"}}, name="other")
    with pytest.raises(store.Mixed):
        store.merge(tmp_path, [parts[0], other])
