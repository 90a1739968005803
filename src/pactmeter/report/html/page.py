"""Whole pages: sections, styles, plots, and a policy that lets no request leave them."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files as package_files
from typing import TYPE_CHECKING, Any

from pactmeter import __version__
from pactmeter.report.html import sections
from pactmeter.report.html.compare import sets_sections, sources_sections
from pactmeter.report.html.files import apart, hashes
from pactmeter.report.html.lines import time_lines
from pactmeter.report.html.markup import data, name, section, text
from pactmeter.report.html.study import study_sections
from pactmeter.report.html.top import top
from pactmeter.store.output import save

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from pactmeter.analysis.agreement.result import Agreement
    from pactmeter.analysis.run import RecordedRun
    from pactmeter.analysis.variants import Variants

_CSS = ("uPlot.min.css", "page.css")
_PLOTS, _LICENCE = "uPlot.iife.js", "uPlot-LICENSE.txt"
_SCRIPT = "page.js"


def write_page(path: Path, content: str, *, force: bool = False, keep: Sequence[Path] = ()) -> None:
    """Write a page whole or not at all; an earlier file is kept unless `force`.

    Raises:
        FileError: The file exists and is kept, or cannot be written.
    """

    def write(made: Path) -> None:
        made.write_text(content, encoding="utf-8", newline="\n")

    save(path, write, force=force, keep=keep)


def run_page(run: RecordedRun, summary: dict[str, Any]) -> str:
    """Return a run's page; the summary is that of `summarize`, with its regions."""
    note = '<p id="plots-note" role="status">The plots need scripts.</p>\n<div id="plots"></div>\n'
    lines = time_lines(run)
    parts = (
        top(run, summary),
        section("time", "Over time", note, sections.over_time(run)),
        sections.verdict(summary),
        sections.sources(summary),
        sections.budget(summary),
        sections.regions(run, summary, lines["regions"]["problem"]),
        sections.sampling(run, summary),
        sections.hardware(run),
        sections.assumptions(run, summary),
        sections.files(hashes(run.files.all)),
    )
    return _document("PACT run", run.files.power.name, parts, lines)


def sets_page(found: Variants, paths: Iterable[Path]) -> str:
    """Return the page of sets of runs compared, whose files are these."""
    told = hashes(paths)
    shown = {str(path): shown for path, shown in apart(each.path for each in told).items()}
    parts = (*sets_sections(found, shown), sections.files(told))
    return _document("PACT comparison", found.channel, parts)


def sources_page(found: Agreement, paths: Iterable[Path]) -> str:
    """Return the page of the sources within runs compared, whose files are these."""
    parts = (*sources_sections(found), sections.files(hashes(paths)))
    return _document("PACT comparison of sources", found.host, parts)


def study_page(found: dict[str, Any], files: Iterable[Path]) -> str:
    """Return the page of a study.

    Args:
        found: What ``pactmeter study report --json`` tells.
        files: What it was made from.
    """
    told = sections.files(hashes(files), is_folded=True)
    return _document("PACT study", found["name"], (*study_sections(found), told))


def _document(
    kind: str, title: str, parts: tuple[str, ...], lines: dict[str, Any] | None = None
) -> str:
    """Return sections as a whole document, with scripts where there are time lines."""
    css = _asset("".join(_read(each) for each in _CSS))
    scripts = []
    if lines is not None:
        licence = f"/*\n{_read(_LICENCE)}*/\n"
        scripts = [_asset(licence + _read(_PLOTS)), _asset(_read(_SCRIPT))]
    allowed = " ".join(map(_digest, scripts)) or "'none'"
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src {_digest(css)}; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )
    drawn = "" if lines is None else data("pact-data", lines)
    drawn += "".join(f"<script>{script}</script>\n" for script in scripts)
    plots = " Plots: uPlot (MIT)." if scripts else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}: {text(kind)}</title>\n"
        f'<link rel="icon" href="data:,">\n<style>{css}</style>\n</head>\n<body>\n'
        '<a class="skip" href="#main">To the report</a>\n'
        f"<header><h1>{text(kind)}: {name(title)}</h1></header>\n"
        f'<main id="main">\n{"".join(parts)}</main>\n'
        f"<footer><p>Made by pactmeter {text(__version__)} from the files named above.{plots}</p>"
        f"</footer>\n{drawn}</body>\n</html>\n"
    )


def _read(asset: str) -> str:
    folder = package_files("pactmeter.report.html") / "static"
    return (folder / asset).read_text(encoding="utf-8")


def _asset(content: str) -> str:
    """Return what stands in a script or style element; none of ours ends it early."""
    if "</script" in content.lower() or "</style" in content.lower():
        raise AssertionError("an asset would end its own element")
    return content


def _digest(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
