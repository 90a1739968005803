"""Bad input is told before the function starts, with its cause and its fix."""

import errno
import itertools
import json

import pytest

from pactmeter.store.table import read_table
from support import refuse_perf
from support.pmus import ABSENT
from support.programs import settled, start_program

TRY = """
    import sys, json, warnings
    import pactmeter
    from pactmeter import PACT
    ran = []
    def work(): ran.append(1); return 7
    try:
        {call}
        print(json.dumps(["fine", ran]))
    except Exception as error:
        print(json.dumps([type(error).__name__, str(error), ran]))
"""


def outcome(program, call, **options):
    done = program(TRY.format(call=call), **options)
    assert done.code == 0, done.err
    return json.loads(done.out.strip().splitlines()[-1]), done


@pytest.mark.parametrize(
    ("arguments", "name", "told"),
    [
        ("measure_period=0", "ConfigError", "'measure_period' should be positive number"),
        ("perf_measure_period=2", "ConfigError", "is longer than"),
        ("events_groups=[['CACHE-MISES']]", "ConfigError", "did you mean 'CACHE-MISSES'"),
        ("PSU='Corsair_9000'", "ConfigError", "PSU"),
        ("mesure_period=1", "ConfigError", "did you mean 'measure_period'"),
        ("tracker_file_name='/dev/null/x/PACT.csv'", "FileError", "tracker_file_name"),
        ("tracker_file_name='/proc/PACT.csv'", "FileError", "tracker_file_name"),
        ("events_groups=[['FAULTS'], ['faults']]", "ConfigError", "faults"),
    ],
)
def test_a_wrong_argument_is_told_before_the_function_starts(program, arguments, name, told):
    (kind, text, ran), _ = outcome(program, f"PACT({arguments})(work)()")
    assert kind == name
    assert told in text
    assert ran == []


def test_a_psu_asked_for_by_name_and_absent_says_where_was_looked_and_what_to_do(program):
    (kind, text, ran), done = outcome(program, "PACT(PSU='Corsair_1500i')(work)()")
    assert kind == "DeviceError"
    assert "1b1c:1c1f" in text
    assert "fix:" in text
    assert ran == []
    assert list(done.folder.glob("PACT*")) == []


@pytest.mark.usefixtures("gauge")
def test_with_on_error_warn_an_absent_psu_is_a_warning_and_the_function_runs(program):
    got, done = outcome(program, "assert PACT(PSU='Corsair_1500i', on_error='warn')(work)() == 7")
    assert got == ["fine", [1]]
    assert "1b1c:1c1f" in done.err
    assert done.run().status == "complete"


def test_an_unwritable_place_with_on_error_warn_is_a_warning_and_the_function_runs(program):
    call = "assert PACT(tracker_file_name='/proc/PACT.csv', on_error='warn')(work)() == 7"
    got, done = outcome(program, call)
    assert got == ["fine", [1]]
    assert "measures nothing" in done.err


def test_warnings_that_are_errors_do_not_stop_a_function(program):
    call = "warnings.simplefilter('error'); PACT(PSU='NZXT_850', on_error='warn')(work)()"
    assert outcome(program, call)[0] == ["fine", [1]]


@pytest.mark.perf("user")
def test_an_event_named_and_absent_is_a_warning_and_an_empty_column(program, absent):
    groups = f"[[{ABSENT!r}, 'absent/config=1/'], ['FAULTS']]"
    (kind, ran), done = outcome(program, f"PACT(events_groups={groups})(work)()")
    assert (kind, ran) == ("fine", [1])
    run = done.run()
    events = {e["column"]: e for e in run.manifest["events"]}
    for name in (ABSENT, "absent/config=1/"):
        assert events[name]["status"] == "missing"
        assert f"event {name}" in done.err
        assert set(run.columns[name]) == {None}
    assert events["faults"]["status"] == "ok"
    assert "event FAULTS" not in done.err


@pytest.mark.parametrize(("error", "status"), [(errno.ENOENT, "missing"), (errno.EACCES, "denied")])
def test_a_run_in_which_nothing_could_be_opened_says_failed(program, error, status):
    call = "assert PACT(PSU=None, counter_backend='poll')(work)() == 7"
    got, done = outcome(program, call, launcher=refuse_perf.launcher(error))
    assert got == ["fine", [1]]
    run = done.run()
    assert {event["status"] for event in run.manifest["events"]} == {status}
    if [channel.name for channel in run.channels] == ["cpu.estimate"]:  # this CPU's TDP is known
        assert run.status == "complete"
    else:
        assert run.channels == []
        assert run.status == "failed"
        assert "neither" in run.reason


@pytest.mark.usefixtures("gauge")
def test_a_default_event_that_is_absent_is_recorded_without_a_word(program):
    _, done = outcome(program, "PACT(work)()", launcher=refuse_perf.launcher(errno.ENOENT))
    events = {e["column"]: e for e in done.run().manifest["events"]}
    assert events["cycles"]["status"] == "missing"
    assert "no" in events["cycles"]["reason"]
    assert "cycles" not in done.err.lower()
    assert "event" not in done.err.lower()


def test_that_nothing_at_all_could_be_opened_is_told_before_the_function(program):
    call = "PACT(work, counter_backend='poll')()"
    _, done = outcome(program, call, launcher=refuse_perf.launcher(errno.ENOENT))
    assert "no power source and no event could be opened" in done.err


@pytest.mark.usefixtures("gauge")
def test_two_programs_with_the_same_file_at_once_lose_nothing(tmp_path):
    code = """
        import time
        from pactmeter import PACT
        @PACT
        def work():
            print("in", flush=True)
            time.sleep(SECONDS)
        work()
    """
    first = start_program(code.replace("SECONDS", "60"), tmp_path)
    assert first.stdout.readline() == "in\n"
    second = start_program(code.replace("SECONDS", "0"), tmp_path)
    second.communicate(timeout=30)
    first.kill()
    first.communicate()
    assert second.returncode == 0
    assert settled(tmp_path / "PACT.csv").status == "incomplete"
    assert settled(tmp_path / "PACT-2.csv").status == "complete"


@pytest.mark.root
def test_a_disk_that_is_full_for_a_while_costs_neither_rows_nor_the_function(small_disk, program):
    small_disk("256k")
    done = program(
        """
        import time
        from pactmeter import PACT
        @PACT(measure_period=0.05, perf_measure_period=0.001, tracker_file_name="disk/PACT.csv")
        def work():
            time.sleep(0.5)
            with open("disk/ballast", "wb", buffering=0) as ballast:
                try:
                    while True: ballast.write(b"x" * 4096)
                except OSError:
                    pass
            time.sleep(0.7)
            import os; os.unlink("disk/ballast")
            time.sleep(0.5)
            return 7
        assert work() == 7
        """
    )
    assert done.code == 0, done.err
    assert "could not be written for a while" in done.err
    assert "none was lost" in done.err
    run = done.run("disk/PACT.csv")
    assert run.status == "complete"
    times = run.columns["read_s"]
    assert sum(run.windows_s) == pytest.approx(times[-1], abs=0.01)
    assert times == sorted(times)
    assert times[-1] > 1.5
    starts = [float(row[0]) for row in read_table(run.files.counters)[1]]
    assert starts == sorted(starts)
    assert len(starts) > 100
    assert max(b - a for a, b in itertools.pairwise(starts)) < 0.3
    assert starts[-1] > 1.5
