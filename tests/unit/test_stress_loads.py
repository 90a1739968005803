"""Loads become commands of the tools, commands are read as the tools read them, and what fits."""

import os
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactmeter.errors import ConfigError, PactError
from pactmeter.study import stress_loads as loads
from pactmeter.study import stress_preflight as preflight
from pactmeter.study.stress_loads import Load

MB, GB = 10**6, 10**9
any_load = st.builds(
    Load,
    kind=st.sampled_from(loads.KINDS),
    workers=st.integers(1, 1000),
    duration_s=st.integers(1, 10**6).map(float),
    vm_bytes=st.integers(1 << 20, 1 << 40),
    hdd_bytes=st.integers(1 << 20, 1 << 40),
)


def machine(folder, available_mb):
    """Return the root of a machine with so much memory available."""
    path = folder / "proc/meminfo"
    path.parent.mkdir()
    path.write_text(f"MemTotal: 99999999 kB\nMemAvailable:   {available_mb * MB // 1024} kB\n")
    return folder


@given(load=any_load, tool=st.sampled_from(loads.TOOLS))
def test_a_command_says_what_the_load_is_and_needs_what_its_workers_take(load, tool):
    words = load.command(tool)
    assert loads.tool_of(words) == tool
    assert {kind: loads.workers(words, kind) for kind in loads.KINDS} == {
        kind: load.workers if kind == load.kind else 0 for kind in loads.KINDS
    }
    assert loads.duration_s(words) == load.duration_s
    each = {"vm": load.vm_bytes, "hdd": load.hdd_bytes}
    expected = [(load.kind, load.workers, each[load.kind])] if load.kind in each else []
    assert [(n.kind, n.workers, n.each_bytes) for n in preflight.needs(words)] == expected


def test_the_commands_of_the_paper_are_those_of_the_original():
    assert Load("cpu", 25, 200).command("stress") == ["stress", "--cpu", "25", "--timeout", "200"]
    assert Load("vm", 50, 200).command("stress") == ["stress", "--vm", "50", "--timeout", "200"]
    assert Load("hdd", 1, 200).command("stress") == ["stress", "--hdd", "1", "--timeout", "200"]


@pytest.mark.parametrize(
    ("workers", "duration_s", "told"),
    [(0, 1, "0 workers"), (-1, 1, "-1 workers"), (1, 1.5, "whole seconds"), (1, 0, "whole"),
     (1, float("nan"), "whole"), (1, float("inf"), "whole")],
)  # fmt: skip
def test_a_load_that_no_tool_can_make_is_refused(workers, duration_s, told):
    with pytest.raises(ConfigError, match=told):
        Load("cpu", workers, duration_s)


@pytest.mark.parametrize(
    ("text", "count"),
    [("64M", 64 << 20), ("1g", 1 << 30), ("5", 5), ("7b", 7), ("3K", 3 << 10), ("", None),
     ("M", None), ("1.5G", None), ("-1", None), ("80%", None), ("1T", None), ("٣", None)],
)  # fmt: skip
def test_sizes_are_read_as_the_tools_read_them(text, count):
    assert loads.size(text) == count


@pytest.mark.parametrize(
    ("line", "seconds"),
    [("stress -c 1 -t 5m", 300), ("stress-ng --cpu 1 --timeout=2h", 7200), ("stress -c 1", None),
     ("stress -c 1 -t", None), ("stress -c 1 -t 0", None), ("gpu_burn 200", 200),
     ("gpu_burn -l", None), ("make -j2", None)],
)  # fmt: skip
def test_how_long_a_command_works_is_read_from_it(line, seconds):
    assert loads.duration_s(line.split()) == seconds


@given(words=st.lists(st.text(max_size=8), max_size=6))
def test_any_words_are_read_without_an_error(words):
    loads.duration_s(["stress", *words])
    preflight.needs(["stress", *words])


def test_a_tool_that_is_missing_is_named_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setattr(os, "environ", {**os.environ, "PATH": "/nowhere"})
    with pytest.raises(PactError, match="stress-ng is not installed") as told:
        loads.require("stress-ng")
    assert told.value.fix == "sudo apt-get install stress-ng"


@pytest.mark.parametrize(
    ("line", "available_mb", "refused"),
    [
        ("stress --vm 50 --timeout 200", 13_000, "268 MB need 13,422 MB, and 13,000 MB"),
        ("stress --vm 50 --timeout 200", 15_000, None),
        ("stress -m 2 --vm-bytes 1G", 2_000, "2,147 MB, and 2,000 MB of memory"),
        ("stress --vm 2 --vm-bytes=64M", 200, None),
        ("stress-ng --vm 4 --vm-bytes 1g", 1_000, "4 vm workers of 268 MB need 1,074 MB"),
        ("stress-ng --vm 4 --vm-bytes 80%", 100, None),
        ("stress --cpu 50", 1, None),
        ("my-program --vm 50", 1, None),
    ],
)
def test_vm_workers_that_do_not_fit_into_memory_are_refused(tmp_path, line, available_mb, refused):
    root = machine(tmp_path, available_mb)
    if refused is None:
        preflight.check(line.split(), tmp_path, root)
        return
    with pytest.raises(PactError, match=refused) as told:
        preflight.check(line.split(), tmp_path, root)
    assert "--vm-bytes" in told.value.fix


def test_what_the_fix_names_fits(tmp_path):
    root = machine(tmp_path, 4_000)
    with pytest.raises(PactError) as told:
        preflight.check(["stress", "--vm", "50"], tmp_path, root)
    assert told.value.fix.startswith("at most 68M each, by --vm-bytes or at most 13 workers;")
    preflight.check(["stress", "--vm", "50", "--vm-bytes", "68M"], tmp_path, root)
    preflight.check(["stress", "--vm", "13"], tmp_path, root)


def test_hdd_workers_that_do_not_fit_onto_the_disk_are_refused(tmp_path, monkeypatch):
    class Usage:
        free = 30 * GB

    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage)
    preflight.check(["stress", "--hdd", "25"], tmp_path)
    with pytest.raises(PactError, match="50 hdd workers with files of 1,074 MB need 53,687") as why:
        preflight.check(["stress", "--hdd", "50"], tmp_path)
    assert "at most 543M each, by --hdd-bytes or at most 26 workers" in why.value.fix


def test_memory_that_nobody_tells_of_refuses_nothing(tmp_path):
    preflight.check(["stress", "--vm", "50"], tmp_path, tmp_path / "none")


def test_the_file_system_of_a_folder_is_that_of_its_nearest_mount(tmp_path):
    deep = tmp_path / "a b" / "c"
    deep.mkdir(parents=True)
    mounts = tmp_path / "mounts"
    there = str(tmp_path / "a b").replace(" ", r"\040")
    mounts.write_text(f"/dev/x / ext4 rw 0 0\ntmpfs {there} tmpfs rw 0 0\n/dev/y /a xfs rw 0 0\n")
    assert preflight.file_system(deep, mounts) == "tmpfs"
    assert preflight.file_system(tmp_path, mounts) == "ext4"
    assert preflight.file_system(tmp_path, tmp_path / "none") == ""
