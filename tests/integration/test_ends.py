"""However a program ends: what was recorded is kept, and the workload does not notice."""

import json
import os
import random
import select
import signal
import time

import pytest

from pactmeter.analysis.summary import summarize
from pactmeter.report.text import render
from pactmeter.store.files import is_live
from support.programs import settled, start_program

LONG = """
    import time
    from pactmeter import PACT
    @PACT(measure_period=0.1, perf_measure_period=0.01)
    def work():
        print("in", flush=True)
        time.sleep(60)
    work()
"""


def sampler_of(folder):
    return json.loads((folder / "PACT.json").read_text())["sampler"]["pid"]


@pytest.mark.parametrize("seed", range(6))
def test_after_sigkill_every_row_older_than_a_period_is_on_disk(tmp_path, seed):
    process = start_program(LONG, tmp_path)
    process.stdout.readline()
    time.sleep(random.Random(seed).uniform(0.2, 1.2))
    killed_s = time.monotonic()
    process.kill()
    process.communicate()
    run = settled(tmp_path / "PACT.csv")
    assert run.status == "incomplete"
    last_s = run.manifest["zero_monotonic_s"] + run.columns["read_s"][-1]
    assert killed_s - last_s < 0.1
    assert run.manifest["calls"] == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_whole_job_closes_the_call_and_leaves_no_process(tmp_path, number):
    process = start_program(LONG, tmp_path)
    process.stdout.readline()
    sampler = sampler_of(tmp_path)
    sampler_end = os.pidfd_open(sampler)  # readable once it has gone
    for pid in (sampler, process.pid):  # as a batch system does
        os.kill(pid, number)
    process.communicate()
    run = settled(tmp_path / "PACT.csv")
    assert process.returncode == -number
    assert (run.status, run.manifest["calls"]) == ("incomplete", 1)
    assert select.select([sampler_end], [], [], 5)[0]
    os.close(sampler_end)


@pytest.mark.usefixtures("gauge")
def test_ctrl_c_closes_the_call_and_the_run(tmp_path):
    process = start_program(LONG, tmp_path)
    process.stdout.readline()
    for pid in (sampler_of(tmp_path), process.pid):  # as a terminal does
        os.kill(pid, signal.SIGINT)
    _, err = process.communicate()
    assert "KeyboardInterrupt" in err
    run = settled(tmp_path / "PACT.csv")
    assert (run.status, run.manifest["calls"]) == ("complete", 1)


@pytest.mark.parametrize("seed", range(4))
def test_when_the_sampler_is_killed_the_function_returns_its_value_with_one_warning(program, seed):
    done = program(
        f"""
        import json, os, random, signal, time
        from pactmeter import PACT
        def sampler():
            with open("PACT.json") as file: return json.load(file)["sampler"]["pid"]
        @PACT(measure_period=0.1)
        def work():
            time.sleep(random.Random({seed}).uniform(0.3, 0.8))
            os.kill(sampler(), signal.SIGKILL)
            time.sleep(0.05)
            return "value"
        assert work() == "value"
        @PACT(measure_period=0.1)
        def again(): return 8
        assert again() == 8
        """
    )
    assert done.code == 0, done.err
    assert done.err.count("the sampler has died") == 1
    assert "Traceback" not in done.err
    run = done.run()
    assert run.status == "incomplete"
    assert "sampler" in run.reason
    assert len(run.windows_s) >= 2


@pytest.mark.usefixtures("gauge")
def test_a_sampler_that_is_stopped_does_not_hold_the_program_up(program):
    done = program(
        """
        import json, os, signal, time
        from pactmeter import PACT
        def sampler():
            with open("PACT.json") as file: return json.load(file)["sampler"]["pid"]
        @PACT
        def work(): return 1
        work()
        os.kill(sampler(), signal.SIGSTOP)
        start = time.monotonic()
        for _ in range(200): work()
        spent = time.monotonic() - start
        os.kill(sampler(), signal.SIGCONT)
        print(json.dumps(spent))
        """
    )
    assert done.code == 0, done.err
    assert json.loads(done.out) < 2.0
    run = done.settled()
    assert (run.status, run.manifest["calls"]) == ("complete", 201)


