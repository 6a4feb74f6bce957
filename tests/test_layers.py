"""Who may import whom: the table of the architecture, enforced."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "benchbench"
OURS = "benchbench"

# What a room may import of ours, anywhere in its files; * is everything. A new module gets its line here.
TABLE = {
    "work": (),
    "network_work": ("work",),
    "memory": (),
    "fault": (),
    "units": (),
    "series": (),
    "case": ("work",),
    "plan": ("case", "work"),
    "record": ("case", "work"),
    "store": ("case", "record"),
    "device": ("plan",),
    "stats": ("record", "series"),
    "timer": ("clocks", "series"),
    "clocks": (),
    "verify": ("case", "poison", "state", "switches"),
    "poison": (),
    "state": (),
    "switches": (),
    "nvml": (),
    "dispatch": (),
    "monitor": ("machine", "nvml"),
    "energy": ("nvml",),
    "machine": ("dispatch", "doctor", "host", "monitor", "nvml", "switches"),
    "doctor": ("host", "machine", "nvml"),
    "host": (),
    "published": (),
    "kernels": ("kernels",),
    "models": ("kernels", "models", "case"),
    "sweeps": ("case", "work", "plan", "published", "sweeps", "kernels", "models", "machine", "switches", "verify"),
    "worker": (
        "registry",
        "fault",
        "memory",
        "case",
        "plan",
        "record",
        "work",
        "sweeps",
        "timer",
        "verify",
        "machine",
        "stats",
        "energy",
        "nvml",
    ),
    "once": ("access", "case", "memory", "record", "registry", "store", "switches"),
    "child": ("plan", "record"),
    "run": ("case", "child", "plan", "record", "store"),
    "registry": ("sweeps",),
    "access": ("work", "network_work", "kernels", "access"),
    "gate": ("series", "stats", "gate"),
    "campaign": ("run", "store", "plan", "gate", "record", "stats"),
    "baselines": ("store",),
    "exchange": ("record", "stats", "exchange"),
    "reports": ("stats", "series", "units", "published", "reports"),
    "commands": ("*",),
    "cli": ("*",),
    "__main__": ("cli",),
    "__init__": ("case", "work", "models"),
}

# Rooms that only their own lazy functions may fill with heavy packages; the value is what may be imported at the top.
HEAVY = ("torch", "triton", "timm", "torchvision", "pandas", "matplotlib", "scipy", "numpy", "pynvml", "rich", "typer")
AT_THE_TOP = {
    "series": ("numpy",),
    "stats": ("numpy",),
    "kernels": ("torch", "triton"),
    "models": ("torch", "timm"),
    "access": ("numpy", "torch", "triton"),
    "gate": ("numpy", "scipy"),
    "campaign": ("numpy",),
    "reports": ("numpy", "pandas", "matplotlib"),
    "exchange": ("pandas",),
    "commands": ("typer",),
    "cli": ("typer",),
    "poison": ("torch",),
    "state": ("torch",),
}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def files() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py"))


def imports(path: Path, *, top_only: bool) -> set[str]:
    """Dotted names that a file imports; ``if TYPE_CHECKING`` counts as nothing."""
    tree = ast.parse(path.read_text())
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if top_only and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return found


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_the_rooms_of_its_line(path: Path) -> None:
    room = room_of(path)
    assert room in TABLE, f"{path} has no line in the table: add one"
    allowed = TABLE[room]
    for name in imports(path, top_only=False):
        parts = name.split(".")
        if parts[0] != OURS or len(parts) == 1 or "*" in allowed:
            continue
        other = parts[1]
        if (PACKAGE / other).exists() or (PACKAGE / f"{other}.py").exists():
            assert other in (*allowed, room), f"{path.name} imports {name}; its room may import {allowed}"


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_packages_are_imported_inside_functions(path: Path) -> None:
    allowed = AT_THE_TOP.get(room_of(path), ())
    heavy = {name.split(".")[0] for name in imports(path, top_only=True)} & set(HEAVY)
    assert heavy <= set(allowed), f"{path.name} imports {heavy - set(allowed)} at its top"


def test_planning_and_the_parent_of_a_sweep_never_import_torch() -> None:
    modules = ["case", "work", "plan", "record", "store", "run", "units", "device", "worker", "cli"]
    modules += [f"sweeps.{path.stem}" for path in (PACKAGE / "sweeps").glob("*.py") if path.stem != "__init__"]
    blocked = ("torch", "triton", "timm", "torchvision", "pandas", "matplotlib", "scipy")
    program = f"import sys\nfor name in {blocked!r}:\n    sys.modules[name] = None\n"
    program += "".join(f"import benchbench.{name}\n" for name in modules)
    program += "from benchbench.plan import Request, points\nassert points(Request(), device='cpu')\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
