"""However a program ends: what was recorded is kept, and the workload does not notice."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

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


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]


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
    sampler = children(process.pid)
    assert len(sampler) == 1
    for pid in (*sampler, process.pid):  # as a batch system does
        os.kill(pid, number)
    process.communicate()
    run = settled(tmp_path / "PACT.csv")
    assert process.returncode == -number
    assert (run.status, run.manifest["calls"]) == ("incomplete", 1)
    end = time.monotonic() + 5
    there = Path(f"/proc/{sampler[0]}")
    while there.exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert not there.exists()


def test_ctrl_c_closes_the_call_and_the_run(tmp_path):
    process = start_program(LONG, tmp_path)
    process.stdout.readline()
    for pid in (*children(process.pid), process.pid):  # as a terminal does
        os.kill(pid, signal.SIGINT)
    _, err = process.communicate()
    assert "KeyboardInterrupt" in err
    run = settled(tmp_path / "PACT.csv")
    assert (run.status, run.manifest["calls"]) == ("complete", 1)


@pytest.mark.parametrize("seed", range(4))
def test_when_the_sampler_is_killed_the_function_returns_its_value_with_one_warning(program, seed):
    done = program(
        f"""
        import os, random, signal, time
        from pactmeter import PACT
        def children():
            with open(f"/proc/self/task/{{os.getpid()}}/children") as file:
                return [int(word) for word in file.read().split()]
        @PACT(measure_period=0.1)
        def work():
            time.sleep(random.Random({seed}).uniform(0.3, 0.8))
            os.kill(children()[0], signal.SIGKILL)
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


def test_a_sampler_that_is_stopped_does_not_hold_the_program_up(program):
    done = program(
        """
        import json, os, signal, time
        from pactmeter import PACT
        def sampler():
            return int(open(f"/proc/self/task/{os.getpid()}/children").read().split()[0])
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