def test_os_exit_between_calls_loses_nothing(program):
    done = program(
        """
        import os
        from pactmeter import PACT
        @PACT
        def work(): return 1
        work(); work()
        os._exit(3)
        """
    )
    assert done.code == 3
    run = done.settled()
    assert (run.status, run.manifest["calls"]) == ("incomplete", 2)
    assert "none is missing" in run.reason


def test_a_program_that_replaces_itself_ends_its_run(program):
    done = program(
        """
        import os
        from pactmeter import PACT
        @PACT
        def work(): os.execv("/bin/sleep", ["sleep", "0.2"])
        work()
        """
    )
    assert done.code == 0
    run = done.settled()
    assert run.status == "incomplete"
    assert not is_live(done.folder / "PACT.csv")


def test_an_earlier_run_is_never_overwritten(program):
    code = """
        from pactmeter import PACT
        PACT(lambda: 1)()
    """
    for _ in range(3):
        assert program(code).code == 0
    runs = list(program(code).folder.glob("PACT*.json"))
    assert len(runs) == 4


def test_a_running_run_can_be_read_and_says_so(tmp_path):
    process = start_program(LONG, tmp_path)
    process.stdout.readline()
    from pactmeter.analysis.run import load

    assert load(tmp_path / "PACT.csv").status == "running"
    process.kill()
    process.communicate()


