"""A replay answers what was recorded; the real recording decodes to sane values throughout."""

from __future__ import annotations

import os
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace

import pytest

from pactmeter.bench import nzxt
from pactmeter.bench.faults import Fault, FaultBoard
from pactmeter.bench.nzxt import NzxtFirmware
from pactmeter.bench.replay import ReplayFirmware, decoded
from pactmeter.errors import ReadError
from pactmeter.model import psu
from pactmeter.model.exchanges import Report, exchanges, model_of, read_reports
from pactmeter.sensors import psu_corsair
from pactmeter.sensors.psu_pmbus import linear11
from support.rights import refuse
from unit.psu_fakes import CORSAIR_RM1000I, NZXT_E850, Machine

# Real traffic of an RM1000i, which is not ours to ship; CI has it.
TRUTH = os.environ.get("PACTMETER_TRUTH") or Path(__file__).parents[3] / "shared" / "data"
CAPTURE = Path(TRUTH) / "captures" / "corsair_rm1000i_exchanges.csv"


def traffic(*rows):
    """Return reports from ``(time, request, latency, reply)``; no reply for None."""
    made = []
    for t_s, request, latency_s, reply in rows:
        made.append(Report(t_s, is_out=True, data=bytes.fromhex(request).ljust(64, b"\0")))
        if reply is not None:
            data = bytes.fromhex(reply).ljust(64, b"\0")
            made.append(Report(t_s + latency_s, is_out=False, data=data))
    return made


CORSAIR = traffic(
    (10.0, "fe03", 0.002, "fe03524d3130303069"),
    (11.0, "03ee", 0.002, "03ee3208"),  # 100 W
    (12.0, "03ee", 0.003, "03ee6408"),  # 200 W
    (12.5, "03ee", 0.003, "0388ccf9"),
    (12.6, "03ee", 0.003, "03fe0000"),
    (12.7, "03ee", 0.003, None),
    (13.0, "020001", 0.002, "020001"),
    (13.1, "0396", 0.002, "039610f8"),  # 8 W
    (13.2, "020002", 0.002, "020002"),
    (13.3, "0396", 0.002, "039603f8"),  # 1.5 W
)
NZXT_RAILS_W = (10.0, 40.0, 11.1875, 5.0, 2.5)


