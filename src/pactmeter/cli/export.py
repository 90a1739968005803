"""Write a run in the format of another tool.

original: the CSV of the original PACT. long: CSV, one figure a line. parquet: the same, typed and
small. hdf5: the layout of perun. trace: Chrome trace for Perfetto and chrome://tracing. latex:
macros, a table and a sentence for the paper.

Whatever cannot hold units, origins, uncertainties and synthetic marks gets a file beside it that
does.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pactmeter.analysis.energy import energies
from pactmeter.analysis.headline import headline
from pactmeter.analysis.run import load
from pactmeter.analysis.synthetic import synthetic_told
from pactmeter.errors import ConfigError
from pactmeter.export import registry, trace
from pactmeter.export.base import export
from pactmeter.store.files import short_path

if TYPE_CHECKING:
    import argparse

NAME = "export"
HELP = "write a run in the format of another tool"


def prepare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("file", help="the run's power file, as PACT.csv")
    add("--to", required=True, metavar="FORMAT", help=", ".join(registry.names()))
    add("-o", "--output", required=True, type=Path, metavar="OUT", help="the file to write")
    add("--force", action="store_true", help="write over what is there (never over the run)")
    add(
        "--merge",
        type=Path,
        metavar="TRACE",
        help="trace: put the events of this trace of the torch profiler beside",
    )


def run(args: argparse.Namespace) -> int:
    """Write the file and name what was written."""
    exporter = registry.find(args.to)
    if args.merge is not None and args.to != trace.NAME:
        raise ConfigError("--merge puts a trace into a trace", "--to trace, or leave --merge out")
    recorded = load(args.file)
    write = None if args.merge is None else partial(trace.write, merge=args.merge)
    inputs = [] if args.merge is None else [args.merge]
    made = export(recorded, exporter, args.output, force=args.force, write=write, inputs=inputs)
    for path in made:
        print(short_path(path))
    if recorded.status != "complete":
        why = f" ({recorded.reason})" if recorded.reason else ""
        print(f"note      the run is {recorded.status}{why}: this is what there is of it")
    if headline(energies(recorded)) is None:
        print("note      no energy was measured in this run")
    told = synthetic_told(recorded.channels)
    if told:
        print(f"note      {told}")
    return 0
