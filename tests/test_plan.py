"""Points, keys, selection and values."""

from pathlib import Path

import pytest

from benchbench import work
from benchbench.case import Axis, Case, Skip, Workload, odd_size, positive_integer, ratio
from benchbench.plan import PlanError, Request, from_toml, parse_values, points, shard

LEAST = work.Work(1, 1, 1, 1)


def _workload() -> Workload:
    return Workload(make=lambda device: None, call=lambda state: None, work=LEAST)


def _function(**params: object) -> Workload:
    if params.get("kernel_size") == 11 and params.get("layout") == "nhwc":
        raise Skip("eleven is too wide for nhwc")
    return _workload()


KERNELS = Axis("kernel_size", (3, 5), flag="--kernels", parse=odd_size)
RATIO = Axis("ratio", ("1/8",), flag="--ratio", parse=ratio)
LAYOUT = Axis("layout", ("best",), flag="--layout", choices=("nchw", "nhwc", "best"))
MODEL = Axis("model", ("resnet50", "swin_tiny"), flag="--model")
MODE_OF_NETWORKS = Axis("mode", ("infer",), choices=("infer", "train"))
MODE_OF_OPERATORS = Axis("mode", ("forward",), choices=("forward", "backward"))
PRECISION = Axis("precision", ("amp",), choices=("fp32", "amp", "amp-fp16", "amp-bf16"))

DEPTHWISE = Case("depthwise", (KERNELS, LAYOUT, MODE_OF_OPERATORS), _function)
PARTIAL = Case("partial", (KERNELS, RATIO), _function, version=2)
ANCHOR = Case("anchor", (MODEL, MODE_OF_NETWORKS, PRECISION), _function, kind="network")
CONTROL = Case("control_copy", (), _function, kind="control")
CASES = (DEPTHWISE, PARTIAL, ANCHOR, CONTROL)


def keys(request: Request = Request(), **options: object) -> list[str]:  # noqa: B008 (frozen)
    return [point.key for point in points(request, cases=options.pop("cases", CASES), **options)]  # type: ignore[arg-type]


def test_a_key_names_case_version_and_sorted_axes() -> None:
    assert keys(Request(op=("partial",)))[1] == "partial@2;kernel_size=3;ratio=1/8"


def test_a_named_axis_replaces_values_where_the_case_has_it_and_is_ignored_elsewhere() -> None:
    found = keys(Request(axes={"ratio": ("1/4", "1/16")}), cases=(DEPTHWISE, PARTIAL))
    assert [key for key in found if "partial" in key and "kernel_size=3" in key] == [
        "partial@2;kernel_size=3;ratio=1/4",
        "partial@2;kernel_size=3;ratio=1/16",
    ]
    assert sum("depthwise" in key for key in found) == 4


def test_a_case_with_none_of_the_named_axes_takes_part_once() -> None:
    found = keys(Request(axes={"kernel_size": (3, 5, 7)}))
    assert found.count("control_copy@1") == 1
    assert sum(key.startswith("anchor") for key in found) == 2


def test_op_alone_leaves_out_networks_and_model_alone_leaves_out_operators() -> None:
    assert {key.split("@")[0] for key in keys(Request(op=("dep*",)))} == {"control_copy", "depthwise"}
    assert {key.split("@")[0] for key in keys(Request(model=("resnet*",)))} == {"control_copy", "anchor"}
    assert {key.split("@")[0] for key in keys(Request(op=("partial",), model=("resnet*",)))} == {
        "control_copy",
        "partial",
        "anchor",
    }


def test_a_value_of_another_cases_axis_leaves_a_case_out() -> None:
    found = keys(Request(axes={"mode": ("train",)}))
    assert not any(key.startswith("depthwise") for key in found)
    assert sum("mode=train" in key for key in found) == 2


def test_best_is_both_layouts_and_amp_is_what_the_device_has() -> None:
    assert sum("layout=nhwc" in key for key in keys(Request(op=("depthwise",)))) == 2
    assert any("precision=amp-bf16" in key for key in keys(device="cpu"))
    assert any("precision=amp-fp16" in key for key in keys(device="cuda:0"))


def test_a_combination_without_sense_is_a_point_that_says_why() -> None:
    found = points(Request(op=("depthwise",), axes={"kernel_size": (11,)}), cases=CASES)
    assert [point.skip for point in found] == ["", "", "eleven is too wide for nhwc"]


