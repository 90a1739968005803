from __future__ import annotations

import pytest

from pactmeter.errors import ReadError
from unit.psu_fakes import CORSAIR_HX1500I, Machine
from unit.psu_firmware import CorsairFirmware, dropped, foreign_first, late


@pytest.fixture
def machine(tmp_path, monkeypatch):
    made = Machine(tmp_path, monkeypatch)
    yield made
    made.close()


@pytest.fixture
def hx1500i(machine):
    firmware = CorsairFirmware()
    return machine.open(CORSAIR_HX1500I, firmware), firmware


def test_a_corsair_gives_dc_ac_voltage_and_temperature(hx1500i):
    device, _ = hx1500i

    assert device.read() == (140.0, pytest.approx(160.08, abs=0.05), 230.0, None)
    assert device.read() == (140.0, pytest.approx(160.08, abs=0.05), 230.0, 33.5)


def test_a_poll_takes_two_exchanges_at_most_and_mostly_one(hx1500i, machine):
    device, firmware = hx1500i
    counts = []
    for _ in range(30):
        before = len(firmware.requests)
        device.read()
        counts.append(len(firmware.requests) - before)
        machine.clock.sleep(0.1)

    assert max(counts) == 2
    assert sum(counts) <= 30 + 2 * 4


def test_a_meter_writes_nothing_but_handshake_and_page(machine):
    firmware = CorsairFirmware(ready=False)
    device = machine.open(CORSAIR_HX1500I, firmware, rails=True)

    values = device.read()

    assert values[4:] == (124.0, 8.0, 1.5)
    assert firmware.writes() == ["fe03", "02", "020001", "020002"]


def test_rails_that_fail_cost_their_channels_alone(machine):
    firmware = CorsairFirmware(rails_w=(124.0, -8.0, 1.5))
    device = machine.open(CORSAIR_HX1500I, firmware, rails=True)

    assert device.read()[0] == 140.0
    assert device.read()[4:] == (None, None, None)


def test_a_psu_that_resumed_is_initialised_and_asked_again(hx1500i):
    device, firmware = hx1500i
    device.read()
    firmware.ready = False

    assert device.read()[0] == 140.0
    assert firmware.writes() == ["fe03"]


def test_a_psu_that_stays_uninitialised_is_asked_once_more_and_no_oftener(machine):
    firmware = CorsairFirmware(ready=False, stays_unready=True)
    device = machine.open(CORSAIR_HX1500I, firmware)

    with pytest.raises(ReadError, match="still not initialised"):
        device.read()
    assert len(firmware.requests) == 3


def test_a_foreign_report_is_passed_over(hx1500i):
    device, firmware = hx1500i
    firmware.faults = [foreign_first]

    assert device.read()[0] == 140.0


def test_a_reply_that_is_lost_costs_a_quarter_second_and_one_reading(hx1500i, machine):
    device, firmware = hx1500i
    firmware.faults = [dropped]
    before_s = machine.clock.now_s

    with pytest.raises(ReadError, match=r"no valid reply to 03ee in 250 ms$"):
        device.read()

    assert machine.clock.now_s - before_s == pytest.approx(0.25, abs=0.01)
    assert device.read()[0] == 140.0


def test_a_reply_that_comes_too_late_answers_nobody(hx1500i, machine):
    device, firmware = hx1500i
    firmware.faults = [late]
    with pytest.raises(ReadError):
        device.read()
    firmware.total_w = 400.0
    machine.clock.sleep(0.1)

    assert device.read()[0] == 400.0


def test_a_reply_that_is_cut_off_is_no_reading_and_is_told(hx1500i):
    device, firmware = hx1500i
    firmware.faults = [lambda _: [(0.002, b"\x03\x00")]]

    with pytest.raises(ReadError, match="last other report: 0300"):
        device.read()


@pytest.mark.parametrize("report", ["ffff", "00fc", "ff7b"])
def test_a_total_that_cannot_be_is_no_reading(hx1500i, report):
    device, firmware = hx1500i
    firmware.raw = {0xEE: bytes.fromhex(report)}

    with pytest.raises(ReadError, match="cannot be: it is rated 1500 W"):
        device.read()


