"""What the studies train on: downloads against a server of our own, sentences, folds; no torch."""

import argparse
import hashlib
import http.server
import importlib.util
import re
import shutil
import sys
import threading
import tomllib
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactmeter.errors import ConfigError, DeviceError, FileError, PactError
from pactmeter.study import fetch as fetching
from pactmeter.study import script, work
from pactmeter.study.fetch import Remote, fetch

ROOT = Path(__file__).parents[2]
CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def load_script(name):
    """Import a module of a study's folder, as its scripts do."""
    path = ROOT / name
    spec = importlib.util.spec_from_file_location(f"study_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


sst2 = load_script("NLP/sst2.py")


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT; the path says how: /cut breaks off, /old knows no ranges, and so on."""

    def do_GET(self):
        asked = re.match(r"bytes=(\d+)-", self.headers.get("Range") or "")
        start = int(asked[1]) if asked and self.path != "/old" else 0
        self.server.asked.append((self.path, start))
        if self.path == "/absent":
            self.send_error(404)
            return
        content = CONTENT
        if self.path == "/corrupt":
            content = content[:5] + b"!" + content[6:]
        if self.path == "/short":
            content = content[:1000]
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            begins = 0 if self.path == "/elsewhere" else start
            self.send_header("Content-Range", f"bytes {begins}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        end = start + 300_000 if self.path == "/cut" else len(content)
        self.wfile.write(content[start:end])

    def log_message(self, *_words):
        pass


@pytest.fixture
def server():
    """A server on this machine; `asked` are the requests, each a path and a first byte."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        found.asked = []
        found.address = f"http://127.0.0.1:{found.server_port}"
        thread = threading.Thread(target=found.serve_forever, args=(0.01,))
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def remote(server, *paths, sha256=SHA256):
    return Remote("file.bin", tuple(server.address + path for path in paths), len(CONTENT), sha256)


def test_a_file_is_downloaded_once(server, tmp_path):
    folder = tmp_path / "new" / "cache"

    path = fetch(remote(server, "/whole"), folder)
    again = fetch(remote(server, "/whole"), folder)

    assert path == again == folder / "file.bin"
    assert path.read_bytes() == CONTENT
    assert server.asked == [("/whole", 0)]
    assert not (folder / "file.bin.part").exists()


def test_a_download_that_breaks_off_goes_on_where_it_stopped(server, tmp_path):
    path = fetch(remote(server, "/cut"), tmp_path)

    assert path.read_bytes() == CONTENT
    assert server.asked == [("/cut", start) for start in range(0, len(CONTENT), 300_000)]


def test_what_an_earlier_program_received_is_not_asked_for_again(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1_000_000])

    assert fetch(remote(server, "/whole"), tmp_path).read_bytes() == CONTENT
    assert server.asked == [("/whole", 1_000_000)]


def test_a_file_that_was_received_whole_is_not_asked_for_again(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT)

    assert fetch(remote(server, "/whole"), tmp_path).read_bytes() == CONTENT
    assert server.asked == []


@pytest.mark.parametrize("path", ["/old", "/elsewhere"])
def test_a_server_without_ranges_is_no_harm(server, tmp_path, path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])

    if path == "/old":
        assert fetch(remote(server, path), tmp_path).read_bytes() == CONTENT
    else:
        with pytest.raises(FileError, match="begins elsewhere"):
            fetch(remote(server, path), tmp_path)
        assert (tmp_path / "file.bin.part").read_bytes() == CONTENT[:1000]


def test_a_corrupted_file_is_refused_and_removed(server, tmp_path):
    with pytest.raises(FileError, match=f"{len(CONTENT)} bytes with SHA-256 .* expected") as told:
        fetch(remote(server, "/corrupt"), tmp_path)

    assert SHA256 in str(told.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.bin.lock"]
    assert fetch(remote(server, "/whole"), tmp_path).read_bytes() == CONTENT


def test_a_file_that_is_too_short_is_told_with_what_came(server, tmp_path):
    with pytest.raises(FileError, match=f"1000 of {len(CONTENT)} bytes came") as told:
        fetch(remote(server, "/short"), tmp_path)

    assert "where it stopped" in told.value.fix


def test_a_copy_that_was_damaged_since_is_refused(server, tmp_path):
    path = fetch(remote(server, "/whole"), tmp_path)
    path.write_bytes(CONTENT[:-1])

    with pytest.raises(FileError, match="not the file it should be") as told:
        fetch(remote(server, "/whole"), tmp_path)

    assert told.value.fix == f"remove {path}, and it is downloaded again"
    assert path.exists()


def test_a_mirror_stands_in(server, tmp_path):
    assert fetch(remote(server, "/absent", "/whole"), tmp_path).read_bytes() == CONTENT


def test_without_a_network_it_says_so(tmp_path):
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as closed:
        address = f"http://127.0.0.1:{closed.server_port}/file"
    with pytest.raises(FileError, match=r"(?s)0 of 10 bytes came.*Connection refused") as told:
        fetch(Remote("file.bin", (address,), 10, SHA256), tmp_path)
    assert str(tmp_path) in told.value.fix


def test_a_full_disk_is_seen_before_the_download(server, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=1_000_000))

    with pytest.raises(FileError, match=r"no room for file.bin .* 1 MB are free") as told:
        fetch(remote(server, "/whole"), tmp_path)

    assert "--data" in told.value.fix
    assert server.asked == []


