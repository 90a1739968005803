"""Bad input is told before the function starts, with its cause and its fix."""

import json
import subprocess

import pytest

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


def test_an_event_named_and_absent_is_a_warning_and_an_empty_column(program):
    groups = "[['CYCLES', 'INSTRUCTIONS'], ['FAULTS']]"
    (kind, ran), done = outcome(program, f"PACT(events_groups={groups})(work)()")
    assert (kind, ran) == ("fine", [1])
    events = {e["column"]: e for e in done.run().manifest["events"]}
    for name in ("cycles", "instructions"):
        if events[name]["status"] != "ok":
            assert f"event {name.upper()}" in done.err
            assert set(done.run().columns[name]) == {None}
    assert events["faults"]["status"] == "ok"


def test_a_run_in_which_nothing_could_be_opened_says_failed(program, tmp_path):
    (tmp_path / "empty").mkdir()
    call = "assert PACT(PSU=None, events_groups=[['r1']])(work)() == 7"
    got, done = outcome(program, call, env={"PACTMETER_SYSFS": str(tmp_path / "empty")})
    assert got == ["fine", [1]]
    run = done.run()
    if not run.channels and all(e["status"] != "ok" for e in run.manifest["events"]):
        assert run.status == "failed"
        assert "neither" in run.reason


def test_a_default_event_that_is_absent_is_recorded_without_a_word(program):
    _, done = outcome(program, "PACT(work)()")
    assert "cycles" not in done.err.lower()


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


def test_a_disk_that_fills_up_in_mid_run_costs_rows_and_not_the_function(tmp_path, program):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], check=True)
    try:
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
        assert "not written" in done.err
        run = done.run("disk/PACT.csv")
        assert run.status == "complete"
        assert 5 < len(run.windows_s) <= 40
        times = run.columns["read_s"]
        assert times == sorted(times)
        assert times[-1] > 1.5
    finally:
        subprocess.run(["umount", disk], check=True)
