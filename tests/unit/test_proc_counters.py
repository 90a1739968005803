"""Counters from /proc: the kernel's own accounts, whoever ends, and unknown is never 0."""

import contextlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pactmeter.counters import access, plan, proc
from pactmeter.counters.backends import open_counters
from pactmeter.errors import DeviceError
from unit.counter_target import CHURN, OTHER, TREE, Target

REFUSED = access.Verdict("denied", "perf is refused (EACCES)", "become root")


def refused(*names, scope="tree"):
    columns = plan.columns([[name] for name in names], scope)
    for column in columns:
        column.verdict = REFUSED
    return columns


def opened(*names, pid=None, scope="tree", **others):
    return proc.open_proc(refused(*names, scope=scope), pid or os.getpid(), **others)


def near(count, truth):
    return abs(count - truth) <= max(5, truth / 1000)


def until_told(target, counters):
    """Read at the shortest period until the target speaks."""
    while not target.has_spoken():
        counters.read()
        time.sleep(proc.MIN_PERIOD_S)
    return target.told()


@pytest.mark.parametrize("script", [TREE, CHURN], ids=["tree", "churn"])
@pytest.mark.parametrize("often", [False, True], ids=["once", "often"])
def test_faults_of_threads_and_reaped_children_agree_with_getrusage(script, often):
    with Target(script) as target:
        target.told()
        with opened("FAULTS", "MINOR-FAULTS", "MAJOR-FAULTS", pid=target.pid) as counters:
            target.go_on()
            faults, _ = until_told(target, counters) if often else target.told()
            both, minor, major = counters.read().totals

    assert faults > 25_000
    assert near(both, faults)
    assert both == minor + major


def test_switches_of_living_threads_agree_with_getrusage():
    with Target(
        """
done = threading.Event()
def work():
    go.wait()
    burn(400)
    done.wait()
early = [threading.Thread(target=work, daemon=True) for _ in range(3)]
for thread in early: thread.start()
time.sleep(0.1)
before = usage()
tell("ready")
go.set()
time.sleep(1.5)
end()
"""
    ) as target:
        target.told()
        with opened("CS", pid=target.pid) as counters:
            target.go_on()
            _, switches = until_told(target, counters)
            counted = counters.read().totals[0]

    assert switches > 500
    assert near(counted, switches)


def test_switches_never_exceed_those_of_getrusage_when_threads_end_unseen():
    with Target(TREE) as target:
        target.told()
        with opened("CS", pid=target.pid) as counters:
            target.go_on()
            _, switches = until_told(target, counters)
            counted = counters.read().totals[0]
            (row,) = counters.describe()

    assert 0 < counted <= switches + 5
    assert "threads that ended between two readings are counted up to the last" in row["reason"]


