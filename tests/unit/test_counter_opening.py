"""What cannot be counted has a status, a reason and a fix, and wrong arguments are errors."""

import errno
import json
import os
import subprocess
import sys
from functools import partial

import pytest

from pactmeter.counters import backends, opening, tree
from pactmeter.errors import ConfigError, DeviceError
from pactmeter.kernel import perf
from support.pmus import CLOCK, small_pmu
from unit.counter_target import OTHER, Target, as_nobody

open_counters = partial(backends.open_counters, backend="poll")


@pytest.mark.root
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


@pytest.mark.perf("user")
def test_a_zombie_is_gone_too(clock):
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

        with pytest.raises(DeviceError, match="does not exist"):
            open_counters([["FAULTS"], [CLOCK]], pid=child.pid, scope="tree")


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


@pytest.mark.perf("user")
@pytest.mark.parametrize(("hard", "status"), [(4096, "ok"), (14, "denied")])
def test_descriptors_that_run_out_raise_the_limit_or_give_no_figure(hard, status):
    with Target("early = started(8, 1)\ntell('ready')\ngo.set()") as target:
        target.told()
        code = (
            "import json, resource, pactmeter.counters.backends as g\n"
            f"resource.setrlimit(resource.RLIMIT_NOFILE, (10, {hard}))\n"
            f"c = g.open_counters([['FAULTS'], ['MINOR-FAULTS']], pid={target.pid}, scope='tree',"
            " backend='poll')\n"
            "print(json.dumps([c.describe(), c.read().totals]))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        )
    rows, totals = json.loads(done.stdout)

    assert [row["status"] for row in rows] == [status] * 2
    assert [total is None for total in totals] == [status == "denied"] * 2
    assert status == "ok" or "ulimit -Hn" in rows[0]["fix"]


@pytest.mark.perf("user")
def test_a_group_that_does_not_fit_the_pmu_says_split_it(clock, monkeypatch):
    small_pmu(monkeypatch, room=1)
    groups = [[CLOCK, "clock/config1=1/"]]

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


@pytest.mark.perf("user")
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


@pytest.mark.perf("user")
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