def test_a_zero_that_a_rail_contradicts_is_never_believed(hx1500i):
    device, firmware = hx1500i
    firmware.total_w = 0.0

    for _ in range(5):
        with pytest.raises(ReadError, match="124 W on a rail"):
            device.read()


def test_a_zero_right_after_a_load_is_never_believed_however_long_it_lasts(hx1500i, machine):
    device, firmware = hx1500i
    device.read()
    firmware.total_w, firmware.rails_w = 0.0, (0.0, 0.0, 0.0)

    for _ in range(200):
        machine.clock.sleep(0.1)
        with pytest.raises(ReadError, match="reads 0 W, right after 140 W"):
            device.read()
    firmware.total_w = 98.0

    assert device.read()[0] == 98.0


def test_a_zero_after_next_to_nothing_is_believed_at_once(hx1500i):
    device, firmware = hx1500i
    firmware.rails_w = (0.0, 0.0, 0.0)
    seen_w = []
    for firmware.total_w in (2.0, 0.0, 2.0, 0.0, 10.0, 0.0):
        seen_w.append(device.read()[0])

    assert seen_w == [2.0, 0.0, 2.0, 0.0, 10.0, 0.0]
    assert firmware.writes() == []  # the rails were not asked


def test_what_was_read_before_a_pause_says_nothing_of_a_zero(hx1500i, machine):
    device, firmware = hx1500i
    device.read()
    firmware.total_w = 0.0
    machine.clock.sleep(11.0)
    with pytest.raises(ReadError, match="124 W on a rail"):
        device.read()
    firmware.rails_w = (0.0, 0.0, 0.0)

    assert device.read()[0] == 0.0


def test_the_answer_to_an_earlier_question_is_never_taken_for_a_new_one(hx1500i):
    device, firmware = hx1500i
    device.read()
    firmware.faults = [lambda reply: [(0.251, reply)]]  # 1 ms after it was given up
    with pytest.raises(ReadError, match="no valid reply"):
        device.read()
    firmware.total_w = 400.0
    before = len(firmware.requests)

    assert device.read()[0] == 400.0
    assert [r[:2].hex() for r in firmware.requests[before:]] == ["0390", "03ee"]
    device.read()
    assert [r[:2].hex() for r in firmware.requests[before + 2 :]] == ["03ee", "038d"]


def test_the_late_answer_of_a_rail_is_never_taken_for_another_rails(machine):
    firmware = CorsairFirmware()
    device = machine.open(CORSAIR_HX1500I, firmware, rails=True)
    device.read()
    firmware.faults = [None] * 4 + [lambda reply: [(0.255, reply)]]  # of the 5 V rail
    assert device.read()[4:] == (None, None, None)

    for _ in range(3):
        assert device.read()[4:] == (124.0, 8.0, 1.5)


def test_each_question_that_clears_the_way_is_another_one(hx1500i):
    device, firmware = hx1500i
    firmware.faults = [dropped] * 7
    before = len(firmware.requests)
    for _ in range(7):
        with pytest.raises(ReadError):
            device.read()

    asked = [request[:2].hex() for request in firmware.requests[before:]]
    assert asked[0] == "03ee"
    assert len(set(asked[1:])) == 6


def test_a_psu_that_feeds_nothing_reads_zero(machine):
    device = machine.open(CORSAIR_HX1500I, CorsairFirmware(total_w=0.0, rails_w=(0.0, 0.0, 0.0)))

    assert device.read()[0] == 0.0


@pytest.mark.parametrize(("input_v", "shown_v"), [(0.0, 0.0), (300.0, 300.0), (-20.0, None)])
def test_a_voltage_that_cannot_be_gives_no_ac_estimate(hx1500i, input_v, shown_v):
    device, firmware = hx1500i
    firmware.input_v = input_v

    assert device.read()[:3] == (140.0, None, shown_v)


def test_a_voltage_that_is_not_answered_leaves_the_power(hx1500i, machine):
    device, firmware = hx1500i
    firmware.faults = [None, dropped]

    assert device.read() == (140.0, None, None, None)
    machine.clock.sleep(1.1)
    device.read()
    assert device.read()[2] == 230.0