@pytest.mark.root
def test_a_disk_that_fills_up_is_told_and_keeps_what_came(server, small_disk, monkeypatch):
    folder = small_disk("512k")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=1 << 40))

    with pytest.raises(FileError, match="No space left"):
        fetch(remote(server, "/whole"), folder)


def test_a_folder_that_cannot_be_made_is_told(server, tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(FileError, match=r"cannot keep file\.bin"):
        fetch(remote(server, "/whole"), tmp_path / "file" / "cache")


def test_two_that_want_a_file_download_it_once(server, tmp_path):
    paths = []
    threads = [
        threading.Thread(target=lambda: paths.append(fetch(remote(server, "/whole"), tmp_path)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert paths == [tmp_path / "file.bin"] * 4
    assert len(server.asked) == 1


def test_the_folds_are_those_of_the_original_study():
    rows = [(number, "text", number % 2) for number in range(1, 9614)]
    found = []
    for number in range(1, 6):
        train, test = sst2.fold(rows, number)
        assert len(train) + len(test) == 9612
        assert sorted(row[0] for row in train + test) == list(range(2, 9614))
        assert train == sorted(train)
        text = "".join(f"{row[0]}\n" for row in test)
        found.append((len(test), hashlib.sha256(text.encode()).hexdigest()[:16]))

    # of the first columns of the published fold-1/test.tsv to fold-5/test.tsv
    assert found == [
        (1923, "7fceadb19c9894ac"),
        (1923, "f7e7e3e8baa5c28e"),
        (1922, "ef4b25ba65417da1"),
        (1922, "3303e44f7f9f49e5"),
        (1922, "810f4376b1739a60"),
    ]


@given(st.integers(12, 400), st.integers(2, 10))
def test_every_row_but_the_first_is_tested_on_once(count, folds):
    rows = [(number, "text", 0) for number in range(count)]

    tested = [row for number in range(1, folds + 1) for row in sst2.fold(rows, number, folds)[1]]

    assert sorted(tested) == rows[1:]


def test_a_fold_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="no fold 6"):
        sst2.fold([(1, "a", 0)] * 10, 6)


TREES = "(3 (2 A) (4 (3 great) (2 -LRB-yes-RRB-)))\n(2 (2 Plain) (2 one))\n(0 (1 Bad) (2 1\\/2))\n"


def trees(path, text=TREES):
    with zipfile.ZipFile(path, "w") as archive:
        for part in sst2.COUNTS:
            archive.writestr(f"trees/{part}.txt", text)
    return path


def test_trees_give_sentences_without_the_neutral_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(sst2, "COUNTS", dict.fromkeys(sst2.COUNTS, 2))

    rows = sst2.read_trees(trees(tmp_path / "trees.zip"))

    assert rows[:2] == [(0, "A great (yes)", 1), (1, "Bad 1/2", 0)]
    assert [row[0] for row in rows] == list(range(6))


def test_an_archive_with_other_sentences_is_refused(tmp_path):
    with pytest.raises(FileError, match="2 sentences in train, not 6920"):
        sst2.read_trees(trees(tmp_path / "trees.zip"))


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_what_is_no_archive_of_trees_is_refused(tmp_path, content):
    path = tmp_path / "trees.zip"
    path.write_bytes(content)
    with pytest.raises(FileError, match="not the treebank's archive"):
        sst2.read_trees(path)


def test_made_up_sentences_are_a_tsv_that_can_be_read(tmp_path):
    rows = sst2.read_tsv(sst2.make(tmp_path / "made.tsv", 50))

    assert len(rows) == 51
    for _, text, label in rows:
        assert bool(set(text.split()) & set(sst2.GOOD)) == (label == "1")
        assert bool(set(text.split()) & set(sst2.BAD)) == (label == "0")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("1\ttext\t0\n2\ttext\n", "line 2: 2 columns"),
        ("1\ta\t0\n2\tb\t0\n", "two classes"),
        ("", "two classes"),
        ("1\t\udc80\t0\n", "utf-8"),
    ],
)
def test_a_damaged_tsv_is_told_with_its_line(tmp_path, content, told):
    path = tmp_path / "some.tsv"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(FileError, match=told):
        sst2.read_tsv(path)


def test_split_writes_the_folds_as_the_original(tmp_path, monkeypatch, capsys):
    data, folder = sst2.make(tmp_path / "made.tsv", 12), tmp_path / "cvp"
    monkeypatch.setitem(sys.modules, "sst2", sst2)
    words = ["split.py", "-dataset_path", str(data), "-cross_validation_path", str(folder)]
    monkeypatch.setattr(sys, "argv", [*words, "-k_fold", "3"])

    load_script("NLP/split.py").main()

    assert sorted(path.name for path in folder.iterdir()) == ["fold-1", "fold-2", "fold-3"]
    lines = [
        line
        for number in (1, 2, 3)
        for line in (folder / f"fold-{number}" / "test.tsv").read_text().splitlines()
    ]
    assert sorted(lines) == sorted(data.read_text().splitlines()[1:])
    assert capsys.readouterr().out.count("8 to train on, 4 to test on") == 3


def parsed(*words):
    parser = script.options("A test.")
    script.add_training(parser)
    return parser.parse_args(words)


def test_the_common_options_are_the_arguments_of_pact():
    given_none = parsed()
    assert given_none.events == [["MIGRATIONS"], ["FAULTS"], ["CACHE-MISSES"], ["CYCLES"]]
    assert (given_none.tracker_file, given_none.psu) == ("./PACT.csv", "auto")
    assert (given_none.measure_period, given_none.perf_period) == (1.0, 0.01)
    some = parsed("--psu", "none", "--events", "CYCLES,FAULTS;cpu/event=1,umask=2/")
    assert some.psu is None
    assert some.events == [["CYCLES", "FAULTS"], ["cpu/event=1,umask=2/"]]


@pytest.mark.parametrize(
    "words", [("--threads", "0"), ("--steps", "-1"), ("--events", "A;;B"), ("--thread", "1")]
)
def test_a_wrong_option_is_refused(words, capsys):
    with pytest.raises(SystemExit) as ended:
        parsed(*words)
    assert ended.value.code == 2
    assert words[0] in capsys.readouterr().err


def test_a_profile_sets_what_the_options_leave_open(monkeypatch):
    seen = []
    parser = script.options("A test.")
    script.add_training(parser)
    monkeypatch.setattr(sys, "argv", ["test", "--profile", "tiny", "--steps", "7"])

    assert script.run(seen.append, parser, {"tiny": {"steps": 3, "threads": 1}}) == 0
    assert (seen[0].steps, seen[0].threads, seen[0].warm_up) == (7, 1, 0)


def test_an_error_is_a_line_and_an_exit_code(monkeypatch, capsys):
    def main(_args):
        raise ConfigError("this is wrong", "mend it")

    monkeypatch.setattr(sys, "argv", ["test"])

    assert script.run(main, argparse.ArgumentParser("test.py")) == 2
    assert capsys.readouterr().err == "test.py: this is wrong\n  fix: mend it\n"


def test_a_module_that_is_not_there_is_told_with_pips_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "dm_control", None)
    with pytest.raises(PactError, match="needs the module dm_control") as told:
        script.need("dm_control")
    assert told.value.fix.startswith("pip install dm_control 'mujoco<4' (")


