"""The journal of a study survives a kill at any byte; the lock lets one runner in."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactmeter.errors import FileError
from pactmeter.study import journal
from pactmeter.study.state import state_of

LINES = [
    {"event": "open", "session": 1},
    {"event": "start", "trial": "a_1", "program": {}},
    {"event": "end", "trial": "a_1", "reason": 'a "text"\nwith a line'},
]
DATA = "".join(json.dumps(line) + "\n" for line in LINES).encode()


@given(st.integers(0, len(DATA)))
def test_what_was_written_before_a_kill_is_there_after_it(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("study")
    (folder / journal.FILE).write_bytes(DATA[:cut])
    whole = DATA[:cut].count(b"\n")

    assert journal.read(folder) == LINES[:whole]
    written = journal.Journal(folder)
    written.add("close", session=1)
    written.close()

    assert journal.read(folder)[:-1] == LINES[:whole]
    assert journal.read(folder)[-1]["event"] == "close"


@pytest.mark.parametrize("line", [b"no json\n", b"[]\n", b"{}\n", b'{"event": 1}\n', b"\xff\n"])
def test_a_journal_damaged_within_is_told_by_its_line(tmp_path, line):
    first, rest = DATA.split(b"\n", 1)
    (tmp_path / journal.FILE).write_bytes(first + b"\n" + line + rest)

    with pytest.raises(FileError, match="damaged in line 2"):
        journal.read(tmp_path)


def test_a_second_runner_is_refused_as_long_as_the_first_is_at_work(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "_PATIENCE_S", 0.0)
    with journal.held(tmp_path):
        assert journal.runner(tmp_path) is not None
        with pytest.raises(FileError, match="another runner is at work"), journal.held(tmp_path):
            pass

    assert journal.runner(tmp_path) is None
    with journal.held(tmp_path):
        pass


def program(mark):
    """Return a program as a journal tells of it."""
    return {"pid": 1, "start_ticks": 1, "boot_id": "", "mark": mark}


def test_what_was_started_and_not_ended_is_known():
    found = state_of(
        [
            {"event": "open", "session": 1},
            {"event": "start", "trial": "a_1", "program": program("one")},
            {"event": "end", "trial": "a_1", "mark": "one", "status": "failed"},
            {"event": "start", "baseline": "before", "program": program("two")},
            {"event": "gone", "mark": "two"},
            {"event": "start", "trial": "a_1", "program": program("three")},
            {"event": "something of a later version"},
        ]
    )

    assert list(found.programs) == ["three"]
    assert found.attempts == {"a_1": 1}
    assert found.sessions == 1
