"""Counters against the kernel's own accounts: every thread, once, and unknown is never 0."""

import os
import resource

import pytest

from pactmeter.counters import plan
from pactmeter.kernel import pmu
from support.counters import open_counters, touch
from support.pmus import ABSENT, CLOCK, CLOCK_TYPE, add_pmu
from support.rights import perf_levels
from unit.counter_target import CHURN, OTHER, TREE, Target, as_nobody

pytestmark = pytest.mark.usefixtures("backend")


def near(count: int, truth: int, ended: int = 0) -> bool:
    """Whether they agree; the kernel may switch what ends once more when it counts no longer."""
    return abs(count - truth) <= max(5, truth / 1000) + ended


def statuses(counters) -> dict[str, str]:
    return {row["column"]: row["status"] for row in counters.describe()}


@pytest.mark.perf("user")
def test_the_faults_of_a_tree_are_counted_whole_and_once_whoever_counts():
    with Target(TREE) as target:
        target.told()
        with open_counters([["FAULTS"]], pid=target.pid, scope="tree") as counters:
            target.go_on()
            faults, _ = target.told()
            counted = counters.read().totals[0]

    assert faults > 25_000
    assert near(counted, faults)


@pytest.mark.perf("system")
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
    assert near(sample.totals[1], switches, ended=5)
    for wide in (sample.totals[2:], whole.totals):
        assert wide[0] >= sample.totals[0]
        assert wide[1] >= sample.totals[1]
    assert counters.columns == ("faults", "cs", "systemwide:faults", "systemwide:cs")
    assert counters.groups == ("faults", "cs", "systemwide:faults+systemwide:cs")
    assert [row["scope"] for row in counters.describe()] == ["tree", "tree", "system", "system"]


@pytest.mark.perf("kernel")
def test_thread_churn_neither_fails_nor_goes_backwards_nor_loses_counts(clock):
    with Target(CHURN) as target:
        target.told()
        with open_counters([["FAULTS", "CS"], [CLOCK]], pid=target.pid, scope="tree") as c:
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


@pytest.mark.perf("user")
def test_opening_amid_churn_succeeds():
    with Target(CHURN) as target:
        target.told()
        target.go_on()
        with open_counters([["FAULTS"]], pid=target.pid, scope="tree") as counters:
            assert statuses(counters) == {"faults": "ok"}
            target.told()


@pytest.mark.perf("user")
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


@pytest.mark.perf("user")
def test_absent_hardware_is_unknown_and_never_0(absent):
    groups = [["MINOR-FAULTS"], ["FAULTS"], [ABSENT], ["absent/config=1/"]]
    with open_counters(groups, pid=os.getpid(), scope="tree") as counters:
        sample = counters.read()
        rows = {row["column"]: row for row in counters.describe()}

    assert sample.totals[2:] == (None, None)
    assert sample.times[2:] == (None, None)
    assert None not in sample.totals[:2]
    assert rows[ABSENT]["status"] == "missing"
    assert "ENOENT" in rows[ABSENT]["reason"]
    user_only = "kernel" not in perf_levels()
    assert rows["faults"]["attr"] == {
        "type": 1,
        "config": 2,
        "config1": 0,
        "config2": 0,
        "exclude_user": False,
        "exclude_kernel": user_only,
        "exclude_hv": user_only,
        "inherit": True,
    }
    assert rows["faults"]["backend"] == counters.backend


@pytest.mark.perf("user")
def test_a_hardware_group_has_a_reference_of_time_even_alone(clock, absent):
    with open_counters([[CLOCK, ABSENT]], pid=os.getpid(), scope="tree") as counters:
        first = counters.read()
        sum(range(200_000))
        second = counters.read()

    assert first.totals[0] < second.totals[0]
    assert second.totals[1] is None
    enabled_s, running_s = second.times[0]
    assert enabled_s == running_s > 0
    assert statuses(counters) == {CLOCK: "ok", ABSENT: "missing"}


