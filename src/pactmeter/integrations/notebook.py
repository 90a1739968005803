"""``%%pactmeter``: measure a cell of a notebook; ``%load_ext pactmeter`` makes it known.

The words behind it are keyword arguments of `PACT`: ``%%pactmeter measure_period=0.2``.
"""

from __future__ import annotations

import ast
import sys
from typing import Any

from pactmeter.analysis.summary import summarize
from pactmeter.errors import ConfigError, PactError
from pactmeter.integrations.one_run import OneRun
from pactmeter.report.text import render

MAGIC = "pactmeter"


def load_ipython_extension(shell: Any) -> None:
    """Make ``%%pactmeter`` known to an IPython shell, which calls this for ``%load_ext``."""

    def pactmeter(line: str, cell: str) -> Any:
        """Measure the cell as a run of its own and print what it comes to.

        Takes keyword arguments of `PACT`: %%pactmeter measure_period=0.2, tracker_file_name="a.csv"
        """
        return _measured(shell, line, cell)

    shell.register_magic_function(pactmeter, "cell", MAGIC)


def _measured(shell: Any, line: str, cell: str) -> Any:
    """Return the cell's value; what it raises passes through, after the figures."""
    measured = OneRun(**arguments(line))
    measured.start()
    try:
        return _executed(shell, cell)
    finally:
        measured.stop()
        sys.stdout.write("".join(f"{line}\n" for line in _summary(measured)))


def arguments(line: str) -> dict[str, Any]:
    """Return the keyword arguments that a line stands for.

    >>> arguments("measure_period=0.2, PSU=None")
    {'measure_period': 0.2, 'PSU': None}

    Raises:
        ConfigError: It is no list of keyword arguments with plain values.
    """
    try:
        call = ast.parse(f"f({line.strip()})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            raise ValueError("no keyword arguments")
        return {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise ConfigError(
            f"cannot read {line.strip()!r} behind %%{MAGIC}",
            f"name arguments of PACT, as %%{MAGIC} measure_period=0.2, PSU=None",
        ) from error


def _executed(shell: Any, cell: str) -> Any:
    """Run the cell's code in the user's namespace; return the value of a last expression.

    Not by `run_cell`, which shows an error and goes on: the notebook would run the next cell.
    """
    source = shell.transform_cell(cell)
    tree = shell.transform_ast(shell.compile.ast_parse(source))
    name = shell.compile.cache(source)  # so that tracebacks show its lines
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(shell.compile(tree, name, "exec"), shell.user_ns)  # noqa: S102  the user's own
    if last is None:
        return None
    expression = ast.Expression(last.value)
    return eval(shell.compile(expression, name, "eval"), shell.user_ns)  # noqa: S307


def _summary(measured: OneRun) -> list[str]:
    try:
        run = measured.recorded()
        figures = render(run, summarize(run, with_regions=False))
    except PactError as error:
        return [f"PACT: no figures: {error}"]
    return [*measured.told, figures]
