"""The emulated Corsair firmware answers as real units do, and goes wrong by order."""

from __future__ import annotations

import statistics
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactmeter.bench.corsair import CorsairFirmware, product
from pactmeter.bench.faults import Fault, FaultBoard
from pactmeter.bench.firmware import linear11
from pactmeter.bench.machine import Machine as Load
from pactmeter.bench.machine import parse_psu
from pactmeter.errors import ReadError
from pactmeter.model import psu
from pactmeter.sensors import psu_corsair, psu_pmbus
from unit.psu_fakes import CORSAIR_HX1500I, Machine

RM1000I = (124.0, 8.0, 1.5)
CORSAIRS = [model for model in psu.MODELS if model.protocol is psu.Protocol.CORSAIR]


def supply(name="hx1500i", **values):
    """Return a supply whose sensors see what real ones saw: see the golden replies."""
    seen = {
        "dc_output_w": 140.0,
        "rails_w": RM1000I,
        "rails_v": (11.984, 5.016, 3.297),
        "temp_c": 33.5,
        "case_temp_c": 26.5,
        "fan_rpm": 0.0,
        "true_ac_w": 161.0,
    } | values
    fixed = {key: lambda _, value=value: value for key, value in seen.items()}
    return SimpleNamespace(name="psu0", model=psu.match(name).model, input_v=230.0, **fixed)


def ready(which=None, board=None, clock=lambda: 0.0, **options):
    firmware = CorsairFirmware(which or supply(), board or FaultBoard(clock), clock, **options)
    firmware.handle(b"\xfe\x03")
    return firmware


def asked(firmware, request):
    """Return the one report that answers a request given as hex."""
    ((_, report),) = firmware.handle(bytes.fromhex(request).ljust(64, b"\0"))
    return report


@pytest.fixture
def machine(tmp_path, monkeypatch):
    made = Machine(tmp_path, monkeypatch)
    yield made
    made.close()


@pytest.fixture
def board(machine):
    return FaultBoard(machine.clock)


@pytest.fixture
def firmware(machine, board):
    return CorsairFirmware(supply(), board, machine.clock)


@pytest.fixture
def reader(machine, firmware):
    """Return the product's own reader of the emulated supply, which it has woken."""
    made = machine.open(CORSAIR_HX1500I, firmware)._reader
    assert made.total_w() == 140.0
    return made


@pytest.fixture
def liquidctl(machine, firmware):
    """Return liquidctl's own driver, connected."""
    machine.plug(CORSAIR_HX1500I, firmware, serial="A1")
    from liquidctl.driver.corsair_hid_psu import CorsairHidPsu

    (driver,) = CorsairHidPsu.find_supported_devices()
    driver.connect()
    yield driver
    driver.disconnect()


@pytest.mark.parametrize(
    ("values", "page", "reply"),
    [
        ({}, 0, "03ee4608"),
        ({"dc_output_w": 98.9}, 0, "03ee3108"),
        ({}, 0, "03963e08"),
        ({"rails_w": (80.0, 8.0, 1.5)}, 0, "03962808"),
        ({}, 1, "039610f8"),
        ({}, 2, "039603f8"),
        ({}, 0, "038bffd2"),
        ({}, 1, "038b41d1"),
        ({}, 2, "038bd3d0"),
        ({"rails_w": (10.75 * 11.984, 8.0, 1.5)}, 0, "038c2bf0"),
        ({"rails_w": (124.0, 1.6875 * 5.016, 1.5)}, 1, "038c1be0"),
        ({"rails_w": (124.0, 8.0, 0.5625 * 3.297)}, 2, "038c09e0"),
        ({}, 0, "0388ccf9"),
        ({}, 0, "038d86f0"),
        ({}, 0, "038e6af0"),
        ({}, 0, "03900010"),
        ({}, 0, "034f4600"),
        ({}, 0, "0340e6d3"),
        ({}, 1, "0340a0d1"),
        ({}, 2, "034013d1"),
        ({}, 0, "03441ad2"),
        ({}, 1, "0344e0d0"),
        ({}, 2, "034494d0"),
        ({}, 0, "034690f1"),
        ({}, 1, "034680e2"),
        ({}, 2, "034680e2"),
        ({}, 0, "03d802"),
        ({}, 0, "033b1b"),
        ({}, 0, "03f000"),
        ({}, 0, "03d46d9febfe"),
        ({}, 0, "03d1224711"),
        ({}, 0, "0399434f5253414952"),
        ({}, 0, "039a524d3130303069"),
        ({}, 0, "fe03524d3130303069"),
    ],
)
def test_a_reply_is_that_of_a_real_rm1000i(values, page, reply):
    firmware = ready(supply("rm1000i", **values))
    asked(firmware, f"0200{page:02x}")

    assert asked(firmware, reply[:4]) == bytes.fromhex(reply).ljust(64, b"\0")


