"""What workloads lack is found before the first trial, with who needs it and how to get it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pactmeter.errors import ConfigError, PactError
from pactmeter.study import needs, stress_preflight
from pactmeter.study.definition import Definition, Settings, Workload


def study(**workloads):
    """Return a study of workloads that do nothing, each with what it needs."""
    made = (
        Workload(name, "other", more.pop("command", ("true",)), **more)
        for name, more in workloads.items()
    )
    return Definition(Path("s.toml"), "s", None, Settings(), tuple(made))


def lacking(definition, folder, root=None):
    """Return what its workloads lack, as text."""
    names = [one.name for one in definition.workloads]
    return [str(lack) for lack in needs.lacking(definition, names, folder, root or folder)]


def test_what_is_there_is_not_lacking(tmp_path):
    (tmp_path / "here").touch()
    fine = study(
        a={"needs": ("python:json", "tool:true", f"file:{tmp_path}/here")},
        b={"memory_mb": 1, "disk_mb": 1},
    )

    assert lacking(fine, tmp_path, Path("/")) == []


@pytest.mark.parametrize(
    ("need", "fix"),
    [
        ("python:torch_of_tomorrow", "pip install torch-of-tomorrow"),
        ("tool:stress_of_tomorrow", "install it, or put it on PATH"),
        ("file:/nowhere/at/all", "README"),
        ("gpu", "install the GPU's driver"),
    ],
)
def test_what_is_not_there_is_told_with_who_needs_it(tmp_path, monkeypatch, need, fix):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")

    found = lacking(study(a={"needs": (need,)}, b={}, c={"needs": (need,)}), tmp_path)

    assert len(found) == 1
    assert found[0].startswith(f"{need}, needed by a, c: ")
    assert fix in found[0]


@pytest.mark.parametrize("module", ["torch", "dm_control"])
def test_what_the_workloads_need_comes_with_the_extra(tmp_path, monkeypatch, module):
    monkeypatch.setattr(needs.importlib.util, "find_spec", lambda _: None)

    assert "pactmeter[workloads]" in lacking(study(a={"needs": (f"python:{module}",)}), tmp_path)[0]


def test_a_gpu_that_is_hidden_is_not_a_missing_driver(tmp_path, monkeypatch):
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidiactl").touch()
    gpu = study(a={"needs": ("gpu",)})

    assert "unset CUDA_VISIBLE_DEVICES" in lacking(gpu, tmp_path)[0]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert lacking(gpu, tmp_path) == []


def test_a_program_that_is_not_there_is_lacking_though_no_need_names_it(tmp_path):
    found = lacking(study(a={"command": ("stress-of-tomorrow", "--cpu", "1")}), tmp_path)

    assert found[0].startswith("program 'stress-of-tomorrow', needed by a")


def test_a_script_that_is_not_there_is_lacking(tmp_path):
    found = lacking(study(a={"command": ("{python}", f"{tmp_path}/train.py")}), tmp_path)

    assert found[0].startswith(f"script {tmp_path}/train.py, needed by a")


def test_memory_and_disk_are_looked_for(tmp_path):
    found = lacking(study(a={"memory_mb": 10**9}, b={"disk_mb": 10**9}), tmp_path, Path("/"))

    assert "1000000000 MB of memory" in found[0]
    assert "needed by a" in found[0]
    assert "1000000000 MB of disk" in found[1]


@pytest.mark.parametrize(("needed_mb", "is_there"), [(9000, True), (9001, False)])
def test_a_study_and_its_loads_agree_on_what_memory_may_be_taken(tmp_path, needed_mb, is_there):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text(f"MemAvailable: {10**10 // 1024} kB\n")

    found = lacking(study(a={"memory_mb": needed_mb}), tmp_path, tmp_path)
    try:
        stress_preflight.check(
            ["stress", "--vm", "1", "--vm-bytes", f"{needed_mb * 10**6}"], tmp_path, tmp_path
        )
        fits = True
    except PactError:
        fits = False

    assert (found == [], fits) == (is_there, is_there)
    assert is_there or "10000 MB are free, 90% of which may be taken" in found[0]


def test_nothing_starts_unless_what_lacks_something_may_be_left_out(tmp_path):
    found = study(a={"needs": ("python:torch_of_tomorrow",)}, b={})

    with pytest.raises(PactError, match="torch_of_tomorrow, needed by a: pip install"):
        needs.preflight(found, ["a", "b"], tmp_path, skip_missing=False)
    lacks = needs.preflight(found, ["a", "b"], tmp_path, skip_missing=True)
    assert needs.missing(lacks) == {"a"}
    with pytest.raises(ConfigError, match="no workload is left"):
        needs.preflight(found, ["a"], tmp_path, skip_missing=True)


def test_what_does_not_run_may_lack_what_it_likes(tmp_path):
    found = study(a={"needs": ("python:torch_of_tomorrow",)}, b={})

    assert needs.preflight(found, ["b"], tmp_path, skip_missing=False) == []


def test_a_busy_machine_and_a_battery_are_told(tmp_path, monkeypatch):
    adapter = tmp_path / "sys/class/power_supply/AC"
    adapter.mkdir(parents=True)
    (adapter / "online").write_text("1\n")
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    assert needs.warnings(tmp_path) == []

    (adapter / "online").write_text("0\n")
    monkeypatch.setattr(os, "getloadavg", lambda: (64.0, 0.0, 0.0))
    assert [text.split(":")[0] for text in needs.warnings(tmp_path)] == [
        "the machine is busy",
        "the machine runs on its battery",
    ]
