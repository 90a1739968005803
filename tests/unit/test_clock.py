from hypothesis import given
from hypothesis import strategies as st

from pactmeter.clock import ClockPair, Ticker, now_s


def test_a_slow_reader_does_not_shift_the_grid():
    ticker, now, due = Ticker(1.0, 0.0), 0.0, []
    for work_s in (0.3, 0.9, 2.5, 0.1):
        now = max(now, ticker.due_s)
        due.append(ticker.due_s)
        ticker.advance(now)
        now += work_s
    assert due == [1.0, 2.0, 3.0, 4.0]  # the last one 1.5 s late, and the one at 5 s skipped
    assert ticker.due_s == 6.0


@given(
    period=st.floats(0.001, 100),
    start=st.floats(0, 1e6),
    late=st.lists(st.floats(0, 500), max_size=20),
)
def test_ticks_lie_on_the_grid_and_ahead_of_now_and_are_never_replayed(period, start, late):
    ticker, now = Ticker(period, start), start
    for wait in late:
        now = max(now, ticker.due_s) + wait
        before = ticker.due_s
        skipped = ticker.advance(now)
        assert ticker.due_s > now
        assert ticker.due_s - now <= period * 1.001 + 1e-6
        assert skipped >= 0
        assert ticker.due_s > before


def test_both_clocks_are_read_together():
    before = now_s()
    pair = ClockPair.now()
    assert before <= pair.monotonic_s <= now_s()
    assert pair.utc_s > 1.7e9
