"""The committed baseline: what it keeps, which rows stand, and when it is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

from benchbench.access import baseline, origin, shipped, static
from benchbench.access.baseline import Item
from benchbench.access.shipped import Spec

SPEC = Spec("inception_dwconv", "forward", "fp32", "nchw", "96x56x56")
KEY = "resources inception_dwconv forward fp32 nchw 96x56x56 sm_90"


def row(**changes: Any) -> dict[str, Any]:
    counted = {"kernel": "forward_kernel", "registers": 64, "spill_bytes": 0, "local_accesses": 0, "occupancy": 0.25}
    shape = {"layout": "nchw", "direction": "forward", "dtype": "fp32", "shape": "96x56x56", "arch": "sm_90"}
    widths = {"identity_widths": [16], "store_widths": [16], "widest_bytes": 16, "wide_load_share": 0.9}
    rest = {"bytes_in_flight": 65536, "instructions_over_parts": 1.0, "instructions_per_output": 7.0}
    accesses = [["load", "x", 16, 4, "k.py:3", "tl.load(x)"], ["load", "x", 16, 2, "k.py:9", "tl.load(x)"]]
    return counted | shape | widths | rest | {"mix": {"FFMA": 1}, "accesses": accesses, "spilled_at": []} | changes


def standing(**changes: Any) -> dict[str, Any]:
    return row(made_from=Item("resources", SPEC).made_from, **changes)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys that are made again; nothing is compiled."""
    keys: list[str] = []

    def collect(items: Any, **_: Any) -> dict[str, Any]:
        keys.extend(item.key for item in items)
        return {item.key: row(made_from=item.made_from) for item in items}

    monkeypatch.setattr(baseline, "collect", collect)
    return keys


def stored(folder: Path, rows: dict[str, Any]) -> Path:
    baseline.write(rows, folder / "triton-0.0.json")
    return folder / "triton-0.0.json"


NARROW = ("resources", "inception_dwconv", "forward", "nchw", "fp32", "sm_90", "96x56x56")


def test_a_row_whose_source_stands_is_taken_and_held_to_the_thresholds(tmp_path: Path, made: list[str]) -> None:
    found = static.check_static(NARROW, file=stored(tmp_path, {KEY: standing()}))
    assert (made, found.made, found.kept, found.changed, found.findings) == ([], 0, 1, 0, [])
    found = static.check_static(NARROW, file=stored(tmp_path, {KEY: standing(spill_bytes=8, spilled_at=["k.py:3"])}))
    assert [(f.what, f.place) for f in found.failed] == [("spills, in bytes", "k.py:3")]


def test_a_row_of_other_sources_is_made_again_and_compared(tmp_path: Path, made: list[str]) -> None:
    other = Item("resources", Spec(**{**{n: getattr(SPEC, n) for n in SPEC.__slots__}, "dtype": "fp16"}))
    rows = {KEY: row(made_from="an older source", registers=60), other.key: row(made_from=other.made_from)}
    found = static.check_static(NARROW, file=stored(tmp_path, rows))
    assert (made, found.made, found.kept, found.changed) == ([KEY], 1, 0, 1)
    assert [(f.what, f.before, f.now) for f in found.failed] == [("more registers", 60, 64)]


def test_a_row_that_the_baseline_lacks_fails(tmp_path: Path, made: list[str]) -> None:
    other = Item("resources", Spec("inception_dwconv", "forward", "fp16", "nchw", "96x56x56"))
    found = static.check_static(NARROW, file=stored(tmp_path, {other.key: row(made_from=other.made_from)}))
    assert made == [KEY]
    assert [(f.key, f.what) for f in found.failed] == [(KEY, "has no row in the baseline")]


def test_all_makes_every_row_again(tmp_path: Path, made: list[str]) -> None:
    found = static.check_static(NARROW, whole=True, file=stored(tmp_path, {KEY: standing()}))
    assert (made, found.changed, found.kept) == ([KEY], 0, 0)


def test_a_stale_baseline_is_refused(tmp_path: Path, made: list[str]) -> None:
    with pytest.raises(ValueError, match=r"^triton-0\.0\.json is stale: none of its 1 rows is of the present sources"):
        static.check_static(NARROW, file=stored(tmp_path, {KEY: row(made_from="an older source")}))
    gone = {KEY: standing(), KEY.replace("fp32", "fp8"): standing()}
    with pytest.raises(ValueError, match=r"stale: 1 of its rows are of nothing that is gated \(resources .*fp8"):
        static.check_static(NARROW, file=stored(tmp_path, gone))
    assert made == []


