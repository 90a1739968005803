"""Tables of figures that tests have measured, printed at the end of the test run."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

TABLES = pytest.StashKey()


@dataclass
class Table:
    """A table: rows are added by the tests that measure, in whatever order they run."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, *cells: object) -> None:
        """Add a row; floats get three digits."""
        assert len(cells) == len(self.columns)
        self.rows.append(tuple(f"{c:.3g}" if isinstance(c, float) else str(c) for c in cells))

    def lines(self) -> list[str]:
        """Return the table as Markdown, as it stands in the documentation."""
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]
        rows = [self.columns, tuple("-" * w for w in widths), *self.rows]
        aligned = [[c.ljust(w) for c, w in zip(row, widths, strict=True)] for row in rows]
        return ["", f"**{self.title}**", "", *(f"| {' | '.join(row)} |" for row in aligned)]


def table(config, title, *columns):
    """Return the table of a title, made by the first test that asks for it."""
    tables = config.stash.setdefault(TABLES, {})
    found = tables.setdefault(title, Table(title, columns))
    assert found.columns == columns
    return found
