"""Draw the pictures of the docs from the runs in ``docs/runs``: ``make docs`` does.

Pages are photographed where Chromium is; elsewhere the pictures of them that are there stay.
"""

import os
import shutil
import sys
from pathlib import Path

from pactmeter.cli.main import main

DOCS = Path(__file__).parent
RUNS, PICTURES = DOCS / "runs", DOCS / "pictures"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")

TRAINING = RUNS / "emulated" / "train.csv"
REAL = RUNS / "real" / "PACT.csv"
VALIDATION = RUNS / "emulated" / "validate.csv"
METER = ["--reference", str(RUNS / "emulated" / "meter.csv"), "--power-column", "P [W]"]
METER += ["--accuracy", "0.5"]
PLOTS = {
    "power": ["power", TRAINING, "--width", "double"],
    "stack": ["stack", TRAINING, "--width", "double"],
    "identity": ["identity", TRAINING, "--span", "1", "--width", "double"],
    "bland-altman": ["bland-altman", TRAINING, "--span", "1", "--width", "double"],
    "regions": ["regions", TRAINING],
    "counters": ["counters", TRAINING, "--width", "double"],
    "counters-real": ["counters", REAL, "--width", "double"],
    "validation": ["validation", VALIDATION, *METER, "--width", "double"],
    "residuals": ["residuals", RUNS / "emulated" / "model.json"],
}


def draw() -> None:
    """Draw all plots."""
    for name, (kind, *words) in PLOTS.items():
        out = PICTURES / f"{name}.png"
        if main(["plot", kind, *map(str, words), "-o", str(out), "--force"]):
            sys.exit(f"docs/pictures.py: {name} was not drawn")


def photograph(folder: Path) -> None:
    """Make the pages and photograph them."""
    from playwright.sync_api import sync_playwright

    pages = {
        "page": (["report", str(TRAINING)], "light", 1250),
        "page-dark": (["report", str(TRAINING)], "dark", 1250),
        "page-real": (["report", str(REAL)], "light", 1250),
        "page-compare": (["compare", str(TRAINING), "--span", "1"], "light", 1150),
    }
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for name, (words, scheme, height) in pages.items():
            file = folder / f"{name}.html"
            if main([*words, "--json", "--html", str(file)]):
                sys.exit(f"docs/pictures.py: {name} was not made")
            size = {"width": 1200, "height": height}
            page = browser.new_page(viewport=size, color_scheme=scheme)
            page.goto(file.as_uri())
            if words[0] == "report":
                page.wait_for_selector("html[data-plots=done]")
            page.screenshot(path=PICTURES / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    import contextlib
    import tempfile

    with contextlib.redirect_stdout(None):
        draw()
        if CHROMIUM is None:
            print("no Chromium: the pictures of pages stay as they are", file=sys.stderr)
        else:
            with tempfile.TemporaryDirectory() as folder:
                photograph(Path(folder))
