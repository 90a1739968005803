"""Files of a run: nothing recorded is ever lost or overwritten."""

import fcntl
import json
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactmeter.errors import FileError
from pactmeter.store.files import RunFiles, claim, is_live
from pactmeter.store.manifest import read_manifest, write_manifest
from pactmeter.store.table import TableWriter, format_cell, read_table


def start(wanted, *, text="first"):
    files, fd = claim(RunFiles(wanted))
    os.write(fd, text.encode())
    files.manifest.write_text(
        json.dumps({"schema": 1, "clock": {"start": {"utc_s": 1_000_000_000.5}}})
    )
    return files, fd


def test_the_four_files_stand_beside_one_another(tmp_path):
    names = [path.name for path in RunFiles(tmp_path / "a.b.csv").all]
    assert names == ["a.b.csv", "a.b.counters.csv", "a.b.regions.csv", "a.b.json"]
    names = [path.name for path in RunFiles(tmp_path / "PACT").all]
    assert names == ["PACT", "PACT.counters.csv", "PACT.regions.csv", "PACT.json"]


def test_a_missing_folder_is_made(tmp_path):
    files, fd = claim(RunFiles(tmp_path / "a" / "b" / "PACT.csv"))
    os.close(fd)
    assert files.power.exists()


def test_an_earlier_run_is_kept_under_its_own_start_time(tmp_path):
    _, fd = start(tmp_path / "PACT.csv")
    os.close(fd)
    files, fd = claim(RunFiles(tmp_path / "PACT.csv"))
    os.close(fd)
    assert files.power.read_text() == ""
    kept = sorted(path.name for path in tmp_path.glob("PACT-2001*"))
    assert len(kept) == 2
    assert kept[0].endswith("500.csv")
    assert (tmp_path / kept[0]).read_text() == "first"
    assert kept[1] == kept[0].replace(".csv", ".json")


def test_two_earlier_runs_of_the_same_start_are_both_kept(tmp_path):
    for text in ("one", "two", "three"):
        _, fd = start(tmp_path / "PACT.csv", text=text)
        os.close(fd)
    texts = {path.read_text() for path in tmp_path.glob("*.csv")}
    assert texts == {"one", "two", "three"}


def test_the_file_of_a_live_run_is_left_alone(tmp_path):
    _, first = start(tmp_path / "PACT.csv")
    files, second = claim(RunFiles(tmp_path / "PACT.csv"))
    assert files.power.name == "PACT-2.csv"
    assert is_live(tmp_path / "PACT.csv")
    assert (tmp_path / "PACT.csv").read_text() == "first"
    os.close(first)
    os.close(second)
    assert not is_live(tmp_path / "PACT.csv")


def test_programs_that_come_at_the_same_moment_get_files_of_their_own(tmp_path):
    got, barrier = [], threading.Barrier(8)

    def come():
        barrier.wait()
        got.append(claim(RunFiles(tmp_path / "PACT.csv")))

    threads = [threading.Thread(target=come) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    inodes = {os.fstat(fd).st_ino for _, fd in got}
    assert len(inodes) == len({files.power for files, _ in got}) == 8
    assert all(files.power.stat().st_ino == os.fstat(fd).st_ino for files, fd in got)
    for _, fd in got:
        os.close(fd)


def test_a_folder_that_cannot_be_written_is_told_with_its_fix(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot create the folder") as caught:
        claim(RunFiles(tmp_path / "file" / "PACT.csv"))
    assert "tracker_file_name" in caught.value.fix
    with pytest.raises(FileError, match="cannot write"):
        claim(RunFiles(tmp_path / ("x" * 300 + ".csv")))


def test_a_reader_that_looks_at_the_lock_does_not_disturb_the_run_that_begins(tmp_path):
    stop = threading.Event()

    def look():
        while not stop.is_set():
            is_live(tmp_path / "PACT.csv")

    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(50):
        _, fd = claim(RunFiles(tmp_path / "PACT.csv"))
        with pytest.raises(BlockingIOError), (tmp_path / "PACT.csv").open() as other:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(fd)
    stop.set()
    thread.join()


cells = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63),
    st.floats(-1e9, 1e9),
    st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\x00\r"), min_size=1),
)


