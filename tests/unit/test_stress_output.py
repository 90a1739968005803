"""What the stress tools print is read as they mean it; what is damaged gives no figure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactmeter.errors import PactError
from pactmeter.study import stress_output as output
from pactmeter.study.child import Ended

STRESS = """\
stress: info: [23973] dispatching hogs: 2 cpu, 0 io, 0 vm, 0 hdd
stress: info: [23973] successful run completed in 1s
"""
NO_MEMORY = """\
stress: info: [24047] dispatching hogs: 0 cpu, 0 io, 1 vm, 0 hdd
stress: FAIL: [24048] (512) hogvm malloc failed: Cannot allocate memory
stress: FAIL: [24047] (404) <-- worker 24048 returned error 1
stress: WARN: [24047] (406) now reaping child worker processes
stress: FAIL: [24047] (410) kill error: No such process
stress: FAIL: [24047] (461) failed run completed in 0s
"""
NG = """\
stress-ng: info:  [24028] setting to a 1 second run per stressor
stress-ng: info:  [24028] dispatching hogs: 1 hdd
stress-ng: metrc: [24028] stressor       bogo ops real time  usr time  sys time   bogo ops/s     bogo ops/s
stress-ng: metrc: [24028]                           (secs)    (secs)    (secs)   (real time) (usr+sys time)
stress-ng: metrc: [24028] hdd               18032      1.01      0.22      0.25     17907.86       37929.77
stress-ng: metrc: [24028] cpu                2618      1.00      0.86      0.01      2610.06        3033.62
stress-ng: metrc: [24028] miscellaneous metrics:
stress-ng: metrc: [24028] hdd                16804.70 MB/sec read rate (geometic mean of 1 instances)
stress-ng: info:  [24028] successful run completed in 1.01s
"""  # noqa: E501  as it is printed
NG_FAILED = """\
stress-ng: info:  [24058] dispatching hogs: 1 hdd
stress-ng: fail:  [24059] hdd: mkdir '/proc/tmp-stress-ng-hdd-24059-0' failed, errno=2 (No such file or directory)
stress-ng: error: [24058] process [24059] (hdd) terminated with an error, exit status=2 (stressor failed)
stress-ng: metrc: [24058] stressor       bogo ops real time  usr time  sys time   bogo ops/s     bogo ops/s
stress-ng: metrc: [24058]                           (secs)    (secs)    (secs)   (real time) (usr+sys time)
stress-ng: info:  [24058] unsuccessful run completed in 0.00s
"""  # noqa: E501
YAML = """\
---
system-info:
      stress-ng-version: 0.15.06
      run-by: root
      time-hh-mm-ss: 18:52:47
      version: '#1 SMP PREEMPT_DYNAMIC @0'
      ticks-per-second: 100

metrics:
    - stressor: hdd
      bogo-ops: 18032
      bogo-ops-per-second-usr-sys-time: 37929.765148
      bogo-ops-per-second-real-time: 17907.862337
      wall-clock-time: 1.006932
      user-time: 0.222837
      system-time: 0.252568
      cpu-usage-per-instance: 47.213217
      max-rss: 2596
      mbsec-read-rate: 16804.703694

    - stressor: cpu
      bogo-ops: 2618
      bogo-ops-per-second-usr-sys-time: 3033.621284
      bogo-ops-per-second-real-time: 2610.062103
      wall-clock-time: 1.003041
      user-time: 0.856143
      system-time: 0.006852
      cpu-usage-per-instance: 43.018918
      max-rss: 2432

