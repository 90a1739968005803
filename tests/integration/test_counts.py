"""An independent count agrees, and every way of counting says what it counted."""

import itertools
import json

import pytest

from pactmeter.analysis.energy import energies
from pactmeter.store.table import read_table

PROGRAM = """
    import ctypes, json, mmap, os, resource, sys, threading, time
    from pactmeter import PACT

    def touch(pages):
        block = mmap.mmap(-1, pages * 4096)
        for page in range(pages):
            block[page * 4096] = 1
        block.close()

    def thread(go, done):
        for _ in range(50):
            go.wait()
            touch(150)
            time.sleep(0.001)
        done.wait()

    go, done = threading.Event(), threading.Event()
    early = [threading.Thread(target=thread, args=(go, done)) for _ in range(2)]
    for t in early: t.start()

    @PACT(events_groups=[["FAULTS"], ["CONTEXT-SWITCHES"]], perf_measure_period=0.01)
    def work():
        before = resource.getrusage(resource.RUSAGE_SELF)
        late = [threading.Thread(target=thread, args=(go, done)) for _ in range(2)]
        for t in late: t.start()
        go.set()
        for _ in range(200): time.sleep(0.001)
        done.set()
        for t in early + late: t.join()
        after = resource.getrusage(resource.RUSAGE_SELF)
        return (after.ru_minflt + after.ru_majflt - before.ru_minflt - before.ru_majflt,
                after.ru_nvcsw + after.ru_nivcsw - before.ru_nvcsw - before.ru_nivcsw)
    print(json.dumps(work()))
"""


@pytest.mark.perf("kernel")
def test_faults_and_switches_of_a_four_thread_program_agree_with_getrusage(program):
    done = program(PROGRAM)
    assert done.code == 0, done.err
    faults, switches = json.loads(done.out)
    assert faults > 25000
    assert switches > 400
    run = done.run()
    _, rows = read_table(run.files.counters)
    rows = list(rows)
    for column, truth in (("faults", faults), ("context-switches", switches)):
        by_rows = sum(v for v in run.columns[column] if v is not None)
        index = 2 if column == "faults" else 3
        by_bins = sum(int(row[index]) for row in rows)
        assert by_bins == by_rows
        assert abs(by_bins - truth) <= max(5, 0.001 * truth)


@pytest.mark.perf("user")
def test_the_bins_of_counters_lie_end_to_end_through_each_call(program):
    done = program(
        """
        import time
        from pactmeter import PACT
        @PACT(measure_period=0.2)
        def work(): time.sleep(0.7)
        work()
        start = time.monotonic()
        time.sleep(0.2)
        print(time.monotonic() - start)
        work()
        """
    )
    pause_s = float(done.out)
    run = done.run()
    rows = list(read_table(run.files.counters)[1])
    edges = [(float(row[0]), float(row[0]) + float(row[1])) for row in rows]
    jumps = [b[0] - a[1] for a, b in itertools.pairwise(edges)]
    assert sum(jump > 1e-5 for jump in jumps) == 1
    assert max(jumps) == pytest.approx(pause_s, abs=0.05)
    assert sum(b - a for a, b in edges) == pytest.approx(run.duration_s, abs=0.01)
    assert len(rows) > 100


@pytest.mark.perf("user")
@pytest.mark.usefixtures("gauge")
def test_calls_in_quick_succession_lose_no_event_and_no_energy(program):
    done = program(
        """
        import mmap
        from pactmeter import PACT
        @PACT(events_groups=[["FAULTS"]])
        def work():
            with mmap.mmap(-1, 100 * 4096) as block:
                for page in range(100): block[page * 4096] = 1
        for _ in range(40): work()
        """
    )
    assert done.code == 0, done.err
    run = done.run()
    faults = sum(v for v in run.columns["faults"] if v is not None)
    assert faults >= 40 * 100
    assert faults == sum(int(row[2]) for row in read_table(run.files.counters)[1])
    assert len(run.windows_s) == run.manifest["calls"] == 40
    (energy,) = energies(run)
    assert energy.energy_j == pytest.approx(100.0 * run.duration_s, rel=0.01)


@pytest.mark.perf("system")
def test_system_scope_counts_the_machine_and_a_prefix_one_event(program):
    done = program(
        """
        import time
        from pactmeter import PACT
        @PACT(events_groups=[["FAULTS"], ["SYSTEMWIDE:FAULTS"]], tracker_file_name="mixed.csv")
        def mixed(): return [bytearray(5_000_000) for _ in range(10)]
        @PACT(events_groups=[["FAULTS"]], scope="system", tracker_file_name="system.csv")
        def system(): return [bytearray(5_000_000) for _ in range(10)]
        mixed(); system()
        """
    )
    assert done.code == 0, done.err
    mixed, system = done.run("mixed.csv"), done.run("system.csv")
    scopes = {e["column"]: e["scope"] for e in mixed.manifest["events"]}
    assert scopes == {"faults": "tree", "systemwide:faults": "system"}
    tree = sum(mixed.columns["faults"])
    assert 10000 < tree <= sum(mixed.columns["systemwide:faults"])
    assert [e["scope"] for e in system.manifest["events"]] == ["system"]
    assert sum(system.columns["faults"]) > 10000
