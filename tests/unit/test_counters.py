"""Counters against the kernel's own accounts: every thread, once, and unknown is never 0."""

import os
import resource
from pathlib import Path

import pytest

from pactmeter.counters import plan
from pactmeter.counters.groups import open_counters
from pactmeter.kernel import perf, pmu
from unit.counter_target import CHURN, OTHER, TREE, Target, as_nobody

DEFAULT = [["MIGRATIONS"], ["FAULTS"], ["CACHE-MISSES"], ["CYCLES"]]
TSC_TYPE = int(Path("/sys/bus/event_source/devices/msr/type").read_text())


def near(count: int, truth: int) -> bool:
    return abs(count - truth) <= max(5, truth / 1000)


def statuses(counters) -> dict[str, str]:
    return {row["column"]: row["status"] for row in counters.describe()}


def test_a_tree_is_counted_whole_and_once():
    with Target(TREE) as target:
        assert target.told() == "ready"
        groups = [["FAULTS"], ["CS"], ["SYSTEMWIDE:FAULTS", "SYSTEMWIDE:CS"]]
        with (
            open_counters(groups, pid=target.pid, scope="tree") as counters,
            open_counters([["FAULTS"], ["CS"]], pid=target.pid, scope="system") as system,
        ):
            target.go_on()
            faults, switches = target.told()
            sample = counters.read()
            whole = system.read()

    assert faults > 25_000
    assert switches > 200
    assert near(sample.totals[0], faults)
    assert near(sample.totals[1], switches)
    for wide in (sample.totals[2:], whole.totals):
        assert wide[0] >= sample.totals[0]
        assert wide[1] >= sample.totals[1]
    assert counters.columns == ("faults", "cs", "systemwide:faults", "systemwide:cs")
    assert counters.groups == ("faults", "cs", "systemwide:faults+systemwide:cs")
    assert [row["scope"] for row in counters.describe()] == ["tree", "tree", "system", "system"]


def test_thread_churn_neither_fails_nor_goes_backwards_nor_loses_counts():
    with Target(CHURN) as target:
        target.told()
        with open_counters([["FAULTS", "CS"], ["msr/tsc/"]], pid=target.pid, scope="tree") as c:
            target.go_on()
            readings = [c.read()]
            while not target.has_spoken():
                readings.append(c.read())
            faults, switches = target.told()
            last = c.read()

    assert near(last.totals[0], faults)
    # A dying thread is still switched, after its counters have gone.
    assert last.totals[1] == pytest.approx(switches, rel=0.01)
    for before, after in zip(readings, [*readings[1:], last], strict=True):
        assert all(a <= b for a, b in zip(before.totals, after.totals, strict=True))
        assert before.time_s < after.time_s


def test_opening_amid_churn_succeeds():
    with Target(CHURN) as target:
        target.told()
        target.go_on()
        with open_counters([["FAULTS"]], pid=target.pid, scope="tree") as counters:
            assert statuses(counters) == {"faults": "ok"}
            target.told()


def test_the_process_that_measures_is_left_out():
    with Target(OTHER) as target:
        measuring = target.told()
        with (
            open_counters([["FAULTS"]], pid=target.pid, scope="tree") as everyone,
            open_counters(
                [["FAULTS"]], pid=target.pid, scope="tree", exclude_pids=[measuring]
            ) as others,
        ):
            target.go_on()
            assert target.told() == "done"
            with_it, without_it = everyone.read().totals[0], others.read().totals[0]

    assert with_it >= 20_000
    assert without_it < 1_000


def test_absent_hardware_is_unknown_and_never_0():
    with open_counters(DEFAULT, pid=os.getpid(), scope="tree") as counters:
        sample = counters.read()
        rows = {row["column"]: row for row in counters.describe()}

    assert sample.totals[2:] == (None, None)
    assert sample.times[2:] == (None, None)
    assert None not in sample.totals[:2]
    assert rows["cycles"]["status"] == "missing"
    assert "ENOENT" in rows["cycles"]["reason"]
    assert rows["faults"]["attr"] == {
        "type": 1,
        "config": 2,
        "config1": 0,
        "config2": 0,
        "exclude_user": False,
        "exclude_kernel": False,
        "exclude_hv": False,
        "inherit": True,
    }
    assert rows["faults"]["backend"] == "poll"


def test_a_hardware_group_has_a_reference_of_time_even_alone():
    with open_counters([["msr/tsc/", "CYCLES"]], pid=os.getpid(), scope="tree") as counters:
        first = counters.read()
        sum(range(200_000))
        second = counters.read()

    assert first.totals[0] < second.totals[0]
    assert second.totals[1] is None
    enabled_s, running_s = second.times[0]
    assert enabled_s == running_s > 0
    assert statuses(counters) == {"msr/tsc/": "ok", "cycles": "missing"}


