"""What all tests share."""

import contextlib
import os
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from pactmeter.kernel import perf
from support.counters import backend  # noqa: F401  a fixture
from support.pmus import ABSENT_TYPE, CLOCK_TYPE, add_pmu, bare_machine, stand_in
from support.programs import run_program
from support.rights import lacking, refuse
from support.tables import TABLES, table

settings.register_profile("any machine", deadline=None)  # a busy machine is no error
settings.load_profile("any machine")

SETTINGS = ("PACTMETER_SYSFS", "PACTMETER_REGION", "CUDA_DEVICE_ORDER")
RANKS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_", "OMPI_", "PMI_", "MPI_")
"""How the variables begin that change what a run does, and that say which of a job it is."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Keep tests from running without the rights they are marked to need."""
    for marker in item.iter_markers():
        reason = lacking(marker) if marker.name in {"root", "perf"} else None
        if reason:
            refuse(reason)


@contextlib.contextmanager
def open_folder():
    """Make a folder that other users may read, as sysfs; pytest's own are closed to them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture(scope="session", autouse=True)
def _no_machine():
    """Let no test, and no program it starts, see this machine's sensors, job or settings."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):  # nohup and `&` ignore them
        if signal.getsignal(number) is signal.SIG_IGN:
            usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, usual)
    with open_folder() as root, pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith((*SETTINGS, *RANKS)):
                patch.delenv(name)
        patch.setenv("PACTMETER_SYSFS", str(bare_machine(root)))
        patch.setenv("CUDA_VISIBLE_DEVICES", "")  # NVML is found by its library, not in sysfs
        yield


def pytest_terminal_summary(terminalreporter, config):
    """Print the figures that tests have measured."""
    for each in config.stash.get(TABLES, {}).values():
        for line in each.lines():
            terminalreporter.write_line(line)


@pytest.fixture
def figures(request):
    """Give the table of a title and its columns; all are printed at the end (`make bench`)."""
    return lambda title, *columns: table(request.config, title, *columns)


@pytest.fixture
def program(tmp_path):
    """Run a Python program in a folder of its own; see `support.programs.run_program`."""

    def run(code, **options):
        return run_program(code, tmp_path, **options)

    return run


@pytest.fixture
def sysfs(monkeypatch):
    """Give the test a sysfs of its own, with this machine's CPUs and nothing else."""
    with open_folder() as root:
        monkeypatch.setenv("PACTMETER_SYSFS", str(bare_machine(root)))
        yield root


@pytest.fixture
def gauge(sysfs):
    """Give the machine a steady 100 W gauge: something to measure, whatever may be counted.

    It is that of a GPU, which is a headline on every processor.
    """
    chip = sysfs / "class/hwmon/hwmon0"
    chip.mkdir(parents=True)
    (chip / "name").write_text("amdgpu\n")
    (chip / "power1_average").write_text("100000000\n")


@pytest.fixture
def absent(sysfs):
    """Make `support.pmus.ABSENT` an event that no machine can count."""
    add_pmu(sysfs, "absent", ABSENT_TYPE)


@pytest.fixture
def clock(sysfs, monkeypatch):
    """Make `support.pmus.CLOCK` an event that every machine can count, as one of hardware."""
    add_pmu(sysfs, "clock", CLOCK_TYPE)
    monkeypatch.setattr(perf, "open_event", stand_in(perf.open_event))


@pytest.fixture
def small_disk(tmp_path):
    """Mount a filesystem of some size and return its folder; for tests marked `root`."""
    folder = tmp_path / "disk"
    mounted = []

    def mount(size):
        folder.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:  # root of a container may not
            refuse(f"needs to mount a tmpfs: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for each in mounted:
        subprocess.run(["umount", each], check=True)
