from __future__ import annotations

import pytest

from pactmeter.errors import ReadError
from unit.psu_fakes import NZXT_E850, Machine
from unit.psu_firmware import BUSY, NzxtFirmware, cut, dropped, late


@pytest.fixture
def machine(tmp_path, monkeypatch):
    made = Machine(tmp_path, monkeypatch)
    yield made
    made.close()


@pytest.fixture
def e850(machine):
    firmware = NzxtFirmware()
    return machine.open(NZXT_E850, firmware), firmware


def wrong_pec(reply):
    return [(0.002, bytes((*reply[:5], reply[5] ^ 1)))]


def busy(_reply):
    return [(0.002, BUSY)]


def test_an_nzxt_total_is_the_sum_of_its_rails(e850):
    device, firmware = e850

    values = device.read()

    assert values == (82.5, pytest.approx(82.5 / 0.86, rel=0.1), 30.0)
    assert len(firmware.requests) == 6
    assert len(device.read()) == len(device.channels)
    assert len(firmware.requests) == 6 + 5


def test_an_nzxt_gives_its_rails_without_a_further_exchange(machine):
    firmware = NzxtFirmware()
    device = machine.open(NZXT_E850, firmware, rails=True)

    assert device.read()[3:] == (10.0, 40.0, 25.0, 5.0, 2.5)
    assert len(firmware.requests) == 6


def test_an_nzxt_is_given_its_pause_between_exchanges(e850, machine):
    device, firmware = e850
    firmware.latency_s = 0.0
    before_s = machine.clock.now_s

    device.read()

    assert machine.clock.now_s - before_s == pytest.approx(5 * 0.0025)


@pytest.mark.parametrize("times", [1, 2])
def test_a_busy_nzxt_is_asked_again(e850, times):
    device, firmware = e850
    firmware.faults = [busy] * times

    assert device.read()[0] == 82.5


def test_an_nzxt_busy_three_times_is_a_gap(e850):
    device, firmware = e850
    firmware.faults = [busy] * 3

    with pytest.raises(ReadError, match="busy 3 times"):
        device.read()
    assert device.read()[0] == 82.5


@pytest.mark.parametrize("fault", [wrong_pec, dropped, cut, late])
def test_an_nzxt_reply_that_is_not_proven_ours_is_a_gap(e850, fault):
    device, firmware = e850
    firmware.faults = [None, fault]

    with pytest.raises(ReadError, match="no valid reply"):
        device.read()
    assert device.read()[0] == 82.5


def test_an_nzxt_reply_for_another_rail_is_passed_over(e850):
    device, firmware = e850
    # A well-formed reply, of 11.1875 W, to the question for rail 2.
    crossed = bytes.fromhex("aa0402ccd20a")
    firmware.faults = [lambda reply: [(0.001, crossed), (0.002, reply)]]

    assert device.read()[0] == 82.5


def test_an_nzxt_with_all_rails_stuck_at_zero_is_a_gap(e850):
    device, firmware = e850
    firmware.rails_w = (0.0,) * 5

    with pytest.raises(ReadError, match="0 W on every rail"):
        device.read()


def test_one_rail_that_cannot_be_spoils_the_nzxt_total(e850):
    device, firmware = e850
    firmware.rails_w = (10.0, -40.0, 120.0, 5.0, 2.5)

    with pytest.raises(ReadError, match="-40 W, which cannot be"):
        device.read()


def test_an_nzxts_answer_to_an_earlier_question_is_never_taken_for_a_new_one(e850, machine):
    device, firmware = e850
    firmware.faults = [lambda reply: [(0.2545, reply)]]  # 4.5 ms after it was asked for in vain
    with pytest.raises(ReadError, match="no valid reply"):
        device.read()
    firmware.rails_w = (20.0, 40.0, 25.0, 5.0, 2.5)
    before = len(firmware.requests)

    assert device.read()[0] == 92.5
    assert firmware.requests[before][7:9] == bytes((1, 0x8B))
    assert len(firmware.requests) - before == 6
