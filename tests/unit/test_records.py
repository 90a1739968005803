"""Records of the kernel, written by hand byte for byte, become the spans they stand for."""

import os
import struct

import pytest

from pactmeter.counters.records import Grid, Records, Stream, number

CLOCK = 11
TID = os.getpid()


def group(counts, leader):
    """Return a group as it is read: its counts, each with the id of its event."""
    words = [word for n, count in enumerate(counts) for word in (count, leader + n)]
    return struct.pack(f"=3Q{len(words)}Q", len(counts), 0, 0, *words)


def sample(tid, time_ns, *counts, leader=CLOCK):
    body = struct.pack("=IIQ", 1, tid, time_ns) + group(counts, leader)
    return struct.pack("=IHH", 9, 0, 8 + len(body)) + body


def ended(tid, time_ns):
    body = struct.pack("=4IQ", tid, 1, tid, 1, time_ns) + struct.pack("=IIQ", tid, tid, time_ns)
    return struct.pack("=IHH", 4, 0, 8 + len(body)) + body


def other(kind, *words):
    return struct.pack(f"=IHH{len(words)}Q", kind, 0, 8 + 8 * len(words), *words)


@pytest.fixture
def records():
    records = Records()
    records.add(CLOCK, Stream(((0, 2), (1, 1)), 3, by_thread=True))
    return records


def spans(records, *data):
    """Return (start, end, {column: count}) of each span."""
    return [
        (start, end, {column: (new[slot] - old[slot]) * share for column, slot in slots})
        for start, end, slots, new, old, share in records.feed(b"".join(data), Grid())
    ]


def test_a_first_sample_reaches_back_as_long_as_the_thread_has_run(records):
    assert spans(records, sample(7, 1000, 300, 2, 50)) == [(700, 1000, {0: 50, 1: 2})]


def test_the_next_one_tells_of_the_time_the_thread_ran_since_and_not_of_its_sleep(records):
    found = spans(
        records,
        sample(7, 1000, 300, 2, 50),
        sample(7, 2000, 400, 3, 60),
        sample(7, 2050, 450, 3, 65),
    )

    assert found[1:] == [(1900, 2000, {0: 10, 1: 1}), (2000, 2050, {0: 5, 1: 0})]


def test_threads_are_told_apart_and_keep_their_counts_from_one_drain_to_the_next(records):
    spans(records, sample(7, 1000, 300, 2, 50), sample(8, 1010, 10, 0, 5))

    assert spans(records, sample(7, 1100, 400, 2, 51)) == [(1000, 1100, {0: 1, 1: 0})]


def test_a_thread_that_ends_says_when_and_nothing_of_what_it_counted(records):
    grid = Grid()
    data = sample(7, 1000, 300, 2, 50), ended(7, 1200), sample(8, 1300, 20, 0, 3)

    found = list(records.feed(b"".join(data), grid))

    assert [span[:2] for span in found] == [(700, 1000), (1280, 1300)]
    assert grid.ended_ns == [1200]


def test_a_thread_number_used_again_begins_anew(records):
    found = spans(records, sample(7, 1000, 300, 2, 50), sample(7, 1500, 20, 1, 70))

    assert found[1:] == [(1480, 1500, {0: 70, 1: 1})]


def test_the_samples_of_a_cpu_are_its_own_whoever_ran():
    records = Records()
    records.add(CLOCK, Stream(((0, 1),), 2, by_thread=False))

    found = spans(records, sample(7, 1000, 300, 4), sample(8, 1300, 600, 9))

    assert found == [(700, 1000, {0: 4}), (1000, 1300, {0: 5})]


def test_what_the_kernel_lost_or_held_back_is_told_and_other_records_are_passed(records):
    found = spans(
        records, other(2, CLOCK, 40), other(5, 0, 0, 0), other(3, 1), sample(7, 1000, 9, 0, 1)
    )

    assert (records.lost, records.throttled) == (40, 1)
    assert len(found) == 1


def test_threads_that_ended_without_a_word_are_forgotten_and_living_ones_are_not(records):
    gone = [sample(4_000_000 + n, 1000, 300, 2, 50) for n in range(3000)]  # above pid_max
    spans(records, *gone, sample(TID, 1000, 300, 2, 50))
    stream = records._streams[CLOCK]
    assert len(stream.last) == 3001

    records.forget_ended()

    assert list(stream.last) == [TID]
    assert spans(records, sample(TID, 1100, 400, 2, 51)) == [(1000, 1100, {0: 1, 1: 0})]


def test_a_record_without_length_is_an_error_not_an_endless_loop(records):
    with pytest.raises(ValueError, match="0 bytes"):
        list(records.feed(struct.pack("=IHH", 5, 0, 0), Grid()))


def test_samples_are_counted_by_the_first_of_them_whatever_lies_before():
    samples = [sample(7, 1000 + n, 300 + n, 2, 50) for n in range(20)]

    assert number(b"") == number(ended(7, 1200)) == 0
    assert number(b"".join(samples)) == 20
    assert number(b"".join([ended(6, 900), *samples])) == 20