def test_work_counts_and_stops_at_its_limit(capsys):
    done = script.Work(steps=12)
    for step in range(12):
        assert not done.is_done
        done.add(12.0 - step, samples=4)
    assert done.is_done

    done.compare(115)
    done.report(data="made up")

    out = capsys.readouterr().out
    assert re.search(r"^\d+ steps in 60 s \(two idle cores: 115\)$", out, re.MULTILINE)
    told = work.find(out)
    assert (told["steps"], told["samples"], told["data"]) == (12, 48, "made up")
    assert (told["loss_first"], told["loss_last"]) == (10.0, 3.0)
    assert told["steps_per_s"] == pytest.approx(12 / told["train_s"], rel=0.1)


def test_work_stops_at_its_time():
    done = script.Work(seconds_s=1e-9)
    done.begin()
    done.add(1.0, 1)
    assert done.is_done


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_an_error(value):
    done = script.Work()
    done.add(1.0, 1)
    with pytest.raises(PactError, match=f"the loss is {value} after 1 steps"):
        done.add(value, 1)


def test_no_work_is_an_error():
    with pytest.raises(PactError, match="before its first step"):
        script.Work().report()


def test_downloads_are_kept_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert script.cache_folder() == tmp_path / "pactmeter"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert script.cache_folder() == tmp_path / ".cache/pactmeter"


