"""The tiny matrix of CV, NLP, RL and stress on the emulated machine: what `make study` does."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from support.rights import refuse

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("PACTMETER_WORKLOADS", ROOT / ".venv/frameworks/bin/python"))
BOUND_S = 360.0


@pytest.mark.slow
@pytest.mark.root
def test_the_tiny_matrix_ends_with_a_report_in_which_all_losses_fall(tmp_path):
    if not PYTHON.is_file():
        refuse(f"there is no {PYTHON}: make .venv/study.stamp, or set PACTMETER_WORKLOADS")
    start_s = time.monotonic()

    done = subprocess.run(
        ["sh", "tools/study.sh", str(PYTHON), str(tmp_path / "study")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=4 * BOUND_S,
        check=False,
    )

    took_s = time.monotonic() - start_s
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    files = list((tmp_path / "study").glob("*_trial.json"))
    trials = [json.loads(path.read_text()) for path in files]
    told = [trial["work"] for trial in trials if trial.get("work")]
    print(f"{len(trials)} trials in {took_s:.0f} s (bound {BOUND_S:.0f} s)")
    assert len(trials) >= 2 * 26
    falling = [work for work in told if "loss_last" in work]
    assert len(falling) == 2 * 13
    assert all(work["loss_last"] < work["loss_first"] for work in falling)
    for path in files:
        recorded = path.name.replace("_trial.json", "_PACT.csv")
        assert path.with_name(recorded).stat().st_size > 0
    page = (tmp_path / "study.html").read_text()
    assert "remainder" in page
    assert "model" in page
    assert took_s <= 3 * BOUND_S