@given(rows=st.lists(st.lists(cells, min_size=3, max_size=3), max_size=10))
def test_rows_come_back_as_they_were_written(rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "t.csv"
    table = TableWriter.create(path, ["a", "b", "c"])
    for row in rows:
        table.add(row)
    table.close()
    header, back = read_table(path)
    assert header == ["a", "b", "c"]
    for row, read in zip(rows, back, strict=True):
        for value, cell in zip(row, read, strict=True):
            if isinstance(value, float):
                assert float(cell) == pytest.approx(value, abs=1e-6)
            else:
                assert cell == ("" if value is None else str(value))


@given(cut=st.integers(1, 60))
def test_a_torn_tail_is_left_out_and_whole_rows_are_kept(cut, tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "t.csv"
    path.write_text("a,b\n" + "".join(f"{n},{n}\n" for n in range(12)))
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut] if cut < len(whole) - 4 else whole[:5])
    _, rows = read_table(path)
    kept = list(rows)
    assert kept == [[str(n), str(n)] for n in range(len(kept))]
    assert len(kept) == path.read_text().count("\n") - 1


def test_what_is_no_table_is_told(tmp_path):
    for content, told in ((b"", "is empty"), (b"\xff\xfe\n", "not a table")):
        (tmp_path / "t.csv").write_bytes(content)
        with pytest.raises(FileError, match=told):
            read_table(tmp_path / "t.csv")
    with pytest.raises(FileError, match="cannot read"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(FileError, match="cannot write"):
        TableWriter.create(tmp_path / "t.csv", ["a"])


@pytest.mark.root
def test_what_a_full_disk_refused_is_written_when_there_is_room_again(small_disk):
    disk = small_disk("64k")
    table = TableWriter.create(disk / "t.csv", ["n", "text"])
    table.add([0, "x"])
    (disk / "ballast").write_bytes(b"x" * 60000)
    for n in range(1, 200):
        table.add([n, "y" * 100])
    assert "No space" in table.problem or "disk full" in table.problem
    assert sum(1 for _ in read_table(disk / "t.csv")[1]) < 100
    (disk / "ballast").unlink()
    table.add([200, "z"])
    table.close()
    _, rows = read_table(disk / "t.csv")
    assert [int(row[0]) for row in rows] == list(range(201))
    assert table.lost_rows == 0


def test_a_manifest_is_replaced_as_a_whole_or_stays_as_it_was(tmp_path):
    path = tmp_path / "PACT.json"
    write_manifest(path, {"schema": 1, "n": 1})
    with pytest.raises(ValueError, match="Out of range"):
        write_manifest(path, {"schema": 1, "n": float("nan")})
    assert read_manifest(path)["n"] == 1
    (tmp_path / "PACT.json.new").mkdir()  # it can not be written beside: changed in place
    write_manifest(path, {"schema": 1, "n": 2})
    assert read_manifest(path)["n"] == 2
    with pytest.raises(OSError):
        write_manifest(path, {"schema": 1, "n": "x" * 10_000})
    assert read_manifest(path)["n"] == 2


def test_a_table_that_can_never_be_written_keeps_a_bound_of_memory_and_counts_the_rest(tmp_path):
    read_only = os.open(tmp_path, os.O_RDONLY)
    table = TableWriter.create(tmp_path / "t.csv", ["n"])
    table._fd = os.dup2(read_only, table._fd)
    table.MOST_KEPT = 1000
    for n in range(1000):
        table.add([n])
    assert 0 < table.lost_rows < 1000
    table.close()
    assert table.lost_rows == 1000


def test_two_names_with_the_same_sidecars_are_not_used_at_once(tmp_path):
    _, first = start(tmp_path / "run.csv")
    files, second = claim(RunFiles(tmp_path / "run"))
    assert files.power.name == "run-2"
    os.close(first)
    os.close(second)


def test_an_earlier_run_keeps_its_sidecars_from_a_name_that_has_the_same(tmp_path):
    earlier, fd = start(tmp_path / "run.csv")
    os.close(fd)
    used = {"schema": 1, "used": {"file": str(earlier.power)}}
    earlier.manifest.write_text(json.dumps(used))
    (tmp_path / "other").mkdir()  # a folder of the stem's name is no run
    for name, got in (("run", "run-2"), ("other.csv", "other.csv")):
        files, fd = claim(RunFiles(tmp_path / name))
        os.close(fd)
        assert files.power.name == got
    assert json.loads(earlier.manifest.read_text()) == used


@pytest.mark.parametrize(
    ("text", "told"),
    [("{", "cannot read"), ("[]", "not a manifest"), ('{"schema": 99}', "newer PACT")],
)
def test_what_is_no_manifest_of_ours_is_told(tmp_path, text, told):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(FileError, match=told):
        read_manifest(tmp_path / "m.json")
    with pytest.raises(FileError, match="no manifest"):
        read_manifest(tmp_path / "none.json")


def test_cells_are_short_and_exact_to_the_microsecond():
    assert [format_cell(v) for v in (1.0, -0.0, 1e-7, 123456.7891234, True)][:4] == [
        "1",
        "0",
        "0",
        "123456.789123",
    ]
    assert format_cell('a"b,c') == '"a""b,c"'