class FakeTorch:
    """What `prepare` asks of torch, with two GPUs."""

    __version__ = "0"
    cuda = SimpleNamespace(is_available=lambda: True, device_count=lambda: 2)
    set_num_threads = manual_seed = staticmethod(lambda number: None)

    @staticmethod
    def device(name):
        kind, _, index = name.partition(":")
        if kind not in {"cpu", "cuda"}:
            raise RuntimeError(name)
        return SimpleNamespace(type=kind, index=int(index) if index else None)


@pytest.mark.parametrize(("name", "found"), [("auto", "cuda"), ("cpu", "cpu"), ("cuda:1", "cuda")])
def test_the_device_is_the_one_named(monkeypatch, name, found):
    monkeypatch.setitem(sys.modules, "torch", FakeTorch)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # it is set, and here put back
    args = parsed("--device", name, "--threads", "1")
    assert script.prepare(args).type == found


@pytest.mark.parametrize("name", ["cuda:2", "gpu"])
def test_a_device_that_is_not_there_is_refused(monkeypatch, name):
    monkeypatch.setitem(sys.modules, "torch", FakeTorch)
    with pytest.raises(DeviceError, match=f"no device '{name}'"):
        script.prepare(parsed("--device", name))


NAMES = (
    *("vgg_train_200", "resnet_train_200", "densenet_train_50", "mobilenet_train_300"),
    *("berts_train_100", "bertm_train_65", "bertbu_train_50", "bertlu_train_25", "dbert_train_75"),
    *("rlfthrun_100000", "rlchtrun_100000", "rlhumrun_100000", "rlqdrun_100000"),
)
"""Of the original's result files."""


def test_the_study_runs_the_originals_trainings():
    study = tomllib.loads((ROOT / "studies/training.toml").read_text())
    scripts = {name: load_script(name) for name in ("CV/main.py", "NLP/train.py", "RL/train.py")}
    options = ["--measure-period", "1", "--perf-period", "0.01", "--psu", "auto", "--seed", "3"]

    assert tuple(each["name"] for each in study["workload"]) == NAMES
    for each in study["workload"]:
        for profile in script.PROFILES:
            changed = each["profile"].get(profile, {})
            python, path, *words = changed.get("command", each["command"])
            assert python == "{python}"
            words = [word.replace("{trial}", "3") for word in words]
            place = words.index("{options}")
            words[place : place + 1] = options
            module = scripts[path.removeprefix("{root}/")]
            args = module.options().parse_args(words)
            assert args.profile == profile
            assert args.seed == (1 if each["family"] == "rl" else 3)
            if profile == "paper" and each["family"] != "rl":
                assert each["name"].endswith(f"_{module.EPOCHS[args.model]}")
            elif profile == "paper":
                assert each["name"].endswith(f"_{args.steps}")


@pytest.mark.parametrize(
    ("words", "marks"),
    [
        ("--profile paper", ("real", "pretrained")),
        ("--profile tiny", ("made up", "random")),
        ("--made-up 9", ("made up", "pretrained")),
        ("--weights random", ("real", "random")),
        ("-train fold-1/train.tsv", ("own", "pretrained")),
        ("-train fold-1/train.tsv --weights folder", ("own", "own")),
    ],
)
def test_a_fine_tuning_is_marked_with_what_is_known_of_it(monkeypatch, words, marks):
    train, found = load_script("NLP/train.py"), []
    monkeypatch.setattr(sys, "argv", ["train.py", *words.split()])

    script.run(lambda args: found.append(train.marks_of(args)), train.options(), train.PROFILES)

    assert found == [dict(zip(("data", "weights"), marks, strict=True))]


def test_each_remote_file_is_known_to_the_byte():
    assert sst2.ARCHIVE.size == 789_539
    assert all(url.startswith("https://") for url in sst2.ARCHIVE.urls)
    assert len(sst2.ARCHIVE.sha256) == 64
    assert fetching.TRIES >= 4