def test_cpu_time_of_ended_threads_and_reaped_children_is_kept():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    spin = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass"
    code = f"""
import subprocess, sys, threading
spin = {spin!r}
def work():
    end = time.thread_time() + 0.1
    while time.thread_time() < end: pass
import time
input()
for _ in range(3):
    thread = threading.Thread(target=work); thread.start(); thread.join()
    subprocess.run([sys.executable, "-c", spin])
print("done", flush=True)
input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as target:
        with opened("CPU-CLOCK", "TASK-CLOCK", pid=target.pid) as counters:
            target.stdin.write("\n")
            target.stdin.flush()
            reader = threading.Thread(target=target.stdout.readline)
            reader.start()
            while reader.is_alive():
                counters.read()
                reader.join(proc.MIN_PERIOD_S)
            cpu_ns, task_ns = counters.read().totals
        target.communicate("\n")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)

    truth_s = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    assert cpu_ns == task_ns
    assert 0.9 <= cpu_ns / 1e9 <= truth_s + 0.01
    assert cpu_ns / 1e9 == pytest.approx(truth_s, abs=0.08)


def test_a_program_keeps_its_counts_through_exec():
    touch = "import mmap; m = mmap.mmap(-1, 4096 * 4096)\nfor p in range(4096): m[p * 4096] = 1\n"
    again = touch + "print('done', flush=True); input()"
    code = f"import os, sys; input()\n{touch}\nos.execv(sys.executable, ['x', '-c', {again!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as target:
        with opened("FAULTS", "CS", pid=target.pid) as counters:
            target.stdin.write("\n")
            target.stdin.flush()
            target.stdout.readline()
            faults, switches = counters.read().totals
        target.communicate("\n")
    assert 8192 <= faults < 20_000
    assert switches > 0


def test_an_excluded_child_is_left_out_and_what_others_do_is_counted():
    for excluded in (True, False):
        with Target(OTHER) as target:
            child = target.told()
            exclude = {child} if excluded else ()
            with opened("FAULTS", pid=target.pid, exclude_pids=exclude) as counters:
                target.go_on()
                target.told()
                (faults,) = counters.read().totals
        if excluded:
            assert faults < 1000
        else:
            assert faults >= 20_000


def test_a_process_that_is_gone_keeps_its_last_counts_and_is_no_error():
    with Target(TREE) as target:
        target.told()
        counters = opened("FAULTS", "CS", "CPU-CLOCK", pid=target.pid)
        target.go_on()
        target.told()
        last = counters.read()
    after = counters.read()
    counters.close()

    assert after.totals >= last.totals
    assert None not in after.totals
    assert "up to the last reading" in counters.describe()[0]["reason"]
    with pytest.raises(DeviceError, match="does not exist"):
        opened("FAULTS", pid=target.pid)


def test_the_machine_counts_at_least_what_one_program_does():
    names = ("FAULTS", "MINOR-FAULTS", "CS", "CPU-CLOCK", "MIGRATIONS")
    with opened(*names, scope="system") as counters:
        first_s = time.monotonic()
        subprocess.run([sys.executable, "-c", "bytearray(40_000_000)"], check=True)
        time.sleep(0.3)
        faults, minor, switches, clock_ns, migrations = counters.read().totals
        wall_s = time.monotonic() - first_s
    rows = counters.describe()

    assert faults >= minor >= 9000
    assert switches > 10
    assert clock_ns / 1e9 == pytest.approx(wall_s * os.cpu_count(), rel=0.2)
    assert migrations is None
    assert [row["status"] for row in rows] == ["ok"] * 4 + ["denied"]
    assert {row["scope"] for row in rows} == {"system"}


@pytest.mark.perf("system")
def test_the_clock_of_a_machine_is_perfs():
    with (
        opened("CPU-CLOCK", "CS", scope="system") as mine,
        open_counters([["CPU-CLOCK"], ["CS"]], pid=os.getpid(), scope="system") as perfs,
    ):
        time.sleep(1)
        truth = perfs.read().totals
        counted = mine.read().totals
    assert counted[0] == pytest.approx(truth[0], rel=0.05)
    assert counted[1] == pytest.approx(truth[1], rel=0.2, abs=50)


def test_what_proc_does_not_tell_is_unknown_and_says_why():
    names = ("CYCLES", "FAULTS:u", "CS:k", "CGROUP-SWITCHES", "FAULTS")
    with opened(*names) as counters:
        sample = counters.read()
    rows = counters.describe()

    assert [total is None for total in sample.totals] == [True, True, False, True, False]
    assert [times is None for times in sample.times] == [True, True, False, True, False]
    assert [row["status"] for row in rows] == ["denied", "denied", "ok", "denied", "ok"]
    assert rows[0]["reason"] == "perf is refused (EACCES); /proc does not tell it either"
    assert {row["fix"] for row in rows} == {"become root"}
    assert all(row["backend"] == "proc" and row["attr"] is None for row in rows)


def test_it_stands_in_for_counters_of_perf():
    with (
        opened("FAULTS", "MIGRATIONS") as mine,
        open_counters([["FAULTS"], ["MIGRATIONS"]], pid=os.getpid(), scope="tree") as perfs,
    ):
        assert mine.columns == perfs.columns
        assert mine.groups == perfs.groups
        assert mine.stale_reads == 0
        sample, theirs = mine.read(), perfs.read()
        assert [row.keys() for row in mine.describe()] == [row.keys() for row in perfs.describe()]
        assert type(sample) is type(theirs)
        ((enabled_s, running_s), _) = sample.times
        assert 0 < enabled_s == running_s < 60


# A made-up /proc, to hide, reap, adopt and lose processes at will.

LATE = 10**15
"""Ticks of a process that started after any opening."""


class FakeProc:
    """A /proc of one's own and, beside it, the truth."""

    def __init__(self, root):
        self.root = Path(root)
        self.processes = {}
        self.next = 100
        self.births = 0

    def fork(self, parent, start=None):
        pid, self.next = self.next, self.next + 1
        self.births += 1
        start = LATE + self.births if start is None else start
        thread = {"cs": 0, "migrations": 0}
        self.processes[pid] = {
            "parent": parent, "start": start, "own": 0, "reaped": 0, "threads": {pid: thread}
        }  # fmt: skip
        self.write(pid)
        return pid

    def write(self, pid):
        process = self.processes[pid]
        folder = self.root / str(pid)
        tasks = folder / "task"
        tasks.mkdir(parents=True, exist_ok=True)
        words = ["0"] * 30
        words[0], words[1] = "S", str(process["parent"])
        words[7], words[8] = str(process["own"]), str(process["reaped"])
        words[17], words[19] = str(len(process["threads"])), str(process["start"])
        (folder / "stat").write_text(f"{pid} (a) b( c) {' '.join(words)}\n")
        for tid in {int(entry.name) for entry in tasks.iterdir()} - process["threads"].keys():
            shutil.rmtree(tasks / str(tid))
        for tid, thread in process["threads"].items():
            (tasks / str(tid)).mkdir(exist_ok=True)
            half = thread["cs"] // 2
            text = f"Name:\tx\nvoluntary_ctxt_switches:\t{half}\n"
            text += f"nonvoluntary_ctxt_switches:\t{thread['cs'] - half}\n"
            (tasks / str(tid) / "status").write_text(text)
            text = f"x\nse.nr_migrations      :        {thread['migrations']}\nnr_switches : 1\n"
            (tasks / str(tid) / "sched").write_text(text)

    def work(self, pid, amount):
        self.processes[pid]["own"] += amount
        for thread in self.processes[pid]["threads"].values():
            thread["cs"] += amount
            thread["migrations"] += amount
        self.write(pid)

    def thread(self, pid):
        tid, self.next = self.next, self.next + 1
        self.processes[pid]["threads"][tid] = {"cs": 0, "migrations": 0}
        self.write(pid)

    def end_thread(self, pid):
        threads = self.processes[pid]["threads"]
        if len(threads) > 1:
            del threads[max(threads)]
            self.write(pid)

    def end(self, pid, *, reaped):
        """End a process; its children become orphans."""
        process = self.processes.pop(pid)
        shutil.rmtree(self.root / str(pid))
        if reaped:
            parent = self.processes[process["parent"]]
            parent["reaped"] += process["own"] + process["reaped"]
            self.write(process["parent"])
        for child, other in self.processes.items():
            if other["parent"] == pid:
                other["parent"] = 1
                self.write(child)

    def exec(self, pid):
        """Let the youngest thread take over the process."""
        threads = self.processes[pid]["threads"]
        self.processes[pid]["threads"] = {pid: threads[max(threads)]}
        self.write(pid)