def test_an_unprivileged_user_gets_faults_right_and_is_denied_what_would_read_0():
    def measure():
        groups = [["CS"], ["MIGRATIONS"], ["FAULTS"], ["CYCLES"], ["SYSTEMWIDE:CPU-CLOCK"]]
        with open_counters(groups, pid=os.getpid(), scope="tree") as counters:
            accounts = []
            for _ in range(3):  # what the fork left to copy is over after the first
                bytearray(80_000_000)
                usage = resource.getrusage(resource.RUSAGE_SELF)
                accounts.append((counters.read().totals, usage.ru_minflt))
            return counters.describe(), *accounts[1:]

    rows, (before, faults_before), (after, faults_after) = as_nobody(measure)

    assert [row["status"] for row in rows] == ["denied", "denied", "ok", "missing", "denied"]
    assert [total is None for total in after] == [True, True, False, True, True]
    assert faults_after - faults_before > 16_000
    assert near(after[2] - before[2], faults_after - faults_before)
    assert rows[2]["attr"]["exclude_kernel"]
    assert "user mode only" in rows[2]["reason"]
    assert "kernel.perf_event_paranoid is" in rows[0]["reason"]
    assert "sudo sysctl kernel.perf_event_paranoid=1" in rows[0]["fix"]
    assert "sudo sysctl kernel.perf_event_paranoid=0" in rows[4]["fix"]


@pytest.fixture
def sysfs(tmp_path, monkeypatch):
    """A machine whose PMU names are made up; their types are the kernel's own."""
    monkeypatch.setenv("PACTMETER_SYSFS", str(tmp_path))
    online = tmp_path / "devices/system/cpu/online"
    online.parent.mkdir(parents=True)
    online.write_text(
        ",".join(map(str, pmu.cpu_list(Path("/sys/devices/system/cpu/online").read_text())))
    )

    def make(name: str, kind: int, **files: str) -> None:
        folder = tmp_path / "bus/event_source/devices" / name
        folder.mkdir(parents=True)
        for file, text in {"type": str(kind), **files}.items():
            (folder / file).write_text(text)

    return make


def test_a_pmu_with_a_cpumask_is_opened_on_those_cpus_only(sysfs):
    sysfs("uncore", TSC_TYPE, cpumask="0")
    sysfs("nowhere", TSC_TYPE, cpumask="4095")
    groups = [["uncore/config=0/", "FAULTS"], ["nowhere/config=0/"]]

    with open_counters(groups, pid=os.getpid(), scope="system") as counters:
        sample = counters.read()
        rows = {row["column"]: row for row in counters.describe()}

    assert sample.totals[0] > 0
    assert sample.totals[2] is None
    assert sample.times[0][0] == pytest.approx(sample.times[0][1])
    assert rows["nowhere/config=0/"]["reason"] == "none of its CPUs is online"


def test_a_hybrid_cpu_is_asked_on_every_core_pmu(sysfs):
    (pmu.sysfs_root() / "devices/system/cpu/online").write_text("0-1")
    sysfs("cpu_core", 4, cpus="0")
    sysfs("cpu_atom", 10, cpus="1")
    columns = plan.columns([["CYCLES", "cpu_core/config=1/"], ["FAULTS"]], "system")

    groups = plan.kernel_groups(columns)

    assert [group.pmu_type for group in groups] == [0, 10, 4, 0]
    assert groups[0].members == [columns[2]]
    assert [group.cpus for group in groups[1:]] == [(1,), (0,), (0,)]
    assert groups[1].key == groups[2].key != groups[3].key
    assert groups[1]._attr(columns[0].spec, leads=True).config == 10 << 32


def test_a_scaled_total_never_falls(monkeypatch):
    with open_counters([["msr/tsc/"]], pid=os.getpid(), scope="tree") as counters:
        first = counters.read().totals[0]
        for section in counters._opened.sections.values():
            lower = [1] * len(section.columns), (1.0, 1.0)
            monkeypatch.setattr(section, "read", lambda lower=lower: lower)

        assert counters.read().totals[0] == first


def test_a_group_can_be_stopped():
    with open_counters([["FAULTS"]], pid=os.getpid(), scope="tree") as counters:
        perf.disable(counters._opened.descriptors[0])
        before = counters.read().totals
        bytearray(10_000_000)

        assert counters.read().totals == before
