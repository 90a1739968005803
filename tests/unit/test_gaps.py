"""Gaps: of which channels, from when to when, and why."""

import pytest

from pactmeter.model.channel import Channel, Kind
from pactmeter.sampling.gaps import GapLog
from pactmeter.sampling.polling import Batch
from pactmeter.units import Unit

PERIOD_S = 0.1


class Device:
    name = "device"
    channels = (
        Channel("power", Unit.WATT, Kind.POWER, "-"),
        Channel("energy", Unit.JOULE, Kind.ENERGY, "-"),
        Channel("volts", Unit.VOLT, Kind.QUANTITY, "-"),
    )


@pytest.fixture
def log():
    made = GapLog([Device()], PERIOD_S)
    made.begin(0.0)
    return made


def see(log, time_s, values=(1.0, 1.0, 1.0), *, reason=None, spent_s=0.0, end_s=9.0):
    batch = Batch(1, edge=False, time_s=time_s, spent_s=spent_s, values=values, reason=reason)
    log.see(0, batch, end_s)


def spans(log):
    return [
        (tuple(gap["channels"]), pytest.approx(gap["start_s"]), pytest.approx(gap["end_s"]))
        for gap in log.gaps
    ]


def steady(log, from_s, to_s):
    for k in range(round((to_s - from_s) / PERIOD_S)):
        see(log, from_s + k * PERIOD_S)


def test_failed_polls_are_one_gap_of_all_channels_with_the_first_reason(log):
    steady(log, 0.1, 1.0)
    see(log, 1.0, None, reason="no answer")
    see(log, 1.1, None, reason="unplugged")
    assert log.is_open(0)
    steady(log, 1.2, 2.0)
    log.end(2.0)
    assert spans(log) == [(("power", "energy", "volts"), 1.0, 1.2)]
    assert log.gaps[0]["reason"] == "no answer"
    assert not log.is_open(0)


def test_a_channel_without_a_value_is_a_gap_of_its_own_unless_it_never_had_one(log):
    see(log, 0.1, (None, 1.0, 1.0))
    see(log, 0.2, (1.0, 1.0, 1.0))
    see(log, 0.3, (1.0, None, None))
    see(log, 0.4, None, reason="no answer")
    see(log, 0.5, (None, None, 1.0))
    see(log, 0.6, (None, 1.0, 1.0))
    log.end(0.65)
    assert spans(log) == [
        (("energy",), 0.3, 0.6),
        (("power", "energy", "volts"), 0.4, 0.5),
        (("power",), 0.5, 0.65),
    ]
    assert log.gaps[0]["reason"] == "device gave no value of energy, which it had given before"


@pytest.mark.parametrize(
    ("spent_s", "reason"),
    [(0.01, "was not asked for 2.8 s: the sampler had no time"), (0.3, "took 0.3 s to answer")],
)
def test_silence_between_two_good_polls_is_a_gap_of_what_is_no_counter(log, spent_s, reason):
    steady(log, 0.1, 1.05)
    see(log, 4.0 - (0.15 - 0.085 if spent_s < 0.1 else -0.225), spent_s=spent_s)
    (gap,) = log.gaps
    assert gap["channels"] == ["power"]
    assert gap["end_s"] - gap["start_s"] == pytest.approx(2.8, abs=0.1)
    assert gap["reason"].startswith("device ")
    assert gap["reason"].endswith(reason)


def test_a_busy_machine_that_is_late_by_less_makes_no_gap(log):
    for time_s in (0.1, 0.6, 1.2, 1.3):
        see(log, time_s)
    log.end(1.35)
    assert log.gaps == []


def test_a_poll_that_fails_after_a_long_silence_began_to_fail_with_the_silence(log):
    steady(log, 0.1, 1.05)
    see(log, 3.5, None, reason="timed out", spent_s=5.0)
    steady(log, 6.1, 7.0)
    assert spans(log) == [(("power", "energy", "volts"), 1.075, 6.1)]


def test_a_device_that_answers_no_more_before_the_end_is_a_gap_up_to_it(log):
    steady(log, 0.1, 1.05)
    log.end(5.0)
    assert spans(log) == [(("power", "energy", "volts"), 1.075, 5.0)]
    assert log.gaps[0]["reason"] == "device gave no answer before the call had ended"


def test_an_answer_after_the_end_makes_up_for_a_counter_and_not_for_a_gauge(log):
    steady(log, 0.1, 1.05)
    see(log, 5.1, end_s=5.0)
    log.end(5.0)
    assert spans(log) == [(("power",), 1.075, 5.0)]


def test_polls_after_the_end_are_no_gap_and_a_gap_ends_with_its_call(log):
    steady(log, 0.1, 1.0)
    see(log, 1.0, None, reason="no answer", end_s=1.05)
    see(log, 1.1, None, reason="no answer", end_s=1.05)
    log.end(1.05)
    log.begin(50.0)
    see(log, 50.1)
    assert spans(log) == [(("power", "energy", "volts"), 1.0, 1.05)]


def test_so_many_gaps_are_kept_and_the_rest_is_counted(log):
    for k in range(250):
        see(log, k * 0.2, None, reason="no", end_s=99.0)
        see(log, k * 0.2 + 0.1, end_s=99.0)
    assert (len(log.gaps), log.left_out) == (200, 50)
