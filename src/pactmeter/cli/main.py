"""``pactmeter``: find the command, run it, turn errors into messages and exit codes."""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import io
import os
import sys
from typing import TYPE_CHECKING, NoReturn, Protocol

from pactmeter import __version__
from pactmeter.errors import PactError
from pactmeter.session.run import say

if TYPE_CHECKING:
    from collections.abc import Sequence


_ALLOCATIONS = 200_000
"""Between two collections of garbage: rows of tables are none, and looking through them took a
third of the time of a day's report."""


class Command(Protocol):
    """A command: a module with a name, a help line, its arguments and what it does."""

    NAME: str
    HELP: str

    def prepare(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it; return the exit code."""


COMMANDS = (
    "run",
    "report",
    "top",
    "plot",
    "export",
    "audit",
    "sensors",
    "events",
    "doctor",
    "setup",
    "record",
    "probe",
    "baseline",
    "sync",
    "compare",
    "ab",
    "validate",
    "study",
    "curve",
    "model",
    "bench",
)


class _Paragraphs(argparse.HelpFormatter):
    """Keeps the paragraphs of a description apart."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        filled = (super(_Paragraphs, self)._fill_text(p, width, indent) for p in text.split("\n\n"))
        return "\n\n".join(filled)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"pactmeter: {message}\n  fix: {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code (0 fine, 1 error, 2 usage)."""
    gc.set_threshold(_ALLOCATIONS)
    words = list(sys.argv[1:] if argv is None else argv)
    parser = _Parser(prog="pactmeter", description="How many joules, where, and how sure.")
    parser.add_argument("--version", action="version", version=f"pactmeter {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    wanted = next((word for word in words if not word.startswith("-")), None)
    for name in COMMANDS:
        module = _command(name)
        sub = commands.add_parser(
            name, help=module.HELP, description=module.__doc__, formatter_class=_Paragraphs
        )
        if wanted in {name, None}:
            module.prepare(sub)
    args = parser.parse_args(words)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name may hold what no encoding has
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = _command(args.command).run(args)
        if sys.stdout is not None:  # it may have been closed
            sys.stdout.flush()
    except PactError as error:
        say(f"pactmeter: {error}")
        return error.exit_code
    except BrokenPipeError:  # `pactmeter ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # what the command did not expect of a file or the disk
        say(f"pactmeter: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        _settle_stderr()
    return code


def _settle_stderr() -> None:
    """Give up what standard error does not take: at exit it would change the exit code to 120."""
    try:
        sys.stderr.flush()
    except AttributeError:  # there is none
        return
    except (OSError, ValueError):
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _command(name: str) -> Command:
    module: Command = importlib.import_module(f"pactmeter.cli.{name}")
    return module