@pytest.fixture
def fake(tmp_path):
    return FakeProc(tmp_path)


ACTIONS = ["work", "work", "fork", "thread", "end_thread", "reap", "lose", "exec", "read", "race"]
STEPS = st.lists(
    st.tuples(st.sampled_from(ACTIONS), st.integers(0, 9), st.integers(0, 50)), max_size=60
)


@contextlib.contextmanager
def amid(opens, act):
    """Do something within a reading, after some files were opened."""
    real, left = os.open, [opens]

    def opening(*arguments, **more):
        left[0] -= 1
        if left[0] == -1:
            act()
        return real(*arguments, **more)

    with mock.patch.object(os, "open", opening):
        yield


@settings(max_examples=200)
@given(steps=STEPS)
def test_totals_never_fall_and_never_exceed_the_truth(steps):
    with tempfile.TemporaryDirectory() as folder:
        fake = FakeProc(folder)
        root = fake.fork(1, start=1)
        old = fake.fork(root, start=2)
        fake.work(root, 1000)
        fake.work(old, 500)
        fake.fork(1, start=1)  # no part of the tree
        outsider = fake.fork(root, start=3)
        tree, truth, lossless = [root, old], 0, True
        names = ("FAULTS", "CS", "MIGRATIONS", "CPU-CLOCK")
        with opened(*names, pid=root, exclude_pids={outsider}, root=fake.root) as counters:
            last = (0, 0, 0, 0)
            for action, which, amount in [*steps, ("read", 0, 0), ("read", 0, 0)]:
                pid = tree[which % len(tree)]
                fake.work(outsider, 7)
                if action == "work":
                    fake.work(pid, amount)
                    truth += amount
                elif action == "fork":
                    tree.append(fake.fork(pid))
                elif action in {"reap", "lose", "race"} and pid != root:
                    parent = fake.processes[pid]["parent"]
                    reaped = action != "lose" and parent in tree
                    lossless &= reaped and not any(
                        other["parent"] == pid for other in fake.processes.values()
                    )
                    tree.remove(pid)
                    if action == "race":
                        with amid(amount % 12, lambda p=pid, r=reaped: fake.end(p, reaped=r)):
                            totals = counters.read().totals
                        assert all(new >= old for new, old in zip(totals, last, strict=True))
                        assert totals[0] <= truth
                        last = totals
                    if pid in fake.processes:
                        fake.end(pid, reaped=reaped)
                elif action in {"thread", "end_thread", "exec"}:
                    getattr(fake, action)(pid)
                elif action == "read":
                    totals = counters.read().totals
                    assert None not in totals
                    assert all(new >= old for new, old in zip(totals, last, strict=True))
                    assert totals[0] <= truth
                    assert totals[0] == truth or not lossless
                    last = totals


