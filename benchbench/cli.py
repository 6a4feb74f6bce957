"""bench: parses, calls one function, prints. What a command imports, it imports when it runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from benchbench.commands import draw, exchange, gate, look, memory, pairing, paper, sweep
from benchbench.commands.terminal import Manners, say

app = typer.Typer(
    help="Throughput and memory access of depthwise convolutions and the networks built on them, measured honestly.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def options(
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress, no notes.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Every warning, in full.")] = False,
    color: Annotated[str, typer.Option("--color", help="auto, always or never.")] = "auto",
) -> None:
    """What holds for every command."""
    Manners.set(quiet=quiet, verbose=verbose, color=color)


sweep.add_to(app)
look.add_to(app)
draw.add_to(app)
paper.add_to(app)
pairing.add_to(app)
gate.add_to(app)
memory.add_to(app)
exchange.add_to(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code (docs: 0 done, 1 regression, 2 usage, 3 some failed, 4 cannot measure,
    5 nothing measured, 6 undecided, 130 interrupted)."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """The exit code of one command; every expected error is one line on stderr."""
    from benchbench.baselines import NoBaseline
    from benchbench.plan import PlanError
    from benchbench.run import CannotMeasure
    from benchbench.store import Mixed, NotFound, StoreError

    try:
        code = app(list(arguments), prog_name="bench", standalone_mode=False)
    except (PlanError, NotFound, Mixed) as error:
        return _refuse(error, 2)
    except NoBaseline as error:
        return _refuse(error, 5)
    except (CannotMeasure, StoreError) as error:
        return _refuse(error, 4)
    except ImportError as error:
        return _refuse(error, 2)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of a pipe has gone: nothing is left to say, and flushing at exit would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        # Typer's own usage errors, whatever package they come from in its version.
        if not hasattr(error, "format_message"):
            raise
        return _refuse(error, 2)
    return code if isinstance(code, int) else 0


def _refuse(error: Exception, code: int) -> int:
    text = error.format_message() if hasattr(error, "format_message") else str(error)
    if text:
        say(f"bench: {' '.join(str(text).split())}")
    return code
