"""Which events can be counted on this machine; each is tried by opening it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pactmeter.counters.listing import list_events

if TYPE_CHECKING:
    import argparse

NAME = "events"
HELP = "list the events that can be counted here"


def prepare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("pattern", nargs="?", help="part of a name, or a shell pattern")
    parser.add_argument(
        "-a",
        "--all",
        action="store_true",
        help="also those that cannot be opened, and all that libpfm4 knows of this processor",
    )


def run(args: argparse.Namespace) -> int:
    """Print a line an event."""
    rows = list_events(args.pattern, everything=args.all)
    shown = [row for row in rows if row.status == "ok" or args.all]
    for row in shown:
        state = "ok" if row.status == "ok" else f"{row.status}: {row.reason}"
        aliases = f"  (also {', '.join(row.aliases)})" if row.aliases else ""
        print(f"{row.name:32} {row.pmu:10} {row.scope:7} {state}{aliases}")
    hidden = len(rows) - len(shown)
    if hidden:
        what = "match but cannot be opened" if args.pattern else "more cannot be opened"
        print(f"{hidden} {what} on this machine; --all shows them with the reason")
    elif not rows:
        print(
            f"no event matches {args.pattern!r}; also accepted: rNNN, pmu/event/, "
            "pmu/config=0x.../, subsystem:event (tracepoints), and libpfm4's names"
        )
    return 0 if rows else 1
