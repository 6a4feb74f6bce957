"""What the README says is run, so that it cannot drift."""

import re
import shlex
from pathlib import Path

import pytest

from benchbench import cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = [line.partition("#")[0].strip() for line in README.splitlines() if line.startswith("bench ")]

# What needs minutes is asked for its options, and a sweep as a dry run.
TOO_LONG = [
    c for c in COMMANDS if {"--static", "--measure"} & set(c.split()) or c.split()[1] in ("ab", "simulate", "check")
]


def prepared(command: str) -> list[str]:
    """The words of a command, shortened where it would measure for minutes."""
    words = shlex.split(command)[1:]
    if words[0] == "sweep" and "-n" not in words:
        words.append("-n")
    return words


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one small run of networks and operators, and the examples beside it."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "examples").symlink_to(ROOT / "examples")
    arguments = ["-q", "sweep", "--op", "depthwise_conv", "--kernels", "7,11"]
    arguments += ["--model", "inception_next_tiny,convnext_tiny"]
    arguments += ["--device", "cpu", "--preset", "cpu", "--rounds", "1", "--shape", "8x4x4", "--mode", "infer,forward"]
    assert cli.run([*arguments, "--img-size", "32", "--store", str(folder / "bench-runs"), "--json"]) == 0
    return folder


def test_the_readme_has_commands() -> None:
    assert len(COMMANDS) >= 14


@pytest.mark.network
@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in TOO_LONG])
def test_a_command_of_the_readme_runs(command: str, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    assert cli.run(prepared(command)) == 0


@pytest.mark.parametrize("command", TOO_LONG)
def test_a_longer_command_of_the_readme_has_these_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(command)[1:]
    assert cli.run([words[0], "-h"]) == 0
    text = capsys.readouterr().out
    assert all(word in text for word in words if word.startswith("--"))


def test_the_first_tree_is_in_the_promised_order() -> None:
    tree = re.search(r"```\n(benchbench/.*?)```", README, re.DOTALL)
    assert tree is not None
    names = [line.split()[0] for line in tree[1].splitlines()]
    assert names == ["benchbench/", "kernels/", "sweeps/", "reports/", "cli.py", "pyproject.toml", "README.md"]
    inside = {"kernels/", "sweeps/", "reports/", "cli.py"}
    assert all(((ROOT / "benchbench" if name in inside else ROOT) / name).exists() for name in names)


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_a_link_of_the_readme_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


def test_the_python_of_the_readme_runs_on_a_network() -> None:
    """Without a GPU there is no .cuda(): the lines are run as they are but for that word."""
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in code.splitlines() if line]) == 4
    exec(compile(code.replace(".cuda()", ""), "README.md", "exec"), {})


def test_the_figure_of_the_readme_is_drawn_from_the_committed_run(tmp_path: Path) -> None:
    store = ROOT / "results" / "cpu-2026-11-21"
    arguments = ["-q", "plot", "figure1", "--store", str(store), "-o", str(tmp_path), "--format", "png,svg"]
    assert cli.run(arguments) == 0
    assert (tmp_path / "figure1.csv").read_bytes() == (ROOT / "docs" / "figure1.csv").read_bytes()
