"""Recorded USB traffic survives a round trip, a crash, and tells what is wrong with it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactmeter.errors import FileError
from pactmeter.model.exchanges import (
    COLUMNS,
    Exchange,
    Report,
    Writer,
    exchanges,
    model_of,
    read_reports,
)


def report(t_s, direction, data):
    return Report(t_s, direction == "out", bytes.fromhex(data).ljust(64, b"\0"))


TRAFFIC = [
    report(0.0, "out", "03ee"),
    report(0.0018, "in", "03ee4608"),
    report(1.0, "out", "020000"),
    report(1.002, "in", "020000"),
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "psu0.csv"


def write(path, reports=TRAFFIC, header=None):
    with Writer(path, header) as writer:
        for each in reports:
            writer.add(each)


def test_a_recording_survives_a_round_trip(path):
    header = {"model": "1b1c:1c0d", "name": "Corsair RM1000i", "pactmeter": "1.0.0"}
    write(path, header=header)

    recording = read_reports(path)

    assert list(recording.reports) == TRAFFIC
    assert recording.header == header
    assert recording.note is None


@given(
    data=st.lists(
        st.tuples(st.floats(0.0, 1e6), st.booleans(), st.binary(min_size=1, max_size=96)),
        max_size=20,
    )
)
def test_every_traffic_survives_a_round_trip(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("recorded") / "psu.csv"
    times_s = sorted(round(t_s, 6) for t_s, _, _ in data)
    traffic = [
        Report(t_s, is_out, sent.rstrip(b"\0").ljust(64, b"\0"))
        for t_s, (_, is_out, sent) in zip(times_s, data, strict=True)
    ]
    write(path, traffic)

    assert list(read_reports(path).reports) == traffic


def test_a_file_holds_no_padding_and_each_line_at_once(path):
    writer = Writer(path, {"model": "1b1c:1c0d"})
    for each in TRAFFIC:
        writer.add(each)

    assert path.read_text() == (
        f"# model: 1b1c:1c0d\n{COLUMNS}\n"
        "0.000000,out,03ee\n0.001800,in,03ee4608\n1.000000,out,02\n1.002000,in,02\n"
    )
    writer.close()


def test_a_report_of_zeros_alone_is_one_zero(path):
    write(path, [report(0.0, "in", "00")])

    assert path.read_text().endswith("in,00\n")
    assert read_reports(path).reports[0].data == bytes(64)


def test_a_recording_made_elsewhere_is_read(path):
    path.write_bytes(b"t_s,direction,report_hex\r\n0.000000,out,FE03\r\n0.001852,in,fe03524d\r\n")

    assert [each.data[:4].hex() for each in read_reports(path).reports] == ["fe030000", "fe03524d"]


def test_no_file_is_overwritten(path):
    path.write_text("precious")

    with pytest.raises(FileError, match="overwrites nothing") as caught:
        Writer(path)
    assert caught.value.fix == "give another name, as -o psu2.csv"
    assert path.read_text() == "precious"


def test_a_folder_that_is_not_there_is_an_error_of_the_file(tmp_path):
    with pytest.raises(FileError, match="cannot write"):
        Writer(tmp_path / "none" / "psu0.csv")
    with pytest.raises(FileError, match="cannot read"):
        read_reports(tmp_path / "none.csv")


def test_a_header_of_two_lines_is_refused_before_anything_is_made(path):
    with pytest.raises(FileError, match="line break"):
        Writer(path, {"name": "a\n0.0,out,03ee"})
    assert not path.exists()


class Full:
    """A file on a disk with room for five more bytes."""

    def __init__(self):
        self.written = []
        self.closed = False

    def write(self, data):
        self.written.append(data[:5])
        return 5

    def close(self):
        self.closed = True


def test_after_a_line_that_failed_nothing_more_is_written(path):
    writer = Writer(path)
    writer.close()
    writer._file = disk = Full()

    with pytest.raises(FileError, match="disk is full"):
        writer.add(TRAFFIC[0])
    with pytest.raises(FileError, match="an earlier line failed"):
        writer.add(TRAFFIC[1])
    assert len(disk.written) == 1


def test_a_disk_that_is_full_at_once_leaves_no_open_file(path, monkeypatch):
    disk = Full()
    monkeypatch.setattr(type(path), "open", lambda *_, **__: disk)

    with pytest.raises(FileError, match="disk is full"):
        Writer(path)
    assert disk.closed


def test_what_is_added_after_the_end_is_an_error_of_the_file(path):
    writer = Writer(path)
    writer.close()

    with pytest.raises(FileError, match="closed"):
        writer.add(TRAFFIC[0])


@pytest.mark.parametrize("kept", range(1, 24))
def test_a_torn_last_line_is_left_out_and_said(path, kept):
    write(path)
    lines = path.read_text().splitlines(keepends=True)
    torn = lines[2][:kept]
    path.write_text("".join(lines[:2]) + torn)

    recording = read_reports(path)

    if torn.endswith("\n"):
        assert len(recording.reports) == 2
        assert recording.note is None
    else:
        assert list(recording.reports) == TRAFFIC[:1]
        assert "line 3" in recording.note


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("time,watts\n0,5\n", "line 1: no recording"),
        ("# model: 1b1c:1c0d\n", "line 1: no recording"),
        (f"{COLUMNS}", "line 1: no recording"),
        (f"{COLUMNS}\n0.0,out,03ee\n0.1,in,03e\n0.2,out,03ee\n", "line 3: '0.1,in,03e' is no"),
        (f"{COLUMNS}\n0.0,out,03ee\n# note\n0.2,out,03ee\n", "line 3"),
        (f"{COLUMNS}\nnan,out,03ee\n", "line 2"),
        (f"{COLUMNS}\n0.0,up,03ee\n", "line 2"),
        (f"{COLUMNS}\n2.0,out,03ee\n1.0,in,03ee\n", "line 3: the time 1 s is before"),
    ],
)
def test_a_foreign_file_is_refused_with_its_line(path, text, message):
    path.write_text(text)

    with pytest.raises(FileError, match=message) as caught:
        read_reports(path)
    assert str(path) in caught.value.message
    assert caught.value.fix


def test_a_file_that_is_no_text_is_refused(path):
    path.write_bytes(b"\x89HDF\r\n\x1a\n\xff\xfe")

    with pytest.raises(FileError, match="not text"):
        read_reports(path)


def test_an_exchange_is_a_request_and_what_came_before_the_next():
    traffic = [
        report(0.0, "in", "0388ccf9"),
        report(0.1, "out", "03ee"),
        report(0.2, "in", "0388ccf9"),
        report(0.3, "in", "03ee4608"),
        report(0.4, "out", "0388"),
    ]

    assert exchanges(traffic) == [
        Exchange(0.1, traffic[1].data, ((0.2, traffic[2].data), (0.3, traffic[3].data))),
        Exchange(0.4, traffic[4].data, ()),
    ]
    assert exchanges([]) == []


NAMED = report(0.0, "in", "fe03524d3130303069")
SILENT = report(0.0, "in", "03ee4608")
NZXT_OUT = report(0.0, "out", "ad0004046006020296")
NZXT_IN = report(0.0, "in", "aa0402ccd20a")


@pytest.mark.parametrize(
    ("traffic", "header", "usb_id"),
    [
        ([NAMED], {}, "1b1c:1c0d"),
        ([SILENT, NAMED], {}, "1b1c:1c0d"),
        ([NAMED], {"model": "1b1c:1c1f"}, "1b1c:1c1f"),
        ([SILENT], {"model": "Corsair_1500i"}, "1b1c:1c1f"),
        ([NZXT_OUT], {}, "7793:2500"),
        ([NZXT_IN], {}, "7793:2500"),
        ([NZXT_OUT, NZXT_IN], {"model": "7793:5911"}, "7793:5911"),
    ],
)
def test_the_model_is_told_by_the_header_or_by_the_traffic(traffic, header, usb_id):
    assert model_of(traffic, header).usb_id == usb_id


@pytest.mark.parametrize(
    ("traffic", "header", "message"),
    [
        ([SILENT], {}, "does not say"),
        ([], {}, "does not say"),
        ([SILENT], {"model": "1b1c:ffff"}, "does not know: '1b1c:ffff'"),
        ([report(0.0, "in", "fe0341583136303069")], {}, "'AX1600i'"),
    ],
)
def test_a_model_that_cannot_be_told_says_how_to_state_it(traffic, header, message):
    with pytest.raises(FileError, match=message) as caught:
        model_of(traffic, header)
    assert "# model: " in caught.value.fix
