"""`pactmeter study` as a user runs it, with workloads that do next to nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

from pactmeter.analysis.baseline import baseline
from pactmeter.analysis.run import load
from pactmeter.study import process
from pactmeter.study.results import load_study

HEAD = """schema = 1
name = "s"
[settings]
trials = 2
seed = 1
measure_period_s = 0.1
baseline_s = 0
cool_down_s = 0
"""
DECORATED = """
import sys
from pactmeter import PACT
@PACT(measure_period=0.1)
def train():
    {body}
train()
print('PACT-WORK {{"steps": 3, "data": "made up"}}')
"""
WAITS_S = 60.0


class Study:
    """A study's file and folder, and the command line on them."""

    def __init__(self, place):
        self.place, self.folder = place, place / "out"
        self.text = HEAD

    def add(self, name, *command, measured=False, **more):
        """Add a workload; `measured` by ``pactmeter run``."""
        words = list(command)
        if measured:
            words = ["{python}", "-m", "pactmeter", "run", "-q", "{measuring}", "--", *words]
        self.text += f"[[workload]]\nname = {json.dumps(name)}\ncommand = {json.dumps(words)}\n"
        self.text += "".join(f"{key} = {json.dumps(value)}\n" for key, value in more.items())

    def program(self, name, body, **more):
        """Add a workload that ``@PACT`` measures."""
        self.add(name, "{python}", "-c", DECORATED.format(body=body), **more)

    def _words(self, *words):
        (self.place / "s.toml").write_text(self.text)
        if words[0] == "run":
            words = ("run", "s.toml", "-o", "out", *words[1:])
        return [sys.executable, "-m", "pactmeter", "study", *words]

    def __call__(self, *words):
        return subprocess.run(
            self._words(*words),
            cwd=self.place,
            capture_output=True,
            text=True,
            check=False,
            timeout=WAITS_S,
        )

    def start(self, *words):
        return subprocess.Popen(
            self._words(*words),
            cwd=self.place,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def entries(self):
        file = self.folder / "journal.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def names(self, pattern="*"):
        return sorted(path.name for path in self.folder.glob(pattern))

    def ended(self):
        return [entry["trial"] for entry in self.entries if entry["event"] == "end"]


@pytest.fixture
def study(tmp_path):
    """Give a study without workloads."""
    return Study(tmp_path)


def until(holds):
    until_s = time.monotonic() + WAITS_S
    while not (found := holds()):
        assert time.monotonic() < until_s
        time.sleep(0.005)
    return found


def test_a_study_leaves_every_trial_under_the_names_of_the_original(study):
    study.program("vgg_train_1", "open('weights.bin', 'w').close()", family="cv")
    study.add("cpu_1_1", "echo", "hello", measured=True, family="stress")

    done = study("run")

    assert done.returncode == 0, done.stderr
    assert "done      4 of 4 trials in out" in done.stdout
    sidecars = ("PACT.counters.csv", "PACT.csv", "PACT.json", "PACT.regions.csv")
    assert study.names() == sorted(
        [
            *(f"{name}_{n}_{end}" for name in ("cpu_1_1", "vgg_train_1") for n in (1, 2)
              for end in (*sidecars, "trial.json")),
            *("cpu_1_1_1_out.csv", "cpu_1_1_2_out.csv"),
            *("vgg_train_1_1_out.txt", "vgg_train_1_2_out.txt"),
            *("vgg_train_1_1_files", "vgg_train_1_2_files"),
            *("journal.jsonl", "plan.json", "study.lock"),
        ]
    )  # fmt: skip
    assert (study.folder / "cpu_1_1_1_out.csv").read_text() == "hello\n"
    assert study.names("vgg_train_1_1_files/*") == ["weights.bin"]

    found = load_study(study.folder)
    assert [one.trial for one in found.finished] == list(found.plan.trials)
    assert found.left == found.failed == found.notes == ()
    first = found.of("vgg_train_1")[0]
    assert first.work == {"steps": 3}
    assert first.marks == {"data": "made up"}
    assert first.record["exit_code"] == 0
    assert first.record["plan"] == found.plan.hash
    assert first.run().status == "complete"


def test_data_of_two_origins_in_one_workload_are_told(study):
    study.add("a", "echo", 'PACT-WORK {"data": "made by {trial}"}', measured=True)
    study.add("b", "echo", 'PACT-WORK {"data": "real"}', measured=True)

    assert study("run").returncode == 0

    assert load_study(study.folder).notes == (
        "a: data is not the same in all trials: made by 1, made by 2",
    )


def test_finished_trials_are_not_repeated(study):
    study.add("a", "true", measured=True)
    study("run", "--only", "a")
    before = study.entries

    done = study("run")

    assert done.returncode == 0
    assert study.entries == before


BAD = {
    "exits": ("raise SystemExit('no data')", "exit code 1; its last words: no data"),
    "killed": ("import os; os.kill(os.getpid(), 9)", "ended by SIGKILL (out of memory?)"),
    "late": ("import time; time.sleep(60)", "it had not ended after 3 s"),
}


def test_failed_trials_are_told_and_kept_and_the_others_go_on(study):
    study.text = study.text.replace("trials = 2", "trials = 1\ntimeout_s = 3")
    for name, (body, _) in BAD.items():
        study.program(name, body)
    study.add("unmeasured", "echo", "hello")
    study.add("lazy", "echo", 'PACT-WORK {"steps": 0, "loss_last": 1.5}', measured=True)
    study.add("mad", "echo", "PACT-WORK {", measured=True)
    study.add("good", "true", measured=True)

    done = study("run")

    reasons = {name: reason for name, (_, reason) in BAD.items()} | {
        "unmeasured": "it measured nothing: it left no PACT.csv",
        "lazy": "it did no work, as it says itself: steps 0",
        "mad": "what the workload says of its work is damaged",
    }
    assert done.returncode == 1
    assert "done      1 of 7 trials" in done.stdout
    for name, reason in reasons.items():
        assert f"failed    {name}_1: {reason}" in done.stdout
        assert f"{name}_1_trial.json" in study.names(f"failed/{name}_1-1/*")
    assert study.names("*_PACT.csv") == ["good_1_PACT.csv"]
    assert "late_1_PACT.csv" in study.names("failed/late_1-1/*")
    found = load_study(study.folder)
    assert [one.trial.workload for one in found.finished] == ["good"]
    assert {trial.workload for trial, _ in found.failed} == set(reasons)


def test_failed_trials_are_run_again_only_if_that_is_wanted(study):
    flag = study.place / "mended"
    study.text = study.text.replace("trials = 2", "trials = 1")
    study.program("a", f"import os; assert os.path.exists({str(flag)!r})")
    study.add("b", "true", measured=True)

    assert study("run").returncode == 1
    flag.touch()
    assert study("run").returncode == 1
    assert study.ended().count("a_1") == 1
    again = study("run", "--retry-failed")

    assert again.returncode == 0, again.stdout
    assert sorted(study.ended()) == ["a_1", "a_1", "b_1"]
    assert "a_1_PACT.csv" in study.names()
    assert "a_1_PACT.csv" in study.names("failed/a_1-1/*")


def test_a_second_attempt_that_is_killed_leaves_the_first_ones_files_as_they_are(study):
    study.text = study.text.replace("trials = 2", "trials = 1")
    flag = study.place / "up"
    study.program(
        "a",
        f"import time; open({str(flag)!r}, 'a').write('x'); print('second', flush=True);"
        f" time.sleep(60) if open({str(flag)!r}).read() == 'xx' else sys.exit('first')",
    )
    study("run")
    first = study.folder / "failed/a_1-1"
    before = {path.name: path.read_bytes() for path in first.iterdir()}
    assert study.ended() == ["a_1"]

    runner = study.start("run", "--retry-failed")
    until(lambda: flag.read_text() == "xx")
    runner.kill()
    runner.communicate(timeout=WAITS_S)
    study("run")

    assert {path.name: path.read_bytes() for path in first.iterdir()} == before
    assert study.ended() == ["a_1"]


def test_a_number_that_is_none_fails_a_trial_and_the_others_go_on(study):
    study.text = study.text.replace("trials = 2", "trials = 1")
    told = 'print(\'PACT-WORK {"steps": 3, "loss_last": NaN}\')'
    study.add("a", "{python}", "-c", told, measured=True)
    study.add("b", "true", measured=True)

    done = study("run")

    assert done.returncode == 1
    assert "says that its loss_last is nan" in done.stdout
    assert sorted(study.ended()) == ["a_1", "b_1"]


def test_what_a_trial_leaves_running_is_ended_and_told(study):
    study.text = study.text.replace("trials = 2", "trials = 1")
    study.program("a", "import subprocess; subprocess.Popen(['sleep', '300'])")

    done = study("run")

    assert done.returncode == 0, done.stderr
    assert "1 processes that it left were ended" in done.stderr
    record = json.loads((study.folder / "a_1_trial.json").read_text())
    assert record["ended_processes"] == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_study_goes_on_where_it_was(study, number):
    flag = study.place / "go"
    study.text = study.text.replace("trials = 2", "trials = 1")
    study.add("a", "true", measured=True)
    wait = f"import os, time\n    while not os.path.exists({str(flag)!r}): time.sleep(0.01)"
    study.program("b", wait)
    study.add("c", "true", measured=True)

    runner = study.start("run")
    running = until(lambda: [e for e in study.entries if e.get("trial") == "b_1"])[0]
    runner.send_signal(number)
    output, _ = runner.communicate(timeout=WAITS_S)

    assert runner.returncode == 128 + number
    assert "the same command goes on" in output
    assert process.remains(process.Program(**running["program"])) == set()
    assert "b_1" not in study.ended()
    assert study("status", "out").stdout.splitlines()[1].startswith("state     stopped")
    flag.touch()
    assert study("run").returncode == 0
    assert sorted(study.ended()) == ["a_1", "b_1", "c_1"]


def test_a_second_runner_is_refused(study):
    study.text = study.text.replace("trials = 2", "trials = 1")
    study.program("a", "import time; time.sleep(30)")
    runner = study.start("run")
    try:
        until(lambda: study.entries)
        second = study("run")
        status = study("status", "out")
        assert second.returncode == 1
        assert "another runner is at work in out" in second.stderr
        assert f"process {runner.pid}" in second.stderr
        assert f"a runner is at work (process {runner.pid})" in status.stdout
    finally:
        runner.terminate()
        runner.communicate(timeout=WAITS_S)


def test_a_killed_runner_leaves_what_the_next_one_ends(study):
    study.text = study.text.replace("trials = 2", "trials = 1")
    flag = study.place / "go"
    wait = (
        "import os, subprocess, time\n"
        "    helper = subprocess.Popen(['sleep', '300'], start_new_session=True)\n"
        f"    while not os.path.exists({str(flag)!r}): time.sleep(0.01)\n"
        "    helper.kill()"
    )
    study.program("a", wait)
    runner = study.start("run")
    running = until(lambda: [e for e in study.entries if e["event"] == "start"])[0]
    left = process.Program(**running["program"])
    until(lambda: len(process.remains(left)) >= 3)  # with its sampler
    runner.kill()
    runner.communicate(timeout=WAITS_S)
    assert len(process.remains(left)) >= 3
    told = study("status", "out").stdout
    assert "its runner was killed and left processes running" in told

    runner = study.start("run")
    until(lambda: [e for e in study.entries if e["event"] == "start"][1:])
    assert process.remains(left) == set()
    flag.touch()
    _, errors = runner.communicate(timeout=WAITS_S)

    assert runner.returncode == 0, errors
    assert "processes that an earlier runner has left" in errors
    assert study.ended() == ["a_1"]


def test_files_that_a_kill_kept_from_their_place_are_brought_there(study):
    study.text = study.text.replace("trials = 2", "trials = 1")
    study.add("a", "true", measured=True)
    study("run")
    work = study.folder / ".work/a_1-1"
    work.mkdir(parents=True)
    names = {"a_1_trial.json": ".pactmeter-trial", "a_1_PACT.csv": "PACT.csv"}
    for name, own in names.items():
        (study.folder / name).rename(work / own)

    assert load_study(study.folder).finished[0].power == work / "PACT.csv"
    assert study("run").returncode == 0
    assert set(names) <= set(study.names())
    assert study.ended() == ["a_1"]


def test_the_folder_of_another_plan_is_refused(study):
    study.add("a", "true", measured=True)
    study("run")
    before = study.names()

    study.text = study.text.replace("trials = 2", "trials = 3")
    done = study("run")

    assert done.returncode == 2
    assert "trials was 2, is 3" in done.stderr
    assert study.names() == before


def test_a_dry_run_shows_the_plan_and_writes_nothing(study):
    study.add("a", "true", expected_s=30, memory_mb=5)
    study.add("b", "true", needs=["python:torch_of_tomorrow"])

    done = study("run", "--dry-run")

    assert done.returncode == 1  # something is missing
    assert sorted(line.split("  ")[-1] for line in done.stdout.splitlines()[1:5]) == [
        "a, trial 1",
        "a, trial 2",
        "b, trial 1",
        "b, trial 2",
    ]
    assert "4 of 4 trials, about 2 min 0 s" in done.stdout
    assert "memory    5 MB at most, by a" in done.stdout
    assert "missing   python:torch_of_tomorrow, needed by b: pip install" in done.stdout
    assert not study.folder.exists()


def test_what_is_missing_is_refused_or_left_out(study):
    study.add("a", "true", measured=True)
    study.add("b", "true", needs=["tool:stress_of_tomorrow"])

    refused = study("run")
    assert refused.returncode == 1
    assert "tool:stress_of_tomorrow, needed by b" in refused.stderr
    assert "--skip-missing" in refused.stderr
    assert not study.folder.exists()

    done = study("run", "--skip-missing")
    assert done.returncode == 0, done.stderr
    assert sorted(study.ended()) == ["a_1", "a_2"]
    assert "left out  tool:stress_of_tomorrow" in done.stdout
    assert "left      2 trials" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "--only", "vgg"), "unknown workload 'vgg'"),
        (("run", "--only", ","), "names no workload"),
        (("run", "--profile", "tiny"), "unknown profile 'tiny'"),
        (("status", "nowhere"), "holds no study"),
        (("plan", "nowhere", "--precision", "1"), "there is no run"),
        (("plan", ".", "--precision", "1"), "holds no study"),
    ],
)
def test_bad_arguments_are_told_in_a_line(study, words, said):
    study.add("a", "true", measured=True)

    done = study(*words)

    assert done.returncode in {1, 2}
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("gauge")
def test_a_study_on_a_machine_with_known_power(study):
    study.text = study.text.replace("baseline_s = 0", 'baseline_s = 5\ncontrol = "sleep"')
    study.text = study.text.replace("cool_down_s = 0", "warm_up_s = 0.2\ncool_down_s = 0.1")
    study.add("sleep", "sleep", "0.5", measured=True)
    study.add("longer", "sleep", "1", measured=True)

    done = study("run")
    planned = study("plan", "out", "--precision", "50", "--json")

    assert done.returncode == 0, done.stderr
    found = load_study(study.folder)
    assert found.notes == ()
    assert [one.trial.workload for one in found.finished] == ["sleep", "longer", "sleep"] * 2
    assert [(a.trial.trial, b.trial.trial) for a, b in found.control_pairs] == [(1, 2), (3, 4)]
    for one in found.finished:
        assert [path.name for path in one.baselines] == [
            "baseline_1_before.csv",
            "baseline_1_after.csv",
        ]
        assert one.record["waited_s"] >= 0.1
    rest = baseline(load(found.finished[0].baselines[0]))
    assert [energy.mean_w for energy in rest.idle.values()] == [pytest.approx(100.0)]
    assert planned.returncode == 0, planned.stderr
    needs = json.loads(planned.stdout)
    assert {need["name"]: need["n"] for need in needs["needs"]} == {"sleep": 4, "longer": 2}
    assert needs["needs"][0]["mean"]["likely"] >= 2
    assert needs["noise_pct"] >= 0
    assert not (study.folder / ".work").exists()