def test_ranks_of_one_machine_have_files_of_their_own_and_one_samples_the_devices(
    tmp_path, program
):
    code = """
        from pactmeter import PACT
        PACT(lambda: 1)()
    """
    for rank in (0, 1):
        environment = {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
        assert program(code, env=environment).code == 0
    from pactmeter.analysis.run import load

    first, second = load(tmp_path / "PACT.csv"), load(tmp_path / "PACT.rank1.csv")
    assert first.manifest["used"]["devices_sampled_by"] is None
    assert second.manifest["used"]["devices_sampled_by"] == "local rank 0 of torchrun"
    assert first.manifest["findings"]
    assert second.manifest["findings"] == []
    text = render(second, summarize(second))
    assert "not in this file: local rank 0 of torchrun" in text


def test_a_program_that_waits_for_all_its_children_does_not_wait_for_the_sampler(program):
    done = program(
        """
        import os
        from pactmeter import PACT
        @PACT
        def work():
            if os.fork() == 0: os._exit(4)
            ended = []
            try:
                while True: ended.append(os.waitstatus_to_exitcode(os.wait()[1]))
            except ChildProcessError:
                return ended
        assert work() == [4]
        """,
        timeout=20,
    )
    assert done.code == 0, done.err


def test_a_program_that_runs_out_of_stack_in_a_call_keeps_its_run(program):
    done = program(
        """
        from pactmeter import PACT
        @PACT
        def work(): return 1
        def deeper():
            work()
            deeper()
        for _ in range(2):
            try: deeper()
            except RecursionError: pass
        for _ in range(10): work()
        """
    )
    assert done.code == 0, done.err
    run = done.settled()
    assert run.status == "complete", (run.manifest["reason"], done.err)
    assert run.manifest["calls"] > 1000
    assert len(list(done.folder.glob("*.json"))) == 1


def test_calls_from_the_garbage_collector_and_from_signal_handlers_harm_nothing(program):
    done = program(
        """
        import gc, signal
        from pactmeter import PACT
        @PACT
        def generator():
            while True: yield 1
        class Node: pass
        @PACT
        def work(): return [bytearray(10) for _ in range(50)]
        # where a call takes longer than a millisecond nothing else would ever run, and each handler
        # would be interrupted by the next until Python's stack is full
        left, inside = 2000, 0
        def handle(*_):
            global left, inside
            left -= 1
            if not left: signal.setitimer(signal.ITIMER_REAL, 0)
            if inside > 3: return
            inside += 1
            work()
            inside -= 1
        signal.signal(signal.SIGALRM, handle)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        for n in range(300):
            node = Node(); node.me = node; node.generator = generator(); next(node.generator)
            del node
            work()
            if n % 50 == 0: gc.collect()
        signal.setitimer(signal.ITIMER_REAL, 0)
        gc.collect()
        """
    )
    assert done.code == 0, done.err
    assert "Traceback" not in done.err
    run = done.settled()
    assert run.status == "complete", (run.manifest["reason"], done.err)
    assert run.manifest["calls"] >= 600


def test_many_files_do_not_mean_many_processes(program):
    done = program(
        """
        import json
        from pactmeter import Session
        from pactmeter.session.run import sampler_pids
        for n in range(12):
            with Session(tracker_file_name=f"run{n}.csv"): pass
        print(len(sampler_pids()))
        """
    )
    assert done.code == 0, done.err
    assert int(done.out) <= 5
    assert {done.settled(f"run{n}.csv").status for n in range(12)} == {"complete"}


@pytest.mark.parametrize(
    "closing", ["sys.stderr.close()", "os.close(2)", "os.close(0); os.close(1)"]
)
def test_closed_standard_streams_cost_nothing(program, closing):
    done = program(
        f"""
        import json, os, signal, sys
        {closing}
        from pactmeter import PACT
        @PACT
        def work(): return 5
        assert work() == 5
        with open("PACT.json") as file: os.kill(json.load(file)["sampler"]["pid"], signal.SIGKILL)
        assert work() == 5 and work() == 5
        """
    )
    assert done.code == 0


def test_a_working_directory_that_is_deleted_costs_nothing(program):
    done = program(
        """
        import os
        from pactmeter import PACT
        work = PACT(tracker_file_name="../PACT.csv")(lambda: 5)
        os.mkdir("gone"); os.chdir("gone")
        assert work() == 5
        os.rmdir("../gone")
        assert work() == 5
        try:
            PACT(lambda: 6)()
        except Exception as error:
            assert "working directory" in str(error), error
        else:
            raise SystemExit("no error")
        """
    )
    assert done.code == 0, done.err
    assert "Traceback" not in done.err
    assert done.settled().status == "complete"


def test_a_call_that_ctrl_c_ends_while_it_waits_is_closed(program):
    done = program(
        """
        import os, signal, sys, time, types
        from pactmeter import PACT
        torch = types.ModuleType("torch")
        class Cuda:
            def is_initialized(self): return armed
            def synchronize(self): raise KeyboardInterrupt
        torch.cuda, armed = Cuda(), False
        sys.modules["torch"] = torch
        @PACT
        def work():
            global armed
            armed = True
        try: work()
        except KeyboardInterrupt: armed = False
        else: raise SystemExit("not interrupted")
        time.sleep(0.5)
        PACT(lambda: 1)()
        """
    )
    assert done.code == 0, done.err
    run = done.settled()
    assert run.manifest["calls"] == 2
    assert run.duration_s < 0.3


def test_more_nested_calls_than_can_be_marked_are_told_and_leave_the_window_right(program):
    done = program(
        """
        import sys, time
        from pactmeter import PACT
        sys.setrecursionlimit(10**6)
        @PACT
        def inner(): pass
        @PACT
        def outer():
            for _ in range(60_000): inner()
        start = time.monotonic()
        outer()
        print(time.monotonic() - start)
        time.sleep(1.0)
        """
    )
    assert done.code == 0, done.err
    run = done.settled()
    assert run.status == "complete"
    assert run.duration_s == pytest.approx(float(done.out), abs=0.5)


def test_a_sampler_that_is_behind_still_hears_of_the_end_of_a_call(program):
    done = program(
        """
        import json, os, signal, subprocess, time
        from pactmeter import PACT
        sampler = lambda: json.load(open("PACT.json"))["sampler"]["pid"]
        @PACT
        def inner(): pass
        @PACT
        def outer():
            os.kill(sampler(), signal.SIGSTOP)
            for _ in range(5_000): inner()  # more than the socket holds
            subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -CONT {sampler()}"])
        inner()
        start = time.monotonic()
        outer()
        print(time.monotonic() - start)
        time.sleep(3.0)
        """
    )
    assert done.code == 0, done.err
    run = done.settled()
    assert run.status == "complete"
    assert run.manifest["calls"] == 5_002
    assert run.duration_s == pytest.approx(float(done.out), abs=1.0)


def test_a_sampler_that_fails_says_what_failed(tmp_path, program):
    done = program(
        """
        from pactmeter import PACT
        from pactmeter.session.run import _runs
        @PACT
        def work(): return 3
        work()
        next(iter(_runs.values()))._sampler._waiting.append({"type": "enter"})
        assert work() == 3 and work() == 3
        """
    )
    assert done.code == 0, done.err
    assert "KeyError" in done.err
    run = done.settled()
    assert run.status == "incomplete"
    assert "KeyError" in run.reason