def test_an_hx_leaves_what_stood_in_its_buffer_behind_the_data():
    assert asked(ready(), "03d2") == b"\x03\xd2\x13\xc6\0\0" + b"00i" + bytes(55)


def test_an_hx1500i_has_the_12_v_limit_of_a_real_one():
    assert psu_pmbus.linear11(asked(ready(), "0346")[2:4]) == 168.75


@given(value=st.floats(0.0, 1023.0), exponent=st.integers(-4, 1))
def test_a_value_is_rounded_to_the_nearest_step(value, exponent):
    step = 2.0**exponent
    limit = 1023 * step

    shown = psu_pmbus.linear11(linear11(value, exponent))

    assert shown == limit if value > limit else abs(shown - value) <= step / 2


@pytest.mark.parametrize("model", CORSAIRS, ids=lambda model: model.usb_id)
def test_every_model_says_its_own_name(model):
    said = asked(ready(supply(model.usb_id)), "039a")[2:].split(b"\0")[0].decode()

    assert said == product(model)
    assert psu.match(said).model.rated_w == model.rated_w


def test_before_the_handshake_every_reply_says_so_and_nothing_is_done():
    firmware = CorsairFirmware(supply(), FaultBoard(lambda: 0.0), lambda: 0.0)

    assert asked(firmware, "03ee")[:4] == b"\x03\xfe\0\0"
    assert asked(firmware, "020002")[:4] == b"\x02\xfe\0\0"
    assert asked(firmware, "02d801")[:4] == b"\x02\xfe\0\0"
    assert asked(firmware, "fe03")[:9] == b"\xfe\x03HX1500i"
    assert asked(firmware, "03ee")[:4] == bytes.fromhex("03ee4608")
    assert (firmware.page, firmware.ocp_mode) == (0, 2)
    assert [write["request"] for write in firmware.writes()] == ["02d801"]


def test_a_replug_wants_the_handshake_again():
    firmware = ready()
    asked(firmware, "020002")

    firmware.reset()

    assert asked(firmware, "03ee")[:4] == b"\x03\xfe\0\0"
    assert firmware.page == 0


def test_a_request_that_is_not_supported_is_answered_with_command_0():
    firmware = ready(supply("rm1000i"))

    assert asked(firmware, "0377") == b"\x03".ljust(64, b"\0")
    assert asked(firmware, "0389") == b"\x03".ljust(64, b"\0")
    assert asked(firmware, "0277aa") == b"\x02".ljust(64, b"\0")
    assert [(logged.request.hex(), logged.is_write) for logged in firmware.log] == [
        ("0377", False),
        ("0389", False),
        ("0277aa", True),
    ]


def test_the_first_hxi_measure_their_input_current():
    reply = asked(ready(supply("hx1000i")), "0389")

    assert psu_pmbus.linear11(reply[2:4]) == pytest.approx(161.0 / 230.0, abs=1 / 32)


