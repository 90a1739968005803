"""The recorder writes down what passes, drops nothing, and goes on after a failure."""

from __future__ import annotations

import pytest

from pactmeter.errors import DeviceError, FileError
from pactmeter.model.exchanges import Writer, read_reports
from pactmeter.sensors import psu_corsair
from pactmeter.sensors.psu_record import Recorder, describe, recordable
from pactmeter.sensors.psu_scan import scan
from unit.psu_fakes import CORSAIR_HX1500I, NZXT_E850, Machine
from unit.psu_firmware import CorsairFirmware, dropped, foreign_first

SERIAL = "S3CR3T"
KERNEL_ONLY = (0x1B1C, 0x1C09)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    made = Machine(tmp_path, monkeypatch)
    yield made
    made.close()


@pytest.fixture
def recorder(machine):
    """Give a recorder of a supply that is plugged in, and its firmware."""
    made = []

    def make(**options):
        firmware = CorsairFirmware()
        machine.plug(CORSAIR_HX1500I, firmware, serial=SERIAL)
        one = Recorder(scan()[0], clock=machine.clock, sleep=machine.clock.sleep, **options)
        one.connect()
        made.append(one)
        return one, firmware

    yield make
    for one in made:
        one.close()


def record(one, path, duration_s=1.0, period_s=0.1):
    with Writer(path) as writer:
        one.run(writer, duration_s, period_s)
    return read_reports(path).reports


def test_every_report_is_written_down_once_in_its_order(recorder, tmp_path):
    one, firmware = recorder()

    reports = record(one, tmp_path / "r.csv")

    sent = [report.data for report in reports if report.is_out]
    assert sent == firmware.requests
    assert one.tally.requests == len(sent) == len(reports) - len(sent) == one.tally.reports
    assert [report.is_out for report in reports] == [True, False] * len(sent)
    assert [report.t_s for report in reports] == sorted(report.t_s for report in reports)


def test_a_round_is_made_every_period(recorder, tmp_path):
    one, _ = recorder()

    reports = record(one, tmp_path / "r.csv", 2.0, 0.25)

    totals_s = [r.t_s for r in reports if r.is_out and r.data[:2] == b"\x03\xee"]
    assert totals_s == [pytest.approx(0.25 * k, abs=0.005) for k in range(8)]


def test_a_report_for_another_program_is_written_down_too(recorder, tmp_path):
    one, firmware = recorder()
    firmware.faults = [foreign_first]

    reports = record(one, tmp_path / "r.csv", 0.1)

    assert one.tally.reports == one.tally.requests + 1
    assert one.tally.failed == 0
    assert len(reports) == one.tally.reports + one.tally.requests


def foreign_behind(reply):
    return [(0.002, reply), (0.002, bytes.fromhex("03f000"))]


def test_a_report_that_waits_before_an_exchange_is_written_down_not_dropped(recorder, tmp_path):
    one, firmware = recorder()
    firmware.faults = [foreign_behind]

    reports = record(one, tmp_path / "r.csv", 0.1)

    assert [r.data.rstrip(b"\0") for r in reports].count(b"\x03\xf0") == 1
    assert (one.tally.failed, one.tally.reports) == (0, one.tally.requests + 1)


def test_a_lost_reply_is_counted_and_the_recording_goes_on(recorder, tmp_path):
    one, firmware = recorder()
    firmware.faults = [dropped]

    record(one, tmp_path / "r.csv")

    assert one.tally.failed == 1
    assert "no valid reply to 03ee" in one.tally.trouble
    assert one.tally.requests == one.tally.reports + 1


def test_all_registers_are_asked_and_one_that_is_missing_costs_no_time(recorder, machine, tmp_path):
    one, firmware = recorder(everything=True)
    before_s = machine.clock.now_s

    record(one, tmp_path / "r.csv", duration_s=1e-6)

    assert machine.clock.now_s - before_s < 0.25
    registers = (*psu_corsair.READABLE, *psu_corsair.READABLE_OF_RAIL)
    reads = {psu_corsair.read_request(register) for register in registers}
    asked = {request.rstrip(b"\0") for request in firmware.requests}
    assert reads <= asked
    assert {request.hex() for request in asked - reads} == {"fe03", "02", "020001", "020002"}
    assert b"\x03\xd4" not in asked  # nobody knows whether it names the unit


def test_a_supply_that_comes_back_under_another_number_is_recorded_on(recorder, machine, tmp_path):
    one, firmware = recorder()
    machine.unplug()
    record(one, tmp_path / "gone.csv", 0.5)
    assert one.tally.reports == 0

    machine.plug(CORSAIR_HX1500I, firmware, serial=SERIAL, number=4)
    record(one, tmp_path / "back.csv", 0.5)

    assert one.tally.failed >= 5
    assert one.tally.reports > 20


class Full:
    """A file on a disk that is full."""

    def add(self, report):
        raise FileError("cannot write r.csv: no space left on device")


def test_a_full_disk_ends_the_recording(recorder):
    one, _ = recorder()

    with pytest.raises(FileError, match="no space left"):
        one.run(Full(), 1.0, 0.1)


def test_the_head_of_a_recording_has_the_model_and_not_the_unit(machine):
    machine.plug(NZXT_E850, serial=SERIAL)

    head = describe(scan()[0])

    assert head == {"model": "7793:2500", "name": "NZXT E850", "synthetic": "emulated"}


@pytest.mark.parametrize("is_bound", [True, False])
def test_what_the_kernel_alone_reads_is_not_recorded(machine, is_bound):
    hid = machine.plug(KERNEL_ONLY)
    if is_bound:
        machine.bind(hid)

    with pytest.raises(DeviceError, match="kernel"):
        recordable("auto")