class Fixed:
    """A clock that a test sets."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Fixed()


@pytest.fixture
def board(clock):
    return FaultBoard(clock)


@pytest.fixture
def replay(clock, board):
    return ReplayFirmware(exchanges(CORSAIR), clock, faults=board)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    made = Machine(tmp_path, monkeypatch)
    yield made
    made.close()


@pytest.fixture(scope="module")
def capture():
    if not CAPTURE.exists():
        refuse(f"there is no {CAPTURE}: set PACTMETER_TRUTH")
    return read_reports(CAPTURE)


def asked(firmware, request):
    ((_, report),) = firmware.handle(bytes.fromhex(request).ljust(64, b"\0"))
    return report.rstrip(b"\0").hex()


@pytest.mark.parametrize(
    ("now_s", "total_w", "latency_s"),
    [(-1.0, 100, 2e-3), (0.5, 100, 2e-3), (1.5, 100, 2e-3), (2.01, 200, 3e-3), (99.0, 200, 3e-3)],
)
def test_a_request_gets_the_last_reply_recorded_up_to_now(replay, clock, now_s, total_w, latency_s):
    clock.now_s = now_s

    ((delay_s, report),) = replay.handle(b"\x03\xee".ljust(64, b"\0"))

    assert linear11(report[2:4]) == total_w
    assert delay_s == pytest.approx(latency_s)


def test_a_rails_reply_is_that_of_the_selected_page(replay):
    assert asked(replay, "0396") == "03"
    assert asked(replay, "020001") == "020001"
    assert asked(replay, "0396") == "039610f8"
    assert asked(replay, "020002") == "020002"
    assert asked(replay, "0396") == "039603f8"
    assert asked(replay, "03ee") == "03ee3208"


def test_what_another_program_had_swapped_is_not_replayed(clock):
    """Its selection shows before the answer, which may then be of its rail."""
    recorded = traffic(
        (0.0, "020001", 0.002, "020000"),  # the other one's, before ours
        (0.01, "0396", 0.002, "020000"),  # and again, before our answer
        (0.5, "020001", 0.002, "020001"),
        (0.6, "0396", 0.002, "039610f8"),
    )
    for at, reply in ((2, "020001"), (5, "03965308")):
        data = bytes.fromhex(reply).ljust(64, b"\0")
        recorded.insert(at, Report(recorded[at - 1].t_s + 0.001, is_out=False, data=data))
    replay = ReplayFirmware(exchanges(recorded), clock)

    assert asked(replay, "020001") == "020001"
    assert asked(replay, "0396") == "039610f8"
    assert [value for _, _, value, _ in decoded(recorded)] == [8.0]


def test_what_was_not_recorded_is_not_supported_and_logged(replay):
    assert asked(replay, "0388") == "03"
    assert asked(replay, "02d802") == "02"
    assert asked(replay, "fe03") == "fe03524d3130303069"
    assert [(logged.request.hex(), logged.is_write) for logged in replay.log] == [
        ("0388", False),
        ("02d802", True),
    ]
    assert [write["request"] for write in replay.writes()] == ["02d802"]


def test_a_handshake_that_was_not_recorded_names_the_model(clock):
    model = psu.match("hx1500i").model
    replay = ReplayFirmware(exchanges(CORSAIR[2:]), clock, model=model)

    assert bytes.fromhex(asked(replay, "fe03")) == b"\xfe\x03HX1500i"


@pytest.mark.parametrize(
    ("name", "value", "reply"),
    [
        ("raw", "ee:ff7b", "03eeff7b"),
        ("raw", "88:0000", "03ee3208"),
        ("zero", None, "03ee0008"),
        ("wrong_echo", None, "03883208"),
        ("short", None, "03ee"),
    ],
)
def test_a_fault_befalls_a_replay(replay, board, name, value, reply):
    board.add(Fault("psu0", name, value))

    assert asked(replay, "03ee") == reply


def test_a_foreign_reply_in_a_replay_is_that_of_another_request(replay, board):
    board.add(Fault("psu0", "foreign"))

    reports = [report[:4].hex() for _, report in replay.handle(b"\x03\xee")]

    assert reports == ["03000000", "03ee3208"]  # the recording has no input voltage


def test_a_replug_selects_the_first_page_again(replay):
    asked(replay, "020001")

    replay.reset()

    assert replay.page == 0


def test_a_frozen_replay_stands_still(replay, board, clock):
    board.add(Fault("psu0", "frozen", start_s=0.5))
    clock.now_s = 30.0

    assert asked(replay, "03ee") == "03ee3208"


def test_an_empty_recording_supports_nothing(clock):
    assert asked(ReplayFirmware([], clock), "03ee") == "03"


def test_a_corsair_recording_decodes_rail_by_rail():
    assert [value[1:] for value in decoded(CORSAIR)] == [
        ("total output", 100.0, "W"),
        ("total output", 200.0, "W"),
        ("5v output", 8.0, "W"),
        ("3v3 output", 1.5, "W"),
    ]
    assert decoded(CORSAIR)[0][0] == pytest.approx(11.002)


# --- NZXT -----------------------------------------------------------------------------------------


def nzxt_traffic():
    """Return a status of the emulated E850, then what another program and a busy device add."""
    supply = SimpleNamespace(
        name="psu0",
        rails_w=lambda _: NZXT_RAILS_W,
        rails_v=lambda _: (12.0, 12.0, 12.0390625, 5.0, 3.2265625),
        temp_c=lambda _: 48.0,
        fan_rpm=lambda _: 0.0,
    )
    firmware = NzxtFirmware(supply, FaultBoard(lambda: 0.0), lambda: 0.0)
    made = []
    for index, request in enumerate(firmware.status_requests()):
        made.append(Report(0.1 * index, is_out=True, data=request))
        made.append(Report(0.1 * index + 0.01, is_out=False, data=b"\xaa\x04" + b"\xff" * 62))
        foreign = nzxt.other_request(request)
        for delay_s, asked_for in ((0.02, foreign), (0.03, request)):
            ((_, reply),) = firmware.handle(asked_for)
            made.append(Report(0.1 * index + delay_s, is_out=False, data=reply))
    return made


def test_a_nzxt_replay_gives_the_reply_whose_checksum_fits(machine):
    recorded = nzxt_traffic()
    replay = ReplayFirmware(exchanges(recorded), machine.clock)
    device = machine.open(NZXT_E850, replay, rails=True)

    values = device.read()

    assert values[-5:] == NZXT_RAILS_W
    assert model_of(recorded, {}).name == "NZXT E850"


def test_a_nzxt_recording_decodes_rail_by_rail():
    values = {quantity + unit: value for _, quantity, value, unit in decoded(nzxt_traffic())}

    assert len(values) == 2 + 5 * 3
    assert values["temperature°C"] == 48.0
    assert values["12v_board outputV"] == 12.0390625
    assert values["12v_cpu outputW"] == 40.0


@pytest.mark.parametrize("name", ["busy", "bad_pec", "zero", "raw", "wrong_echo"])
def test_a_fault_befalls_a_nzxt_replay(machine, name):
    board = FaultBoard(machine.clock)
    replay = ReplayFirmware(exchanges(nzxt_traffic()), machine.clock, faults=board)
    device = machine.open(NZXT_E850, replay)
    board.add(Fault("psu0", name, "96:0044" if name == "raw" else None))

    with pytest.raises(ReadError):
        device.read()


def test_what_a_nzxt_was_not_asked_is_all_ones(clock):
    replay = ReplayFirmware(exchanges(nzxt_traffic()), clock)

    assert asked(replay, "ad00030160d0") == "aa03ffffff"
    assert replay.writes() == []
    assert len(replay.status_requests()) == 23


# --- the real recording ---------------------------------------------------------------------------


def test_the_recording_is_whole(capture):
    found = exchanges(capture.reports)

    assert capture.note is None
    assert model_of(capture.reports, capture.header).usb_id == "1b1c:1c0d"
    # The last request was sent as the recording stopped.
    assert len(found) == 2134
    assert [len(exchange.replies) for exchange in found] == [1] * 2133 + [0]


def test_the_recording_decodes_to_sane_values_throughout(capture):
    bounds = {
        ("total output", "W"): (52.0, 140.0),
        ("input", "V"): (225.0, 235.0),
        ("VRM temperature", "°C"): (20.0, 60.0),
        ("case temperature", "°C"): (20.0, 60.0),
        ("critical temperature", "°C"): (70.0, 70.0),
        ("fan", "rpm"): (0.0, 0.0),
        ("12v output", "V"): (11.4, 12.6),
        ("5v output", "V"): (4.75, 5.25),
        ("3v3 output", "V"): (3.135, 3.465),
        ("12v output", "W"): (30.0, 140.0),
        ("5v output", "W"): (5.0, 15.0),
        ("3v3 output", "W"): (0.5, 5.0),
        ("12v output", "A"): (2.5, 12.0),
        ("5v output", "A"): (1.0, 3.0),
        ("3v3 output", "A"): (0.2, 1.5),
        ("12v high", "V"): (15.59375, 15.59375),
        ("12v low", "V"): (8.40625, 8.40625),
        ("12v high", "A"): (100.0, 100.0),
        ("5v high", "V"): (6.5, 6.5),
        ("5v low", "V"): (3.5, 3.5),
        ("5v high", "A"): (40.0, 40.0),
        ("3v3 high", "V"): (4.296875, 4.296875),
        ("3v3 low", "V"): (2.3125, 2.3125),
        ("3v3 high", "A"): (40.0, 40.0),
    }
    values = sorted(decoded(capture.reports), key=lambda value: (value[1], value[3]))
    seen = {}
    for key, group in groupby(values, key=lambda value: (value[1], value[3])):
        seen[key] = [value for _, _, value, _ in group]

    assert set(seen) == set(bounds)
    for key, (low, high) in bounds.items():
        assert low <= min(seen[key]), key
        assert max(seen[key]) <= high, key
    assert {len(found) for key, found in seen.items() if "12v" not in key[0]} <= {22, 23}


def test_the_products_decoder_agrees_with_every_reply(capture):
    ours = {t_s: value for t_s, _, value, _ in decoded(capture.reports)}
    agreed = 0
    for exchange in exchanges(capture.reports)[:-1]:
        ((t_s, reply),) = exchange.replies
        request = exchange.request[: 3 if exchange.request[0] == 2 else 2]
        assert psu_corsair.is_answer(request, reply)
        assert not psu_corsair.is_uninitialised(request, reply)
        if t_s in ours:
            assert linear11(psu_corsair.payload(reply)) == ours[t_s]
            agreed += 1

    assert agreed == len(ours) > 500


def test_the_product_reads_the_recording_as_it_was(capture, machine):
    start_s = machine.clock()
    replay = ReplayFirmware(exchanges(capture.reports), lambda: machine.clock() - start_s)
    reader = machine.open(CORSAIR_RM1000I, replay)._reader
    totals = [(t_s, w) for t_s, name, w, _ in decoded(capture.reports) if name == "total output"]
    for _ in range(220):
        now_s = machine.clock() - start_s
        recorded_w = [total_w for t_s, total_w in totals if t_s <= now_s] or [totals[0][1]]

        assert reader.total_w() == recorded_w[-1]
        assert sum(reader.rails_w()) == pytest.approx(recorded_w[-1], abs=60.0)
        assert 225.0 <= reader.input_v() <= 235.0
        assert 20.0 <= reader.temp_c() <= 60.0
        machine.clock.sleep(0.1)

    assert replay.log == []
    assert replay.counts[b"\x03\xee"] == 220