def test_a_child_seen_alive_is_not_counted_again_when_it_is_reaped(fake):
    root = fake.fork(1, start=1)
    with opened("FAULTS", pid=root, root=fake.root) as counters:
        child = fake.fork(root)
        fake.work(child, 100)
        assert counters.read().totals == (100,)
        fake.work(child, 11)
        fake.end(child, reaped=True)
        for _ in range(3):
            assert counters.read().totals == (111,)
        assert counters.describe()[0]["reason"] == "counted from /proc; perf is refused (EACCES)"


def test_a_child_whose_parent_ignores_its_end_keeps_what_was_seen_and_says_so(fake):
    root = fake.fork(1, start=1)
    with opened("FAULTS", pid=root, root=fake.root) as counters:
        child = fake.fork(root)
        fake.work(child, 100)
        counters.read()
        fake.work(child, 11)
        fake.end(child, reaped=False)
        for _ in range(3):
            assert counters.read().totals == (100,)
        unseen = fake.fork(root)
        fake.work(unseen, 300)
        fake.end(unseen, reaped=True)
        assert counters.read().totals == (400,)
        assert "no process of the tree waited for" in counters.describe()[0]["reason"]


def test_a_child_reaped_amid_a_reading_is_counted_once(fake):
    root = fake.fork(1, start=1)
    with opened("FAULTS", pid=root, root=fake.root) as counters:
        child = fake.fork(root)
        fake.work(child, 100)
        counters.read()
        fake.work(child, 11)
        with amid(1, lambda: fake.end(child, reaped=True)):  # its parent has been read already
            assert counters.read().totals == (100,)
        for _ in range(3):
            assert counters.read().totals == (111,)
        fake.work(root, 1)
        assert counters.read().totals == (112,)
        assert counters.describe()[0]["reason"] == "counted from /proc; perf is refused (EACCES)"


def test_children_reaped_unseen_do_not_pay_for_one_that_nobody_waited_for(fake):
    root = fake.fork(1, start=1)
    with opened("FAULTS", pid=root, root=fake.root) as counters:
        unseen, child = fake.fork(root), fake.fork(root)
        fake.work(unseen, 300)
        fake.end(unseen, reaped=True)
        fake.work(child, 100)
        assert counters.read().totals == (400,)
        unseen = fake.fork(root)
        fake.work(unseen, 50)
        fake.end(unseen, reaped=True)
        assert counters.read().totals == (450,)
        fake.end(child, reaped=False)
        assert counters.read().totals == (450,)
        fake.work(root, 5)
        assert counters.read().totals == (455,)