@pytest.mark.parametrize(
    ("write", "read", "then"),
    [
        ("02d801", "03d8", "03d801"),
        ("02f001", "03f0", "03f001"),
        ("023b32", "033b", "033b32"),
        ("02d807", "03d8", "03d802"),
        ("02f009", "03f0", "03f000"),
        ("023bff", "033b", "033b1b"),
    ],
)
def test_a_write_is_seen_in_later_reads_and_in_the_truth(write, read, then):
    firmware = ready(clock=lambda: 7.5)

    taken = asked(firmware, write)[:3].hex() == write

    assert asked(firmware, read)[:3].hex() == then
    assert taken is (then[4:] == write[4:])
    assert firmware.writes() == [{"t_s": 7.5, "request": write}]


def test_a_zero_that_is_written_is_shown():
    firmware = ready()
    asked(firmware, "02f000")

    assert [write["request"] for write in firmware.writes()] == ["02f000"]


def test_a_page_that_is_not_there_is_refused():
    firmware = ready()
    asked(firmware, "020001")

    assert asked(firmware, "020003")[:3] == b"\x02\0\0"
    assert firmware.page == 1


def test_a_long_run_leaves_counts_but_no_entries():
    firmware = ready()
    for page in range(1000):
        asked(firmware, f"0200{page % 3:02x}")
        asked(firmware, "0396")

    assert firmware.total == 2001
    assert firmware.counts == {b"\xfe\x03": 1, b"\x02\x00": 1000, b"\x03\x96": 1000}
    assert firmware.log == []


def test_latencies_are_those_of_real_units():
    firmware = ready()
    drawn_s = sorted(firmware.handle(b"\x03\xee")[0][0] for _ in range(4000))

    assert drawn_s[0] == pytest.approx(1.2e-3, abs=1e-5)
    assert statistics.median(drawn_s) == pytest.approx(1.7e-3, abs=1e-5)
    assert drawn_s[3800] == pytest.approx(2.2e-3, abs=1e-5)
    assert drawn_s[-1] == pytest.approx(2.8e-3, abs=1e-5)
    assert [ready().handle(b"\x03\xee") for _ in range(2)] == [ready().handle(b"\x03\xee")] * 2


def test_the_product_reads_what_the_sensors_see(reader):
    assert reader.total_w() == 140.0
    assert reader.rails_w() == RM1000I
    assert reader.input_v() == 230.0
    assert reader.temp_c() == 33.5


def test_the_product_reads_the_load_of_the_machine(machine):
    load = Load([parse_psu("hx1500i")], load="steady:100")
    start_s = machine.clock.now_s
    fake = CorsairFirmware(
        load.supplies[0], FaultBoard(machine.clock), lambda: machine.clock.now_s - start_s
    )
    device = machine.open(CORSAIR_HX1500I, fake)

    assert device.read()[0] == pytest.approx(load.supplies[0].dc_output_w(0.0), abs=1.0)
    assert fake.writes() == []


# --- liquidctl ------------------------------------------------------------------------------------


def test_liquidctl_reads_all_its_rows(liquidctl, firmware):
    firmware.ready = True

    rows = {name: (value, unit) for name, value, unit in liquidctl.get_status()}

    now_s = int(100.0)
    assert len(rows) == 20
    assert rows["Current uptime"][0] - timedelta(seconds=50_707 + now_s) < timedelta(seconds=1)
    assert rows["Total uptime"][0] - timedelta(seconds=1_132_322 + now_s) < timedelta(seconds=1)
    assert str(rows["Fan control mode"][0]) == "Hardware"
    assert str(rows["+12V OCP mode"][0]) == "Multi rail"
    assert rows["VRM temperature"] == (33.5, "°C")
    assert rows["Case temperature"] == (26.5, "°C")
    assert rows["Fan speed"] == (0.0, "rpm")
    assert rows["Input voltage"] == (230.0, "V")
    assert rows["+12V output voltage"] == (11.984375, "V")
    assert rows["+5V output current"] == (1.625, "A")
    assert rows["+12V output power"] == (124.0, "W")
    assert rows["+5V output power"] == (8.0, "W")
    assert rows["+3.3V output power"] == (1.5, "W")
    assert rows["Total power output"] == (140.0, "W")
    assert rows["Estimated input power"] == (160.0, "W")


