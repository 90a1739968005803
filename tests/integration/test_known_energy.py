"""Joules in, joules out, through the real sampler on files that follow a known power."""

import pytest

from pactmeter.analysis.summary import summarize
from support.machine import Machine

LOADED = """
    import os, pathlib, sys, time
    from pactmeter import PACT
    load = pathlib.Path(os.environ["PACTMETER_SYSFS"]) / "load"

    @PACT(measure_period=0.5, tracker_file_name="PACT.csv", PSU=None)
    def work(seconds):
        load.touch()
        time.sleep(seconds)
        load.unlink()

    for seconds in map(float, sys.argv[1:]):
        work(seconds)
        time.sleep(0.4)
"""


@pytest.fixture
def machine(tmp_path):
    with Machine(tmp_path / "sys") as machine:
        yield machine


def sources(done):
    summary = summarize(done.run())
    return summary, {source["channel"]: source for source in summary["sources"]}


def assert_true(source, joules, rel):
    """The joules that a source found are those that flowed, of the time that it covers."""
    assert source["energy_j"] == pytest.approx(joules * source["coverage"], rel=rel)


def test_a_load_of_known_power_gives_its_joules_on_a_counter_and_on_a_gauge(program, machine):
    done = program(LOADED, env=machine.env, args=["3"])
    assert done.code == 0, done.err
    summary, found = sources(done)
    joules = machine.true_j(done.run())
    assert joules == pytest.approx(1200.0, rel=0.05)
    assert_true(found["cpu.package0"], joules, 0.005)
    assert_true(found["hwmon.acpi_meter.board"], joules, 0.02)
    for source in found.values():
        assert source["coverage"] > 0.95
        assert source["synthetic"] == "emulated"
        assert source["gaps"] == 0
    assert summary["duration_s"] == pytest.approx(3.0, abs=0.2)


def test_several_calls_add_up_and_the_pauses_between_them_add_nothing(program, machine):
    done = program(LOADED, env=machine.env, args=["0.7", "0.7", "0.7"])
    assert done.code == 0, done.err
    summary, found = sources(done)
    assert summary["calls"] == 3
    joules = machine.true_j(done.run())
    assert_true(found["cpu.package0"], joules, 0.01)
    assert_true(found["hwmon.acpi_meter.board"], joules, 0.05)
    assert found["cpu.package0"]["coverage"] > 0.9


def test_a_sensor_that_fails_for_a_while_is_a_gap_and_the_other_goes_on(program, machine):
    code = """
        import os, pathlib, time
        from pactmeter import PACT
        root = pathlib.Path(os.environ["PACTMETER_SYSFS"])

        @PACT(measure_period=0.5, tracker_file_name="PACT.csv")
        def work():
            (root / "load").touch()
            time.sleep(1.0)
            (root / "fail").touch()
            time.sleep(1.0)
            (root / "fail").unlink()
            time.sleep(2.0)
            (root / "load").unlink()
            return "value"

        assert work() == "value"
    """
    done = program(code, env=machine.env)
    assert done.code == 0, done.err
    _, found = sources(done)
    board, package = found["hwmon.acpi_meter.board"], found["cpu.package0"]
    joules = machine.true_j(done.run())
    assert board["coverage"] == pytest.approx(0.75, abs=0.05)
    assert_true(board, joules, 0.02)
    assert package["coverage"] > 0.95
    assert_true(package, joules, 0.005)
    assert board["gaps"] >= 1  # on a busy machine the last row, of an instant, may be another
    (gap,) = done.run().manifest["gaps"]
    assert gap["end_s"] - gap["start_s"] == pytest.approx(1.0, abs=0.25)
    assert "garbage" in gap["reason"] or "cannot read" in gap["reason"]
    assert "gap" in done.err


def test_a_run_killed_in_mid_call_keeps_the_joules_of_its_rows(program, machine):
    code = """
        import os, pathlib, time
        from pactmeter import PACT
        load = pathlib.Path(os.environ["PACTMETER_SYSFS"]) / "load"

        @PACT(measure_period=0.2, tracker_file_name="PACT.csv")
        def work():
            load.touch()
            time.sleep(1.5)
            os.kill(os.getpid(), 9)

        work()
    """
    done = program(code, env=machine.env)
    assert done.code == -9
    with_tail = done.settled()
    assert with_tail.status == "incomplete"
    assert "inside a call" in with_tail.reason
    assert_true(sources(done)[1]["cpu.package0"], machine.true_j(with_tail), 0.05)


def test_a_measured_cpu_is_a_subtotal_that_says_what_it_leaves_out_and_a_model_is_none(
    program, machine
):
    done = program(LOADED, env=machine.env, args=["0.5"])
    summary, found = sources(done)
    headline = summary["headline"]
    origin = found["cpu.package0"]["origin"]  # what RAPL is worth depends on the processor
    if origin == "measured":
        assert headline["energy_j"] == found["cpu.package0"]["energy_j"]
        assert "excludes memory" in headline["label"]
    else:
        assert origin == "modelled"
        assert headline is None