def test_a_grandchild_and_its_parent_reaped_between_two_readings_are_counted_once(fake):
    root = fake.fork(1, start=1)
    with opened("FAULTS", pid=root, root=fake.root) as counters:
        child = fake.fork(root)
        grandchild = fake.fork(child)
        fake.work(child, 10)
        fake.work(grandchild, 100)
        assert counters.read().totals == (110,)
        fake.end(grandchild, reaped=True)
        fake.end(child, reaped=True)
        for _ in range(3):
            assert counters.read().totals == (110,)


def test_an_orphan_goes_on_being_counted(fake):
    root = fake.fork(1, start=1)
    with opened("FAULTS", pid=root, root=fake.root) as counters:
        child = fake.fork(root)
        orphan = fake.fork(child)
        counters.read()
        fake.end(child, reaped=True)
        fake.work(orphan, 100)
        assert counters.read().totals == (100,)


def test_a_process_number_used_again_starts_a_new_count(fake):
    root = fake.fork(1, start=1)
    with opened("FAULTS", pid=root, root=fake.root) as counters:
        child = fake.fork(root)
        fake.work(child, 100)
        counters.read()
        fake.end(child, reaped=True)
        fake.next = child
        fake.work(fake.fork(root), 5)
        assert counters.read().totals == (105,)
        fake.end(child, reaped=True)
        fake.next = child
        fake.work(fake.fork(1), 70)
        assert counters.read().totals == (105,)
        assert counters.read().totals == (105,)


def test_a_process_that_was_there_before_is_counted_from_when_it_is_found(fake):
    root = fake.fork(1, start=1)
    with opened("FAULTS", "CS", pid=root, root=fake.root) as counters:
        missed = fake.fork(root, start=2)
        fake.work(missed, 100)
        assert counters.read().totals == (0, 0)
        fake.work(missed, 4)
        assert counters.read().totals == (4, 4)


def test_a_process_that_is_being_released_does_not_read_as_zero(fake):
    root = fake.fork(1, start=1)
    with opened("FAULTS", pid=root, root=fake.root) as counters:
        child = fake.fork(root)
        fake.work(child, 100)
        counters.read()
        fake.processes[child] |= {"own": 0, "threads": {}}
        fake.write(child)
        assert counters.read().totals == (100,)
        fake.end(child, reaped=False)
        fake.work(root, 5)
        assert counters.read().totals == (105,)


@pytest.mark.parametrize("hidden", ["process", "everything"])
def test_where_proc_is_hidden_nothing_is_known_and_the_reason_given(fake, hidden):
    root = fake.root if hidden == "process" else fake.root / "absent"
    for scope in ("tree", "system"):
        with opened("FAULTS", "CS", root=root, scope=scope) as counters:
            sample = counters.read()
        assert sample.totals == (None, None)
        assert sample.times == (None, None)
        row = counters.describe()[0]
        assert row["status"] == "denied"
        assert ("hidepid" if scope == "tree" else "cannot be used") in row["reason"]


def test_a_process_closed_for_a_while_keeps_its_last_counts(fake, monkeypatch):
    root = fake.fork(1, start=1)
    with opened("FAULTS", pid=root, root=fake.root) as counters:
        fake.work(root, 100)
        counters.read()
        fake.work(root, 1)
        real = os.open

        def closed(path, *others, **more):
            if path == f"{fake.root}/{root}/stat":
                raise PermissionError(13, "closed")
            return real(path, *others, **more)

        with monkeypatch.context() as patch:
            patch.setattr(os, "open", closed)
            assert counters.read().totals == (100,)
        assert counters.stale_reads == 1
        assert counters.read().totals == (101,)


def test_a_kernel_that_does_not_tell_migrations_leaves_them_unknown(fake):
    root = fake.fork(1, start=1)
    shutil.move(fake.root / f"{root}/task/{root}/sched", fake.root / "sched")
    with opened("MIGRATIONS", "CS", pid=root, root=fake.root) as counters:
        assert counters.read().totals == (None, 0)
    assert "/proc does not tell it" in counters.describe()[0]["reason"]


def test_a_program_that_another_thread_executes_counts_no_thread_twice(fake):
    root = fake.fork(1, start=1)
    with opened("CS", pid=root, root=fake.root) as counters:
        fake.work(root, 100)
        fake.thread(root)
        fake.work(root, 30)
        assert counters.read().totals == (160,)
        fake.exec(root)
        assert counters.read().totals == (160,)
        fake.work(root, 1)
        assert counters.read().totals == (161,)