def test_another_programs_status_is_what_liquidctl_asks(liquidctl, firmware):
    firmware.ready = True
    seen = []
    plain = firmware.handle
    firmware.handle = lambda request: seen.append(request) or plain(request)

    liquidctl.get_status()

    assert seen == firmware.status_requests()
    assert len(seen) == 23


def test_initialize_of_liquidctl_is_seen_among_the_writes(liquidctl, firmware):
    firmware.ready = True
    firmware.ocp_mode, firmware.fan_mode = 1, 1

    liquidctl.initialize()

    assert [write["request"] for write in firmware.writes()] == ["02d802", "02f000"]
    assert (firmware.ocp_mode, firmware.fan_mode) == (2, 0)


def test_liquidctl_without_the_handshake_takes_it_for_a_conflict(liquidctl):
    with pytest.raises(AssertionError, match="possible conflict"):
        liquidctl.get_status()


# --- faults ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["drop", "late", "short", "empty", "wrong_echo"])
def test_a_spoilt_reply_is_no_reading_and_the_next_one_is_good(reader, board, name):
    board.add(Fault("psu0", name, count=1))

    with pytest.raises(ReadError, match="no valid reply to 03ee"):
        reader.total_w()
    assert reader.total_w() == 140.0


@pytest.mark.parametrize("name", ["long", "foreign", "delay"])
def test_a_reply_that_can_be_used_is_used(reader, board, name):
    board.add(Fault("psu0", name))

    assert reader.total_w() == 140.0
    assert reader.rails_w() == RM1000I


@pytest.mark.parametrize(
    ("name", "value", "request_hex", "replies"),
    [
        ("short", None, "03ee", ["03ee"]),
        ("short", "10", "03ee", ["03ee46080000" + "00" * 4]),
        ("long", None, "03ee", ["03ee4608" + "00" * 60 + "03ee4608" + "00" * 28]),
        ("empty", None, "03ee", ["00" * 64]),
        ("wrong_echo", None, "03ee", ["03884608" + "00" * 60]),
        ("wrong_echo", None, "0388", ["038dccf9" + "00" * 60]),
        ("foreign", None, "03ee", ["0388ccf9" + "00" * 60, "03ee4608" + "00" * 60]),
        ("foreign", None, "0388", ["038d86f0" + "00" * 60, "0388ccf9" + "00" * 60]),
        ("drop", None, "03ee", []),
        ("raw", "ee:ff7b", "03ee", ["03eeff7b" + "00" * 60]),
        ("raw", "F0:09", "03f0", ["03f009" + "00" * 61]),
        ("raw", "ee:ff7b", "0388", ["0388ccf9" + "00" * 60]),
        ("zero", None, "03ee", ["03ee0008" + "00" * 60]),
        ("zero", None, "0396", ["03960008" + "00" * 60]),
        ("zero", None, "038b", ["038bffd2" + "00" * 60]),
    ],
)
def test_what_a_fault_makes_of_a_reply(name, value, request_hex, replies):
    board = FaultBoard(lambda: 0.0)
    firmware = ready(supply("rm1000i"), board)
    board.add(Fault("psu0", name, value))

    reports = firmware.handle(bytes.fromhex(request_hex))

    assert [report.hex() for _, report in reports] == replies
    assert [delay_s for delay_s, _ in reports] == sorted(delay_s for delay_s, _ in reports)


@pytest.mark.parametrize(
    ("name", "value", "delay_s"),
    [("late", None, 0.4), ("late", "1.5", 1.5), ("delay", "0.1", 0.1), ("delay", None, 0.05)],
)
def test_a_reply_comes_so_much_later(name, value, delay_s):
    board = FaultBoard(lambda: 0.0)
    firmware = ready(board=board, latency_s=0.002)
    board.add(Fault("psu0", name, value))

    assert firmware.handle(b"\x03\xee")[0][0] == pytest.approx(delay_s + 0.002)


def test_a_late_reply_is_stale_for_whoever_asks_next(liquidctl, firmware, board, machine):
    firmware.ready = True
    driver = liquidctl.device
    board.add(Fault("psu0", "late", count=1))

    driver.write(b"\0\x03\x88" + bytes(62))
    machine.clock.sleep(0.41)
    driver.write(b"\0\x03\xee" + bytes(62))

    assert bytes(driver.read(64, timeout=250))[:2] == b"\x03\x88"
    assert bytes(driver.read(64, timeout=250))[:2] == b"\x03\xee"