...
"""
NOTHING_DONE = YAML.replace("18032", "0").replace("2618", "0")
BURN = (
    "GPU 0: NVIDIA H200 (UUID: GPU-1)\nInitialized device 0 with 1 MB of memory\n"
    "\r50.0%  proc'd: 93 (9876 Gflop/s) - 92 (9871 Gflop/s)   errors: 0 - 0   temps: 65 C - -- "
    "  power: 600 W - -- \n\tSummary at:   Sat Nov 21\n\n"
    "\r100.0%  proc'd: 186 (9876 Gflop/s) - 184 (9871 Gflop/s)   errors: 0 - 0   temps: 65 C - -- "
    "\nKilling processes with SIGTERM (soft kill)\nFreed memory for dev 0\nUninitted cublas\ndone\n"
    "\nTested 2 GPUs:\n\tGPU 0: OK\n\tGPU 1: OK\n"
)
FINE = Ended(code=0, took_s=10.0, cpu_s=9.0, faults=5, written_bytes=4096)


def test_a_run_of_stress_that_ended_well_is_no_error():
    output.stress(STRESS)


@pytest.mark.parametrize(
    ("log", "told"),
    [
        (NO_MEMORY, "hogvm malloc failed: Cannot allocate memory"),
        ("stress: FAIL: [1] (171) invalid number of cpu hogs: 0\n", "invalid number of cpu hogs"),
        (STRESS.splitlines()[0], "dispatching hogs"),
        ("", "printed nothing"),
        ("my own: successful run completed in 1s", "did not end well"),
    ],
)
def test_a_run_of_stress_that_did_not_end_well_is_told_with_its_reason(log, told):
    with pytest.raises(PactError, match=told):
        output.stress(log)


def test_the_bogo_ops_are_those_of_the_yaml_file_or_of_the_brief_table():
    exact, brief = output.stress_ng(NG, YAML), output.stress_ng(NG)
    for found in exact, brief:
        assert [(m.stressor, m.bogo_ops) for m in found] == [("hdd", 18032), ("cpu", 2618)]
    assert exact[0].wall_s == 1.006932
    assert exact[0].cpu_s == pytest.approx(0.475405)
    assert (brief[0].wall_s, brief[0].cpu_s) == (1.01, pytest.approx(0.47))
    older = NG.replace("metrc:", "info: ")
    assert output.stress_ng(older) == brief
    newer = "stress-ng: metrc: [635] vm  2283  10.01  0.07  0.15  0.00  0.00  2.26  2236\n"
    assert output.stress_ng(newer)[0].bogo_ops == 2283
    quoted = YAML.replace("stressor: hdd", "stressor: 'hdd'")
    assert output.stress_ng(NG, quoted) == exact


@pytest.mark.parametrize("at", range(0, len(YAML), 37))
def test_of_a_torn_yaml_file_nothing_is_taken(at):
    assert output.stress_ng(NG, YAML[:at]) == output.stress_ng(NG)
    assert output.stress_ng(NG, YAML.replace("bogo-ops: 1", "bogo-ops: x")) == output.stress_ng(NG)


def test_a_stressor_without_work_fails_although_the_tool_was_content():
    with pytest.raises(PactError, match="hdd, cpu did no work"):
        output.stress_ng(NG, NOTHING_DONE)
    with pytest.raises(PactError, match="hdd did no work"):
        output.stress_ng(NG.replace("18032", "    0"))
    with pytest.raises(PactError, match="tells of no work"):
        output.stress_ng(NG_FAILED)
    with pytest.raises(PactError, match="printed nothing"):
        output.stress_ng("")


def test_gpu_burns_last_count_of_all_gpus_is_the_work():
    burn = output.gpu_burn(BURN)
    assert (burn.gpus, burn.products) == (2, 370)
    assert burn.flop == 370 * 1_100_048_498_688
    sized = output.gpu_burn("2.147484 Gflop a product\n" + BURN)
    assert sized.flop == 370 * 2_147_484_000


@pytest.mark.parametrize(
    ("log", "told"),
    [
        (BURN.replace("GPU 1: OK", "GPU 1: FAULTY"), "GPU 1: FAULTY"),
        (BURN.replace("GPU 1: OK", "GPU 1: FA"), "tells of 1 of 2"),
        (BURN.replace("errors: 0 - 0   temps", "errors: 0 - -1  (DIED!)   temps"), "died"),
        (BURN.replace("186", "-1"), "died"),
        (BURN.replace("184 (", "0 ("), "no work"),
        (BURN.replace("proc'd", "did"), "no work"),
        (BURN.partition("Tested")[0], "did not reach its end.*done"),
        ("No CUDA devices\n", "No CUDA devices"),
        ("", "printed nothing"),
    ],
)
def test_a_burn_with_a_faulty_dead_or_idle_gpu_or_without_its_end_fails(log, told):
    with pytest.raises(PactError, match=told):
        output.gpu_burn(log)


def test_the_work_of_each_tool_is_told_with_the_kernels_account():
    kernel = {"seconds": 10.0, "cpu_s": 9.0, "faults": 5, "written_mb": 0.004}
    assert output.work("stress", STRESS, None, FINE, 10) == kernel
    assert output.work("other", "", None, FINE, None) == kernel
    assert output.work("stress-ng", NG, YAML, FINE, 10) == {**kernel, "bogo_ops": 20650}
    burn = output.work("gpu-burn", BURN, None, FINE, 10)
    assert burn == {**kernel, "gpus": 2, "products": 370, "gflop": 407017.94451456}


@pytest.mark.parametrize(
    ("tool", "log", "ended", "told"),
    [
        ("stress", NO_MEMORY, Ended(1, 0.1, 1.0, 0, 0), "Cannot allocate memory"),
        ("stress", STRESS, Ended(1, 10.0, 1.0, 0, 0), "exit code 1"),
        ("stress", STRESS, Ended(0, 8.9, 8.0, 0, 0), "after 8.9 of 10 s"),
        ("stress", STRESS, Ended(0, 10.0, 0.0, 0, 0), "no CPU time"),
        ("stress-ng", NG, Ended(7, 10.0, 8.0, 0, 0), "exit code 7 .its own figures"),
        ("stress-ng", NG_FAILED, Ended(2, 10.0, 8.0, 0, 0), "a stressor failed"),
        ("stress-ng", NG, Ended(9, 10.0, 8.0, 0, 0), "exit code 9: "),
        ("gpu-burn", "No CUDA devices\n", Ended(19, 0.1, 0.1, 0, 0), "No CUDA devices"),
        ("other", "", Ended(3, 10.0, 1.0, 0, 0), "exit code 3: it printed nothing"),
    ],
)
def test_a_load_that_failed_ended_early_or_did_nothing_has_no_work(tool, log, ended, told):
    with pytest.raises(PactError, match=told):
        output.work(tool, log, None, ended, 10)


@given(text=st.text(max_size=200), cut=st.integers(0, len(BURN)))
def test_any_text_is_read_or_refused_and_nothing_else(text, cut):
    for log in (text, BURN[:cut] + text + BURN[cut:]):
        for read in (output.stress, output.stress_ng, output.gpu_burn):
            try:
                read(log)
            except PactError:
                pass
