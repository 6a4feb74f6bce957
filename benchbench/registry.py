"""Which cases does this process know? The shipped ones, those of installed packages, and files of the user's."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path


def register_cases(imports: Sequence[str]) -> None:
    """Import the shipped cases, those of installed packages (entry points ``benchbench.cases``), and files or modules.

    Raises ImportError, with one line, for a file or module that cannot be imported.
    """
    from importlib.metadata import entry_points

    import benchbench.sweeps  # noqa: F401

    for entry in entry_points(group="benchbench.cases"):
        entry.load()
    for name in imports:
        try:
            _import(name)
        except Exception as error:
            raise ImportError(f"--import {name}: {type(error).__name__}: {error}") from error


def _import(name: str) -> None:
    path = Path(name)
    if not name.endswith(".py"):
        importlib.import_module(name)
        return
    if not path.is_file():
        raise FileNotFoundError("there is no such file")
    module_name = f"benchbench_import_{path.stem}_{zlib.crc32(str(path.resolve()).encode()):08x}"
    if module_name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise ImportError("it is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise
