"""Counters against the kernel's own accounts: every thread, once, and unknown is never 0."""

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactmeter.counters import access, opening, plan, tree
from pactmeter.counters.groups import open_counters
from pactmeter.counters.names import parse
from pactmeter.counters.reading import Pool, Section
from pactmeter.counters.scaling import Part, combine, whole_ns
from pactmeter.errors import ConfigError, DeviceError
from pactmeter.kernel import perf, pmu

NOBODY = 65534
DEFAULT = [["MIGRATIONS"], ["FAULTS"], ["CACHE-MISSES"], ["CYCLES"]]
TSC_TYPE = int(Path("/sys/bus/event_source/devices/msr/type").read_text())

TARGET = """
import json, mmap, os, resource, subprocess, sys, threading, time

def burn(rounds):
    for _ in range(rounds):
        with mmap.mmap(-1, 100 * mmap.PAGESIZE) as pages:
            for page in range(100):
                pages[page * mmap.PAGESIZE] = 1
        time.sleep(0.0005)

def usage():
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return [sum(u.ru_minflt + u.ru_majflt for u in both), sum(u.ru_nvcsw + u.ru_nivcsw for u in both)]

def tell(what):
    print(json.dumps(what), flush=True)
    sys.stdin.readline()

def started(count, *arguments):
    threads = [threading.Thread(target=burn_when_told, args=arguments) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads

go = threading.Event()
def burn_when_told(rounds):
    go.wait()
    burn(rounds)

def end():
    after = usage()
    tell([b - a for a, b in zip(before, after)])
"""

TREE = """
early = started(2, 60)
before = usage()
tell("ready")
go.set()
late = started(2, 60)
code = "import mmap\\nm = mmap.mmap(-1, 3000 * 4096)\\nfor p in range(3000): m[p * 4096] = 1"
subprocess.run([sys.executable, "-S", "-c", code], check=True)
for thread in early + late:
    thread.join()
end()
"""

CHURN = """
before = usage()
tell("ready")
go.set()
for _ in range(150):
    for thread in started(4, 1):
        thread.join()
end()
"""

OTHER = """
child = subprocess.Popen([sys.executable, "-c", SOURCE + '''
tell("ready")
burn(200)
tell("done")
'''], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
child.stdout.readline()
tell(child.pid)
child.stdin.write("\\\\n"); child.stdin.flush()
child.stdout.readline()
tell("done")
child.communicate("\\\\n")
"""