def test_op_may_name_a_case_of_networks_which_then_stands_for_all_of_them() -> None:
    other = Case("other", (MODEL,), _function, kind="network")
    cases = (*CASES, other)
    named = keys(Request(op=("anchor",), model=("resnet50",)), cases=cases)
    assert [key.split("@")[0] for key in named] == ["control_copy", "anchor"]
    with_operator = keys(Request(op=("partial", "anchor")), cases=cases)
    assert {key.split("@")[0] for key in with_operator} == {"control_copy", "partial", "anchor"}
    assert not any(key.startswith("anchor") for key in keys(Request(op=("*",)), cases=cases))


def test_a_model_that_no_case_lists_is_measured_where_an_axis_is_open() -> None:
    assert any("model=vgg11" in key for key in keys(Request(model=("vgg11",))))


@pytest.mark.parametrize(
    ("request_", "word"),
    [
        (Request(op=("depthwize",)), "did you mean depthwise?"),
        (Request(model=("resnet5*0x",)), "did you mean resnet50?"),
        (Request(axes={"kernelsize": (3,)}), "did you mean kernel_size?"),
        (Request(axes={"mode": ("trian",)}), "did you mean train?"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(request_: Request, word: str) -> None:
    with pytest.raises(PlanError, match=word.replace("?", r"\?")):
        points(request_, cases=CASES)


@pytest.mark.parametrize("text", ["4", "-3", "", "3,,5", "0", "abc", "3:", "5:3", "3:11:0", "3.0"])
def test_a_kernel_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(PlanError, match="--kernels"):
        parse_values(KERNELS, text)


@pytest.mark.parametrize("text", ["0", "2", "1/0", "abc", "-1/8", "nan", ""])
def test_a_ratio_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(PlanError, match="--ratio"):
        parse_values(RATIO, text)


def test_equal_ratios_are_one_value() -> None:
    assert parse_values(RATIO, "1/8,0.125,2/16") == ("1/8",)


def test_a_range_is_inclusive() -> None:
    assert parse_values(KERNELS, "3:11:2") == (3, 5, 7, 9, 11)
    assert parse_values(Axis("batch", (1,), parse=positive_integer), "2:4") == (2, 3, 4)


def test_shards_are_disjoint_and_complete_whatever_the_order() -> None:
    chosen = points(Request(), cases=CASES)
    parts = [shard(chosen, f"{i}/3", controls=frozenset(("control_copy",))) for i in (1, 2, 3)]
    backwards = [shard(chosen[::-1], f"{i}/3", controls=frozenset(("control_copy",))) for i in (1, 2, 3)]
    for part, other in zip(parts, backwards, strict=True):
        assert {p.key for p in part} == {p.key for p in other}
    plain = [p.key for part in parts for p in part if p.case != "control_copy"]
    assert sorted(plain) == sorted(p.key for p in chosen if p.case != "control_copy")
    assert all(any(p.case == "control_copy" for p in part) for part in parts)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(PlanError, match="--shard"):
        shard([], text)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("ops = ['a']", "did you mean op"),
        ("rounds = 0", "rounds"),
        ("op = 3", "op must be"),
        ("[axes]\nkernels = [3]", "no case has an axis 'kernels'"),
        ("[axes]\nkernel_size = [4]", "odd"),
        ("op = [", "no TOML"),
    ],
)
def test_a_wrong_plan_file_is_refused_in_one_line(tmp_path: Path, text: str, word: str) -> None:
    import benchbench.sweeps  # noqa: F401

    path = tmp_path / "plan.toml"
    path.write_text(text)
    with pytest.raises(PlanError, match=word) as caught:
        from_toml(path)
    assert "\n" not in str(caught.value)


def test_a_plan_file_may_hold_several_sweeps(tmp_path: Path) -> None:
    import benchbench.sweeps  # noqa: F401

    path = tmp_path / "mine.toml"
    path.write_text(
        'rounds = 4\n[[sweep]]\nop = "depthwise_conv"\n[sweep.axes]\nkernel_size = [3, 7]\n'
        '[[sweep]]\nmodel = "resnet50"\n'
    )
    plan = from_toml(path)
    assert (plan.name, plan.rounds, len(plan.requests)) == ("mine", 4, 2)
    assert plan.requests[0].axes == {"kernel_size": (3, 7)}
