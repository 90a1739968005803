from __future__ import annotations

import csv
import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactmeter.sensors import psu_corsair, psu_nzxt
from pactmeter.sensors.psu_pmbus import crc8, linear11, ulinear16
from support.rights import refuse

# Real traffic of an RM1000i, which is not ours to ship; CI has it.
TRUTH = os.environ.get("PACTMETER_TRUTH") or Path(__file__).parents[3] / "shared" / "data"
CAPTURE = Path(TRUTH) / "captures" / "corsair_rm1000i_exchanges.csv"


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("4608", 140.0),
        ("3108", 98.0),
        ("3e08", 124.0),
        ("10f8", 8.0),
        ("03f8", 1.5),
        ("ffd2", 11.984375),
        ("d3d0", 3.296875),
        ("ccf9", 230.0),
        ("2bf0", 10.75),
        ("09e0", 0.5625),
        ("86f0", 33.5),
        ("4600", 70.0),
        ("80e2", 40.0),
        ("ffff", -0.5),
        ("00fc", -512.0),
        ("ff7b", 33521664.0),
    ],
)
def test_linear11_gives_what_real_units_meant(data, value):
    assert linear11(bytes.fromhex(data)) == value


@given(mantissa=st.integers(-1024, 1023), exponent=st.integers(-16, 15))
def test_linear11_survives_a_round_trip(mantissa, exponent):
    raw = (exponent & 0x1F) << 11 | (mantissa & 0x7FF)

    assert linear11(raw.to_bytes(2, "little")) == mantissa * 2.0**exponent


@given(mantissa=st.integers(0, 0xFFFF), exponent=st.integers(-16, 15))
def test_ulinear16_survives_a_round_trip(mantissa, exponent):
    data = mantissa.to_bytes(2, "little")

    assert ulinear16(data, exponent & 0x1F) == mantissa * 2.0**exponent


def test_ulinear16_refuses_another_format():
    with pytest.raises(ValueError, match="VOUT_MODE 0x40"):
        ulinear16(b"\x9d\x01", 0x40)


@pytest.mark.parametrize("data", [b"", b"\x46"])
def test_a_value_that_is_cut_off_is_refused(data):
    with pytest.raises(ValueError, match="two bytes"):
        linear11(data)
    with pytest.raises(ValueError, match="two bytes"):
        ulinear16(data, 0x19)


@given(data=st.binary(max_size=20))
def test_a_checksum_over_data_and_its_checksum_is_zero(data):
    assert crc8(data + bytes((crc8(data),))) == 0


REAL_NZXT = [
    (2, 0x8C, "76c8", 0x6E),
    (2, 0x96, "ccd2", 0x0A),
    (4, 0x8B, "9d01", 0x14),
    (4, 0x8C, "06c8", 0x3A),
    (2, 0x8B, "0506", 0xBE),
    (2, 0x8C, "00c8", 0xB2),
    (2, 0x96, "00c8", 0x5D),
]


@pytest.mark.parametrize(("page", "register", "data", "pec"), REAL_NZXT)
def test_a_real_nzxt_reply_is_recognised_by_its_checksum(page, register, data, pec):
    request = psu_nzxt.rail_request(page, register)
    reply = bytes((0xAA, 4, 2)) + bytes.fromhex(data) + bytes((pec,))

    assert psu_nzxt.is_answer(request, reply.ljust(64, b"\0"))
    assert psu_nzxt.payload(request, reply) == bytes.fromhex(data)
    assert not psu_nzxt.is_answer(psu_nzxt.rail_request(page ^ 2, register), reply)


def test_requests_are_the_bytes_the_devices_know():
    assert psu_corsair.read_request(0xEE).hex() == "03ee"
    assert psu_corsair.page_request(2).hex() == "020002"
    assert psu_nzxt.read_request(0x8E).hex() == "ad000301608e"
    assert psu_nzxt.rail_request(3, 0x96).hex() == "ad0004046006020396"


def test_all_ones_is_busy_before_any_checksum():
    request = psu_nzxt.rail_request(0, 0x96)
    busy = bytes.fromhex("aa04ffffffff")

    assert psu_nzxt.is_busy(request, busy)
    assert psu_nzxt.is_answer(request, busy)
    assert not psu_nzxt.is_busy(request, bytes.fromhex("aa04ff"))


@given(reply=st.binary(max_size=64))
def test_no_report_whatever_breaks_the_matching(reply):
    for request in (psu_corsair.read_request(0xEE), psu_corsair.HANDSHAKE):
        psu_corsair.is_answer(request, reply)
    for request in (psu_nzxt.read_request(0x8E), psu_nzxt.rail_request(1, 0x96)):
        psu_nzxt.is_answer(request, reply)


@pytest.mark.parametrize(
    ("request_hex", "reply_hex", "ours"),
    [
        ("03ee", "03ee4608", True),
        ("03ee", "03ee46", False),
        ("03ee", "0388ccf9", False),
        ("03ee", "03fe0000", True),
        ("03ee", "02fe0000", False),
        ("03ee", "03000000", False),
        ("020001", "020001", True),
        ("020001", "020002", False),
        ("fe03", "fe03524d3130303069", True),
    ],
)
def test_a_corsair_reply_is_ours_only_if_it_echoes_the_request(request_hex, reply_hex, ours):
    assert psu_corsair.is_answer(bytes.fromhex(request_hex), bytes.fromhex(reply_hex)) is ours


def test_every_recorded_exchange_is_matched_and_decoded():
    if not CAPTURE.exists():
        refuse(f"there is no {CAPTURE}: set PACTMETER_TRUTH")
    with CAPTURE.open(newline="") as file:
        rows = [(row["direction"], row["report_hex"]) for row in csv.DictReader(file)]
    # The recording drops the padding; on the wire every report has 64 bytes.
    pairs = [
        (bytes.fromhex(request), bytes.fromhex(reply).ljust(64, b"\0"))
        for (kind, request), (other, reply) in pairwise(rows)
        if (kind, other) == ("out", "in")
    ]
    values = {0xEE: [], 0x88: [], 0x8D: [], 0x96: []}

    for request, reply in pairs:
        assert psu_corsair.is_answer(request, reply)
        assert not psu_corsair.is_uninitialised(request, reply)
        if request[0] == 3 and request[1] in values:
            values[request[1]].append(linear11(psu_corsair.payload(reply)))

    assert len(pairs) > 2000
    assert all(52.0 <= total_w <= 140.0 and total_w % 2.0 == 0.0 for total_w in values[0xEE])
    assert all(225.0 <= input_v <= 235.0 for input_v in values[0x88])
    assert all(20.0 <= temp_c <= 60.0 for temp_c in values[0x8D])
    assert all(0.0 <= rail_w <= 140.0 for rail_w in values[0x96])
    assert all(values.values())
