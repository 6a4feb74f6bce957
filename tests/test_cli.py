"""The command line: one line for bad input, the right exit code, and documents that are nothing but documents."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchbench import cli

ROOT = Path(__file__).parent.parent
FAKES = str(ROOT / "tests" / "cases" / "fake_cases.py")


@pytest.fixture(autouse=True)
def _somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default store is ./bench-runs: no test leaves one here."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one finished run of real operators on the CPU."""
    folder = tmp_path_factory.mktemp("store")
    options = ["--op", "depthwise_conv,inception_dwconv", "--kernels", "3,5", "--shape", "8x6x6", "--mode", "forward"]
    arguments = ["-q", "sweep", *options, "--device", "cpu", "--preset", "quick-cpu", "--store", str(folder)]
    arguments += ["--precision", "fp32,bf16", "--tag", "first", "--json"]
    assert cli.run(arguments) == 0
    return folder


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line with which a command refuses."""
    code = cli.run(arguments)
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert code == 2, (code, captured)
    assert len(lines) == 1, lines
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["sweep", "--kernels", "4"], "odd"),
        (["sweep", "--kernels", "-3"], "odd"),
        (["sweep", "--kernels", "3,,5"], "empty value"),
        (["sweep", "--ratio", "0"], "(0, 1]"),
        (["sweep", "--ratio", "2"], "(0, 1]"),
        (["sweep", "--ratio", "1/0"], "fraction"),
        (["sweep", "--ratio", "abc"], "fraction"),
        (["sweep", "--batch", "0"], "positive"),
        (["sweep", "--img-size", "-224"], "positive"),
        (["sweep", "--shape", "96x56"], "CxHxW"),
        (["sweep", "--variant", "Q"], "known"),
        (["sweep", "--precision", "fp23"], "did you mean fp32?"),
        (["sweep", "--backend", "tritn"], "did you mean triton?"),
        (["sweep", "--op", "depthwise_con"], "did you mean depthwise_conv?"),
        (["sweep", "--model", "inceptoin_next_tiny*"], "did you mean inception_next_tiny?"),
        (["sweep", "--model", "inception_next_tinny", "-n"], "did you mean inception_next_tiny?"),
        (["sweep", "tabel4"], "no plan is called"),
        (["sweep", "missing.toml"], "cannot read plan"),
        (["sweep", "--set", "kernelsize=3"], "did you mean kernel_size?"),
        (["sweep", "--set", "kernel_size"], "AXIS=VALUE"),
        (["sweep", "--budget", "soon"], "10min"),
        (["sweep", "--timeout", "0s"], "90s"),
        (["sweep", "--shard", "3/2"], "i/n"),
        (["sweep", "--device", "tpu"], "expected cpu"),
        (["sweep", "--device", "cpu,cuda:0"], "several devices"),
        (["sweep", "--preset", "qick"], "did you mean quick?"),
        (["sweep", "--rounds", "0"], "--rounds"),
        (["sweep", "--import", "missing.py"], "no such file"),
        (["sweep", "--nonsense"], "nonsense"),
        (["sweep", "--op", "depthwise_conv", "--mode", "train"], "nothing is selected"),
        (["show", "latest", "--store", "empty"], "bench sweep"),
        (["list", "casess"], "did you mean cases?"),
        (["plot", "figur1"], "did you mean figure1?"),
        (["table", "9"], "1, 2, 3, 4"),
        (["table", "four"], "such as table 4"),
        (["table", "8", "--row", "VGG-16"], "LayerNorm"),
        (["--color", "sometimes", "list", "cases"], "--color"),
        (["swep"], "swep"),
    ],
)
def test_bad_input_is_one_line_that_says_what_to_do(
    capsys: pytest.CaptureFixture[str], arguments: list[str], word: str
) -> None:
    assert word in refusal(capsys, *arguments)


def test_brackets_of_an_error_are_shown_and_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    from benchbench.commands.terminal import print_rows

    print_rows([{"status": "fail: [enforce fail at alloc.cpp:127] [/red] no"}])
    assert "[enforce fail at alloc.cpp:127] [/red] no" in capsys.readouterr().out


@pytest.mark.network
def test_a_row_of_a_table_is_built_in_that_call_and_told_in_the_promised_fields(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.run(["table", "4", "--row", "ConvNeXt-A", "--row", "efficientnet_b0", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["model"] for row in rows] == ["EfficientNet-B0", "ConvNeXt-A"]
    wanted = {"model", "img_size", "params_m", "macs_g", "paper_params_m", "paper_macs_g", "top1_pct", "builds", "note"}
    wanted |= {f"{paper}{mode}_img_per_s" for paper in ("", "paper_") for mode in ("train", "infer")}
    assert all(wanted <= set(row) for row in rows)
    assert {row["builds"] for row in rows} == {True}
    assert f"{rows[1]['params_m']:.1f}" == "3.7"


def test_an_empty_list_is_refused_not_ignored(capsys: pytest.CaptureFixture[str]) -> None:
    assert "empty" in refusal(capsys, "sweep", "--kernels", "")


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'pandas', 'matplotlib', 'triton', 'timm', 'scipy'} & set(sys.modules)"
    program = f"import sys\nfrom benchbench import cli\ncli.run(['-h'])\nassert not {heavy}, {heavy}"
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - began < 5, "ten times the limit that benchmarks/spine.py prints"


def test_a_dry_run_lists_points_and_reasons_and_measures_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["sweep", "--op", "inception_dwconv", "--ratio", "1/2,1/8", "--kernels", "3", "-n", "--json"]
    assert cli.run([*arguments, "--store", str(tmp_path / "s"), "--device", "cpu"]) == 0
    rows = json.loads(capsys.readouterr().out)
    skips = {row["ratio"]: row["skip"] for row in rows if row["case"] == "inception_dwconv"}
    assert "at most 1/3" in skips["1/2"]
    assert skips["1/8"] == ""
    assert not (tmp_path / "s").exists()


def test_a_ratio_that_gives_no_channel_is_a_skip_that_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["sweep", "--op", "partial_depthwise_conv", "--ratio", "1/128", "--kernels", "3", "-n", "--json"]
    assert cli.run([*arguments, "--device", "cpu"]) == 0
    rows = [row for row in json.loads(capsys.readouterr().out) if row["case"] == "partial_depthwise_conv"]
    assert {row["skip"] for row in rows if row["shape"].startswith("96x")} == {"1/128 of 96 channels is no channel"}


def test_a_result_has_the_promised_fields_and_low_is_below_high(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["show", "latest", "--store", str(store), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    points = [row for row in rows if row["case"] in ("depthwise_conv", "inception_dwconv")]
    assert len(points) == 8
    for row in points:
        assert row["status"] == "ok", row
        assert row["rounds"] == 2
        assert row["low_s"] < row["median_s"] < row["high_s"]
        assert row["throughput_img_per_s"] == pytest.approx(2 / row["median_s"])
        assert row["backend_ran"]


def test_each_line_of_the_records_is_json_with_the_promised_fields(store: Path) -> None:
    (path,) = store.glob("*/records.jsonl")
    for line in path.read_text().splitlines():
        record = json.loads(line)
        assert set(record) >= {"key", "case", "version", "params", "status", "round", "reason", "samples_s"}
        if record["status"] == "ok":
            assert len(record["samples_s"]) >= 5


def test_every_row_is_verified_before_it_is_timed(store: Path) -> None:
    (path,) = store.glob("*/records.jsonl")
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert all(record["error"] for record in records if record["case"] != "control_empty")
    assert all(max(record["error"].values()) <= 1 for record in records if record["error"])


@pytest.mark.parametrize(
    "arguments", [["show", "latest"], ["show", "@first"], ["list", "runs"], ["report", "-o", "{}"]]
)
def test_looking_never_writes_into_the_store(store: Path, tmp_path: Path, arguments: list[str]) -> None:
    before = {p: p.stat().st_mtime_ns for p in store.rglob("*")}
    assert cli.run([*(word.format(tmp_path) for word in arguments), "--store", str(store)]) == 0
    assert {p: p.stat().st_mtime_ns for p in store.rglob("*")} == before


@pytest.mark.parametrize("what", ["cases", "models", "backends", "plans", "runs", "devices", "axes"])
def test_every_list_has_rows_in_every_format(what: str, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for form in (["--json"], ["--format", "md"], ["--format", "csv"], []):
        assert cli.run(["list", what, *form, "--store", str(store)]) == 0
        out = capsys.readouterr().out
        assert out or what == "plans"
    assert cli.run(["list", what, "--json", "--store", str(store)]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), list)


def test_a_backend_that_is_unavailable_is_listed_with_its_reason(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert cli.run(["list", "backends", "--json"]) == 0
    rows = {row["backend"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["aten"]["available"]
    assert not rows["triton"]["available"]
    assert "CUDA" in rows["triton"]["reason"]


def test_a_read_only_store_is_one_line_and_exit_code_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    arguments = ["-q", "sweep", "--import", FAKES, "--op", "fake_printing", "--device", "none"]
    assert cli.run([*arguments, "--store", str(tmp_path / "file")]) == 4
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "choose another with --store" in lines[0]


def test_nothing_measured_is_never_0(tmp_path: Path) -> None:
    arguments = ["-q", "sweep", "--import", FAKES, "--op", "fake_skip_when_made", "--device", "none"]
    assert cli.run([*arguments, "--store", str(tmp_path), "--preset", "quick-cpu"]) == 5


def test_a_users_case_is_verified_and_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example = ROOT / "examples" / "softmax_case.py"
    assert len([line for line in example.read_text().splitlines() if line.strip()]) <= 18
    arguments = ["-q", "sweep", "--import", str(example), "--op", "softmax", "--device", "cpu", "--preset", "quick-cpu"]
    assert cli.run([*arguments, "--rounds", "1", "--store", str(tmp_path), "--json"]) == 0
    rows = [row for row in json.loads(capsys.readouterr().out) if row["case"] == "softmax"]
    assert [row["status"] for row in rows] == ["ok", "ok"]


def test_a_chart_has_the_same_bytes_every_time(store: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert cli.run(["-q", "plot", "kernels", "--store", str(store), "-o", str(tmp_path / name)]) == 0
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert {Path(name).suffix for name in files} == {".png", ".svg", ".pdf", ".csv"}
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_shards_merge_into_the_whole_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fixed = [
        "--import",
        FAKES,
        "--op",
        "fake_sum",
        "--device",
        "none",
        "--preset",
        "quick-cpu",
        "--store",
        str(tmp_path),
    ]
    for part in ("1/2", "2/2"):
        assert cli.run(["-q", "sweep", *fixed, "--shard", part, "--tag", part[0]]) == 0
    assert cli.run(["merge", "@1", "@2", "-o", "whole", "--store", str(tmp_path)]) == 0
    capsys.readouterr()
    assert cli.run(["show", "whole", "--store", str(tmp_path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["rounds"] for row in rows] == [2] * 12


def test_doctor_passes_on_a_cpu_and_says_what_it_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["doctor", "--device", "cpu"]) == 0
    assert "CPU only: figures are for trying the tool" in capsys.readouterr().out
    assert cli.run(["doctor", "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "PASS"


def test_env_describes_this_machine_without_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    import getpass
    import platform

    assert cli.run(["env", "--device", "cpu", "--json"]) == 0
    text = capsys.readouterr().out
    assert json.loads(text)["torch"]
    for secret in (platform.node(), str(Path.home()), str(ROOT)):
        assert secret not in text
    assert f'"{getpass.getuser()}"' not in text
