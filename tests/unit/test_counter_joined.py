"""One group samples for all where that leaves half of the hardware free; else each takes turns."""

import os
import time

import pytest

from pactmeter.clock import now_s
from pactmeter.counters import opening, plan
from pactmeter.counters.groups import Counters
from pactmeter.sampling.sampled import SampledCounting
from support.counters import touch
from support.pmus import CLOCK, small_pmu

pytestmark = [pytest.mark.perf("kernel"), pytest.mark.usefixtures("clock")]

TWO = [["FAULTS"], [CLOCK], ["clock/config=0,config1=2/"]]
PERIOD_S = 0.01


def opened(scope, groups=TWO):
    columns = plan.columns(groups, scope)
    return opening.open_columns(columns, os.getpid(), (), backend="ring", period_s=PERIOD_S)


def columns_of(group):
    return [column.spec.column for column in group.opened if column]


@pytest.mark.parametrize("scope", ["tree", "system"])
def test_one_group_samples_for_all_where_half_of_the_hardware_is_enough(scope, monkeypatch):
    small_pmu(monkeypatch, room=4)
    both = opened(scope)
    try:
        always_on, whole = both.groups
        names = [column.spec.column for column in both.columns]
        assert (always_on.samples, columns_of(always_on)) == (False, names[:1])
        assert (whole.samples, columns_of(whole)) == (True, names)
        assert len(both.sampling) == len(whole.sampling) * sum(
            len(section.leaders) for section in both.sections.values() if section.columns == (1, 2)
        )
        assert [section.columns for section in both.sections.values()] == [(0,), (1, 2)]
        assert all(total is not None for total in Counters(both).read().totals)
    finally:
        both.close()


@pytest.mark.parametrize("scope", ["tree", "system"])
def test_groups_that_need_more_of_the_hardware_stay_apart(scope, monkeypatch):
    small_pmu(monkeypatch, room=3)
    apart = opened(scope)
    try:
        assert [group.samples for group in apart.groups] == [True] * 3
        assert [len(columns_of(group)) for group in apart.groups] == [1, 1, 1]
        assert all(total is not None for total in Counters(apart).read().totals)
    finally:
        apart.close()


def test_software_events_alone_are_sampled_in_their_own_group():
    alone = opened("tree", [["FAULTS"], ["CS"]])
    try:
        assert [group.samples for group in alone.groups] == [True]
    finally:
        alone.close()


@pytest.mark.parametrize("room", [4, 1])
def test_events_lie_where_they_took_place_whoever_samples_them(room, monkeypatch):
    small_pmu(monkeypatch, room)
    counting = SampledCounting(Counters(opened("tree")), PERIOD_S, 1.0)
    try:
        counting.begin()
        zero_s, before_s = now_s(), time.process_time()
        counting.start(zero_s, zero_s)
        busy(0.05)
        burst_s = now_s() - zero_s
        touch(5000)
        over_s = now_s() - zero_s
        busy(0.05)
        cpu_s = time.process_time() - before_s
        counting.end()
        totals = counting.row(fresh=False)
    finally:
        counting.close()
    rows = [
        [float(cell) for cell in line.split(",")] for line in "".join(counting.lines()).splitlines()
    ]

    assert [sum(column) for column in zip(*(row[2:5] for row in rows), strict=True)] == totals
    # a span between two samples is as long as a bin, and lies across two
    inside = [row for row in rows if burst_s - 2 * PERIOD_S < row[0] < over_s + PERIOD_S]
    assert sum(row[2] for row in inside) > 0.95 * totals[0] >= 0.95 * 5000
    for total in totals[1:]:  # nanoseconds of CPU time
        assert total == pytest.approx(cpu_s * 1e9, rel=0.1)


@pytest.mark.parametrize("share", [0.4, 0.0])
@pytest.mark.parametrize(("room", "told"), [(4, True), (1, False)])
def test_that_others_took_the_hardware_is_told_where_software_events_share_its_samples(
    room, told, share, monkeypatch
):
    small_pmu(monkeypatch, room)
    counting = SampledCounting(Counters(opened("tree")), PERIOD_S, 1.0)
    try:
        assert counting.notes == []
        counting._times[1][:] = 1.0, share  # no clock is ever rotated: as after a call of 1 s
        assert counting.running_shares[CLOCK] == share
        assert [note[:34] for note in counting.notes] == [
            "others used the hardware's counter"
        ] * told
    finally:
        counting.close()


def busy(length_s):
    end_s = time.monotonic() + length_s
    while time.monotonic() < end_s:
        pass