def test_a_lost_reply_does_not_undo_its_request():
    board = FaultBoard(lambda: 0.0)
    firmware = ready(board=board)
    board.add(Fault("psu0", "drop"))

    assert firmware.handle(b"\x02\x00\x02") == []
    assert firmware.page == 2


def test_several_registers_can_be_raw_at_once_each_so_many_times():
    board = FaultBoard(lambda: 0.0)
    firmware = ready(board=board)
    board.add(Fault("psu0", "raw", "88:0000"))
    board.add(Fault("psu0", "raw", "ee:ffff", count=1))

    assert asked(firmware, "03ee")[2:4].hex() == "ffff"
    assert asked(firmware, "0388")[2:4].hex() == "0000"
    assert asked(firmware, "03ee")[2:4].hex() == "4608"


def test_frozen_values_are_those_of_the_faults_start():
    now_s = [0.0]
    board = FaultBoard(lambda: now_s[0])
    rising = supply()
    rising.dc_output_w = lambda t_s: 100.0 + 10.0 * t_s
    firmware = ready(rising, board, lambda: now_s[0])
    board.add(Fault("psu0", "frozen", start_s=2.0, duration_s=60.0))
    seen = []
    for now_s[0] in (0.0, 3.0, 30.0, 63.0):
        seen.append(psu_pmbus.linear11(asked(firmware, "03ee")[2:4]))

    assert seen == [100.0, 120.0, 120.0, 730.0]


def test_a_zero_total_with_zero_rails_is_told_from_a_supply_that_gives_nothing(machine, firmware):
    device = machine.open(CORSAIR_HX1500I, firmware)
    device.read()
    firmware._faults.add(Fault("psu0", "zero"))

    with pytest.raises(ReadError, match="0 W, right after 140 W"):
        device.read()


def test_a_supply_that_forgot_the_handshake_gets_it_again(reader, board, firmware):
    board.add(Fault("psu0", "uninitialised"))

    assert reader.total_w() == 140.0
    assert firmware.counts[psu_corsair.HANDSHAKE] == 2
    assert reader.total_w() == 140.0
    assert firmware.counts[psu_corsair.HANDSHAKE] == 2


def test_a_supply_that_will_not_be_initialised_is_so_as_long_as_that_holds(reader, board, machine):
    board.add(Fault("psu0", "uninitialised", start_s=machine.clock(), duration_s=1.0))

    for _ in range(3):
        with pytest.raises(ReadError, match="still not initialised"):
            reader.total_w()
    machine.clock.sleep(1.0)
    assert reader.total_w() == 140.0


def test_a_supply_forgets_the_handshake_as_often_as_ordered(reader, board, firmware):
    board.add(Fault("psu0", "uninitialised", count=3))

    with pytest.raises(ReadError, match="still not initialised"):
        reader.total_w()
    assert reader.total_w() == 140.0
    assert reader.total_w() == 140.0


def test_a_fault_of_another_supply_or_time_changes_nothing(reader, board, machine):
    now_s = machine.clock()
    board.add(Fault("psu1", "drop"))
    board.add(Fault("psu0", "drop", start_s=now_s + 1.0))
    board.add(Fault("psu0", "drop", start_s=now_s - 1.0, duration_s=0.5))
    board.add(Fault("psu0", "short"))
    board.clear("psu0", "short")

    assert reader.total_w() == 140.0


def test_a_read_is_answered_in_time_for_long_virtual_runs():
    firmware = ready()
    request = b"\x03\xee".ljust(64, b"\0")
    costs_us = []
    for _ in range(11):
        start_s = time.perf_counter()
        for _ in range(2000):
            firmware.handle(request)
        costs_us.append((time.perf_counter() - start_s) / 2000 * 1e6)

    assert statistics.median(costs_us) < 3 * 15.0