def test_an_unprivileged_user_gets_faults_right_and_is_denied_what_would_read_0(absent, backend):
    wanted = "poll" if backend == "poll" else "auto"  # nobody else may sample at all levels

    def measure():
        groups = [["CS"], ["MIGRATIONS"], ["FAULTS"], [ABSENT], ["SYSTEMWIDE:CPU-CLOCK"]]
        with open_counters(groups, pid=os.getpid(), scope="tree", backend=wanted) as counters:
            accounts = []
            for _ in range(3):  # what the fork left to copy is over after the first
                bytearray(80_000_000)
                usage = resource.getrusage(resource.RUSAGE_SELF)
                accounts.append((counters.read().totals, usage.ru_minflt))
            return perf_levels(), counters.describe(), *accounts[1:]

    levels, rows, (before, faults_before), (after, faults_after) = as_nobody(measure)

    # what the kernel's settings let an ordinary user count here
    needed = ["kernel", "kernel", "user", "user", "system"]
    allowed = [level in levels for level in needed]
    expected = ["ok" if yes else "denied" for yes in allowed]
    if allowed[3]:
        expected[3] = "missing"
    assert [row["status"] for row in rows] == expected
    assert [total is None for total in after] == [status != "ok" for status in expected]
    for row, column_level in zip(rows, needed, strict=True):
        if row["status"] == "denied":
            paranoid = 0 if column_level == "system" else 1
            assert "kernel.perf_event_paranoid is" in row["reason"]
            assert f"sudo sysctl kernel.perf_event_paranoid={paranoid}" in row["fix"]
    if rows[2]["status"] == "ok":
        assert faults_after - faults_before > 16_000
        assert near(after[2] - before[2], faults_after - faults_before)
        assert rows[2]["attr"]["exclude_kernel"] is ("kernel" not in levels)
        assert ("user mode only" in (rows[2]["reason"] or "")) is ("kernel" not in levels)


@pytest.mark.perf("system")
def test_a_pmu_with_a_cpumask_is_opened_on_those_cpus_only(sysfs, clock):
    (first, *_) = pmu.online_cpus()
    add_pmu(sysfs, "uncore", CLOCK_TYPE, cpumask=first)
    add_pmu(sysfs, "nowhere", CLOCK_TYPE, cpumask=65535)
    groups = [["uncore/config=0/", "FAULTS"], ["nowhere/config=0/"]]

    with open_counters(groups, pid=os.getpid(), scope="system") as counters:
        sample = counters.read()
        rows = {row["column"]: row for row in counters.describe()}

    assert sample.totals[0] > 0
    assert sample.totals[2] is None
    assert sample.times[0][0] == pytest.approx(sample.times[0][1])
    assert rows["nowhere/config=0/"]["reason"] == "none of its CPUs is online"


def test_a_hybrid_cpu_is_asked_on_every_core_pmu(sysfs):
    (sysfs / "devices/system/cpu/online").write_text("0-1")
    add_pmu(sysfs, "cpu_core", 4, cpus="0")
    add_pmu(sysfs, "cpu_atom", 10, cpus="1")
    columns = plan.columns([["CYCLES", "cpu_core/config=1/"], ["FAULTS"]], "system")

    groups = plan.kernel_groups(columns)

    assert [group.pmu_type for group in groups] == [0, 10, 4, 0]
    assert groups[0].members == [(columns[2].spec, columns[2])]
    assert [group.cpus for group in groups[1:]] == [(1,), (0,), (0,)]
    assert groups[1].key == groups[2].key != groups[3].key
    assert groups[1]._attr(columns[0].spec, place=0).config == 10 << 32


@pytest.mark.perf("user")
def test_a_scaled_total_never_falls(clock, monkeypatch):
    with open_counters([[CLOCK]], pid=os.getpid(), scope="tree") as counters:
        first = counters.read().totals[0]
        for section in counters._opened.sections.values():
            lower = [1] * len(section.columns), (1.0, 1.0)
            monkeypatch.setattr(section, "read", lambda lower=lower: lower)

        assert counters.read().totals[0] == first


@pytest.mark.perf("user")
def test_a_group_can_be_stopped():
    with open_counters([["FAULTS"]], pid=os.getpid(), scope="tree") as counters:
        counters.pause()
        before = counters.read().totals
        touch(2500)
        rested = counters.read().totals
        counters.resume()
        touch(2500)

        assert rested == before
        assert counters.read().totals[0] > before[0] + 2000