@pytest.mark.parametrize("text", ["", "[1, 2]", '{"resources a": 3}', '{"resources a": {}}'])
def test_what_is_no_baseline_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "triton-0.0.json").write_text(text)
    with pytest.raises(ValueError, match=r"is no baseline: write it anew") as refused:
        static.check_static(NARROW, file=tmp_path / "triton-0.0.json")
    assert "\n" not in str(refused.value)


def test_a_triton_without_a_baseline_holds_a_sample_to_the_thresholds(tmp_path: Path, made: list[str]) -> None:
    found = static.check_static(file=tmp_path / "none.json")
    assert (found.baseline, found.kept, found.made) == ("", 0, len(made))
    assert found.findings == []
    assert made == [item.key for item in baseline.gated() if item.is_sampled]


def test_every_kernel_and_architecture_is_sampled() -> None:
    every = baseline.gated()
    sampled = [item for item in every if item.is_sampled]
    for kind in ("resources", "traffic"):
        kernels = {(i.spec.op, i.spec.layout, i.spec.direction) for i in every if i.kind == kind}
        assert {(i.spec.op, i.spec.layout, i.spec.direction) for i in sampled if i.kind == kind} == kernels
    assert {item.spec.arch for item in sampled} == {"sm_80", "sm_90", "sm_100", "sm_120"}
    assert len(sampled) < len(every) / 10


def test_a_baseline_keeps_statements_without_their_lines(tmp_path: Path) -> None:
    file = stored(tmp_path, {"resources a": standing(), "traffic a": {"kernel": "k", "requested_bytes": 8}})
    found = json.loads(file.read_text())
    assert found["resources a"]["access_counts"] == [["load", "x", 16, "tl.load(x)", 6]]
    assert not {"mix", "accesses", "spilled_at"} & set(found["resources a"])
    assert baseline.kept(found["resources a"]) == found["resources a"]
    assert len(file.read_text().splitlines()) == 4


def test_the_gate_has_every_stage_on_sm_90_and_two_on_the_others() -> None:
    specs = baseline.gated_specs(["inception_dwconv"])
    per = {arch: {s.shape for s in specs if s.arch == arch} for arch in ("sm_80", "sm_90", "sm_100", "sm_120")}
    assert {arch: len(shapes) for arch, shapes in per.items()} == {"sm_80": 2, "sm_90": 8, "sm_100": 2, "sm_120": 2}
    assert all(spec.arch == "sm_90" for spec in baseline.traced_specs(specs))


def test_words_narrow_the_gate_down_kind_by_kind() -> None:
    narrow = baseline.gated(["resources", "fp32", "fp16", "nchw", "sm_90", "96x56x56", "inception_dwconv"])
    assert {(i.spec.dtype, i.spec.layout, i.spec.arch, i.spec.shape) for i in narrow} == {
        ("fp32", "nchw", "sm_90", "96x56x56"),
        ("fp16", "nchw", "sm_90", "96x56x56"),
    }
    assert len(baseline.gated(whole=True)) > len(baseline.gated())


def test_a_word_that_nothing_gated_has_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert static.main(["write", "nhcw"]) == 2
    assert capsys.readouterr().err.startswith("nothing is gated that matches nhcw: words are such as resources ")
    with pytest.raises(ValueError, match="nothing is gated that matches traffic 1024x7x7"):
        baseline.gated(["traffic", "1024x7x7"])


def test_an_operation_without_kernels_is_refused() -> None:
    with pytest.raises(ValueError, match="no kernels of 'softmax' are shipped: there are inception_dwconv"):
        baseline.gated_specs(["softmax"])


def test_a_row_is_of_other_sources_when_its_launch_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled, traced = origin.compiled_from(SPEC), origin.traced_from(SPEC)
    assert origin.compiled_from(Spec(**{**{n: getattr(SPEC, n) for n in SPEC.__slots__}, "arch": "sm_80"})) != compiled
    found = shipped.adapter(SPEC.op)
    for change in (
        {"constants": {"S": 99}},
        {"grid": (1,)},
        {"options": {"num_warps": 8}},
        {"signature": {"x": "*fp64"}},
    ):
        with monkeypatch.context() as patch:

            def changed(spec: Spec, batch: int, change: dict[str, Any] = change) -> list[shipped.Variant]:
                fields = shipped.Variant.__dataclass_fields__
                return [
                    shipped.Variant(**{name: change.get(name, getattr(one, name)) for name in fields})
                    for one in found.variants(spec, batch)
                ]

            copy = shipped.Adapter(
                **{n: getattr(found, n) for n in shipped.Adapter.__dataclass_fields__} | {"variants": changed}
            )
            patch.setitem(shipped.ADAPTERS, SPEC.op, copy)
            assert origin.compiled_from(SPEC) != compiled
            assert origin.traced_from(SPEC) != traced
    assert (origin.compiled_from(SPEC), origin.traced_from(SPEC)) == (compiled, traced)