class Target:
    """A program that waits at each line it prints until it is told to go on."""

    def __init__(self, script: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"SOURCE = {TARGET!r}\n{TARGET}\n{script}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def told(self):
        return json.loads(self._process.stdout.readline())

    def go_on(self) -> None:
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self._process.communicate("\n" * 5)
        assert self._process.returncode == 0


def near(count: int, truth: int) -> bool:
    return abs(count - truth) <= max(5, truth / 1000)


def statuses(counters) -> dict[str, str]:
    return {row["column"]: row["status"] for row in counters.describe()}


def as_nobody(function):
    """Return what a function returns in a child process that has given up being root."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setuid(NOBODY)
        os.write(writing, json.dumps(function()).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return json.loads(text)


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
            while not any(c.read() for _ in ()) and len(readings) < 2000:
                readings.append(c.read())
            faults, switches = target.told()
            last = c.read()

    assert near(last.totals[0], faults)
    assert near(last.totals[1], switches)
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
            before = counters.read().totals, resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            bytearray(20_000_000)
            after = counters.read().totals, resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            return counters.describe(), before, after

    rows, (before, faults_before), (after, faults_after) = as_nobody(measure)

    assert [row["status"] for row in rows] == ["denied", "denied", "ok", "missing", "denied"]
    assert [total is None for total in after] == [True, True, False, True, True]
    assert faults_after - faults_before > 4_000
    assert near(after[2] - before[2], faults_after - faults_before)
    assert rows[2]["attr"]["exclude_kernel"]
    assert "user mode only" in rows[2]["reason"]
    assert "kernel.perf_event_paranoid is" in rows[0]["reason"]
    assert "sudo sysctl kernel.perf_event_paranoid=1" in rows[0]["fix"]
    assert "sudo sysctl kernel.perf_event_paranoid=0" in rows[4]["fix"]


def test_another_users_process_is_denied_with_the_reason():
    with Target("tell('ready')") as target:
        target.told()

        def measure():
            with open_counters([["FAULTS"]], pid=target.pid, scope="tree") as counters:
                return counters.describe(), counters.read().totals

        ((row,), totals) = as_nobody(measure)

    assert totals == [None]
    assert row["status"] == "denied"
    assert "belongs to another user" in row["reason"]


def test_an_event_that_could_only_read_0_is_not_opened():
    with open_counters([["CS:u"]], pid=os.getpid(), scope="tree") as counters:
        (row,) = counters.describe()

        assert counters.read().totals == (None,)
    assert (row["status"], row["fix"]) == ("missing", "ask for 'CS'")


def test_a_process_that_is_gone_is_a_clear_error():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()

    with pytest.raises(DeviceError, match=f"process {gone.pid} does not exist"):
        open_counters([["FAULTS"]], pid=gone.pid, scope="tree")


def test_a_zombie_is_gone_too():
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    with pytest.raises(DeviceError, match="does not exist"):
        open_counters([["FAULTS"], ["msr/tsc/"]], pid=child.pid, scope="tree")

    child.wait()


@pytest.mark.parametrize(
    "groups", [[["FAULTS"], ["faults"]], [["CS", "cs"]], [[]], ["FAULTS"], [["FAULT"]]]
)
def test_wrong_groups_are_errors_before_anything_opens(groups):
    with pytest.raises(ConfigError):
        open_counters(groups, pid=os.getpid(), scope="tree")


def test_a_repeated_event_is_named():
    with pytest.raises(ConfigError, match="'faults' appears twice"):
        open_counters([["FAULTS"], ["faults"]], pid=os.getpid(), scope="tree")


def test_no_groups_are_no_columns():
    with open_counters([], pid=os.getpid(), scope="tree") as counters:
        assert counters.read()[1:] == ((), ())


@pytest.mark.parametrize(("hard", "status"), [(4096, "ok"), (14, "denied")])
def test_descriptors_that_run_out_raise_the_limit_or_give_no_figure(hard, status):
    with Target("early = started(8, 1)\ntell('ready')\ngo.set()") as target:
        target.told()
        code = (
            "import json, resource, pactmeter.counters.groups as g\n"
            f"resource.setrlimit(resource.RLIMIT_NOFILE, (10, {hard}))\n"
            f"c = g.open_counters([['FAULTS'], ['CS']], pid={target.pid}, scope='tree')\n"
            "print(json.dumps([c.describe(), c.read().totals]))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        )
    rows, totals = json.loads(done.stdout)

    assert [row["status"] for row in rows] == [status] * 2
    assert [total is None for total in totals] == [status == "denied"] * 2
    assert status == "ok" or "ulimit -Hn" in rows[0]["fix"]


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
    sysfs("cpu_core", 4, cpus="0")
    sysfs("cpu_atom", 10, cpus="1")
    columns = plan.columns([["CYCLES", "cpu_core/config=1/"], ["FAULTS"]], "system")

    groups = plan.kernel_groups(columns)

    assert [group.pmu_type for group in groups] == [0, 4, 10, 0]
    assert groups[0].members == [columns[2]]
    assert [group.cpus for group in groups[1:]] == [(0,), (1,), (0,)]
    assert groups[1].key == groups[2].key != groups[3].key
    assert groups[2]._attr(columns[0].spec, leads=True).config == 10 << 32


def test_a_group_that_does_not_fit_the_pmu_says_split_it(monkeypatch):
    real = perf.open_event

    def small_pmu(attr, *, pid, cpu, group_fd=-1, flags=0):
        if group_fd >= 0 and attr.type == TSC_TYPE and attr.config1 == 1:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return real(attr, pid=pid, cpu=cpu, group_fd=group_fd, flags=flags)

    monkeypatch.setattr(perf, "open_event", small_pmu)
    groups = [["msr/tsc/", "msr/tsc,config1=1/"]]

    with open_counters(groups, pid=os.getpid(), scope="tree") as counters:
        rows = counters.describe()
        totals = counters.read().totals

    assert [row["status"] for row in rows] == ["ok", "missing"]
    assert "group larger than the PMU: it holds 1 of 2 events" in rows[1]["reason"]
    assert rows[1]["fix"] == "split it into several groups"
    assert totals[1] is None


@pytest.mark.parametrize(
    ("code", "status", "told"),
    [
        (errno.ENODEV, "missing", "does not count it"),
        (errno.EOPNOTSUPP, "missing", "does not count it"),
        (errno.ENOSYS, "missing", "no perf events"),
        (errno.EINVAL, "missing", "single processes"),
        (errno.EMFILE, "denied", "open files"),
        (errno.EPERM, "denied", "CAP_PERFMON"),
        (errno.ENOSPC, "missing", "refuses it"),
    ],
)
def test_every_refusal_has_a_status_and_a_reason(monkeypatch, code, status, told):
    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(perf, "open_event", refuse)

    with open_counters([["CYCLES"]], pid=os.getpid(), scope="tree") as counters:
        (row,) = counters.describe()
        assert counters.read().totals == (None,)

    assert row["status"] == status
    assert told in row["reason"]


def test_a_thread_that_may_not_be_counted_is_told(monkeypatch):
    with Target("early = started(2, 1)\ntell('ready')\ngo.set()") as target:
        target.told()
        real = perf.open_event

        def refuse_others(attr, *, pid, cpu, group_fd=-1, flags=0):
            if pid != target.pid:
                raise OSError(errno.EACCES, os.strerror(errno.EACCES))
            return real(attr, pid=pid, cpu=cpu, group_fd=group_fd, flags=flags)

        monkeypatch.setattr(perf, "open_event", refuse_others)
        with open_counters([["FAULTS"]], pid=target.pid, scope="tree") as counters:
            (row,) = counters.describe()
            target.go_on()

    assert row["status"] == "ok"
    assert "(EACCES) and 1 more" in row["reason"]


def test_threads_that_never_settle_are_told(monkeypatch):
    real, calls = tree.threads, []

    def ever_more(pid, exclude_pids=()):
        calls.append(pid)
        return [*real(pid, exclude_pids), 2**22 - len(calls)]

    monkeypatch.setattr(opening.tree, "threads", ever_more)

    with open_counters([["FAULTS"]], pid=os.getpid(), scope="tree") as counters:
        (row,) = counters.describe()
        assert counters.read().totals[0] is not None

    assert row["status"] == "ok"
    assert "some may not be counted" in row["reason"]


def test_children_are_found_also_where_the_kernel_keeps_no_list(monkeypatch):
    with Target(OTHER) as target:
        child = target.told()
        listed = tree.threads(target.pid)
        monkeypatch.setattr(tree, "_kernel_lists_children", lambda: False)

        assert sorted(tree.threads(target.pid)) == sorted(listed)
        assert child in listed
        assert child not in tree.threads(target.pid, [child])
        target.go_on()


class Readings:
    """Stands for a `GroupReader`: gives readings and errors in turn, the last for ever."""

    def __init__(self, *readings) -> None:
        self._left = list(readings)

    def read(self):
        reading = self._left.pop(0) if len(self._left) > 1 else self._left[0]
        if isinstance(reading, int):
            raise OSError(reading, os.strerror(reading))
        return reading


def pool(*readings) -> Pool:
    made = Pool(1)
    made.add(-1, [0])
    made._readers = [Readings(*readings)]
    return made


def test_echild_is_tried_again_and_the_last_value_stands_if_it_persists():
    section = Section([0], shared=False)
    section.pools[1] = pool(errno.ECHILD, errno.ECHILD, (1, 10, 10, 7), errno.ECHILD)

    assert section.read() == ([7], (1e-8, 1e-8))
    assert section.read() == ([7], (1e-8, 1e-8))
    assert section.pools[1].stale == 1


def test_what_was_never_read_is_unknown():
    section = Section([0], shared=False)
    section.pools[1] = pool((1, 10, 10, 7))
    section.pools[2] = pool(errno.ECHILD)

    assert section.read() == (None, None)
    assert Section([0], shared=True).read() == (None, None)


def test_a_dead_descriptor_is_an_error():
    with pytest.raises(OSError, match="Bad file"):
        pool(errno.EBADF).refresh()


def test_the_core_pmus_of_a_hybrid_cpu_add_up():
    both = Pool(2)
    both.add(-1, [0, 1])
    both.add(-1, [1, None])
    both._readers = [Readings((2, 100, 60, 5, 6)), Readings((2, 100, 40, 10, 99))]

    both.refresh()

    assert both.counts == [5, 16]
    assert (both.enabled_ns, both.running_ns) == (100, 100)


def test_a_scaled_total_never_falls(monkeypatch):
    with open_counters([["msr/tsc/"]], pid=os.getpid(), scope="tree") as counters:
        first = counters.read().totals[0]
        for section in counters._opened.sections.values():
            monkeypatch.setattr(section, "read", lambda: ([1] * len(section.columns), (1.0, 1.0)))

        assert counters.read().totals[0] == first


counts = st.integers(0, 2**62)
times_ns = st.integers(0, 10**15)


@given(count=counts, enabled=times_ns, late=st.integers(0, 1_000_000))
def test_an_unshared_count_is_exact(count, enabled, late):
    part = Part((count,), enabled, enabled, enabled + late)

    scaled = combine([part])

    assert scaled.counts == (count if enabled else 0,)
    assert scaled.enabled_ns == scaled.running_ns


@given(
    rate=st.integers(0, 10),
    shares=st.lists(st.tuples(times_ns, st.integers(1, 10**15)), min_size=1, max_size=8),
)
def test_a_steady_rate_is_recovered_from_any_shares(rate, shares):
    parts = [
        Part((rate * running,), running, running, running + hidden) for hidden, running in shares
    ]

    scaled = combine(parts)

    truth = rate * sum(whole_ns(p.enabled_ns, p.running_ns, p.reference_ns) for p in parts)
    assert scaled.counts == (truth,)


@given(
    st.lists(
        st.tuples(counts, times_ns, times_ns, times_ns).map(lambda t: Part((t[0],), *t[1:])),
        min_size=1,
    )
)
def test_scaling_never_loses_a_count_that_was_made(parts):
    scaled = combine(parts)

    if scaled.counts is None:
        assert all(part.running_ns == 0 for part in parts)
    else:
        assert scaled.counts[0] >= sum(part.counts[0] for part in parts if part.running_ns)
        assert scaled.running_ns <= scaled.enabled_ns


def test_running_0_is_unknown_but_a_target_that_slept_is_0():
    assert combine([Part((0,), 5_000_000, 0, 5_000_000)]).counts is None
    assert combine([Part((0,), 0, 0, 0)]).counts == (0,)


def test_a_target_never_counted_is_taken_to_be_like_the_others():
    seen, unseen = Part((10,), 10**9, 10**9, 10**9), Part((0,), 10**9, 0, 10**9)

    assert combine([seen, unseen]).counts == (20,)


def test_an_unknown_machine_has_no_system_call(monkeypatch):
    monkeypatch.setattr(perf.platform, "machine", lambda: "vax")

    with pytest.raises(OSError, match="not known for vax"):
        perf.open_event(perf.counting_attr(1, 0), pid=0, cpu=-1)


def test_a_short_group_read_is_an_error():
    null = os.open(os.devnull, os.O_RDONLY)

    with pytest.raises(OSError, match="short read"):
        perf.GroupReader(null, 1).read()

    os.close(null)


def test_a_group_can_be_stopped():
    with open_counters([["FAULTS"]], pid=os.getpid(), scope="tree") as counters:
        perf.disable(counters._opened.descriptors[0])
        before = counters.read().totals
        bytearray(10_000_000)

        assert counters.read().totals == before
    assert access.explain(OSError(errno.ENOENT, ""), parse("CYCLES"), "tree").status == "missing"
