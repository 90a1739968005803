"""A trial's files come to their place, whenever a kill cuts the way there."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from pactmeter.errors import FileError
from pactmeter.study import trial
from pactmeter.study.plan import Trial

ONE = Trial(order=3, block=1, workload="vgg_train_1", trial=2)
OWN = {
    "PACT.csv": "vgg_train_1_2_PACT.csv",
    "PACT.counters.csv": "vgg_train_1_2_PACT.counters.csv",
    "PACT.json": "vgg_train_1_2_PACT.json",
    trial.OUTPUT: "vgg_train_1_2_out.txt",
    trial.RECORD: "vgg_train_1_2_trial.json",
    "model.bin": "vgg_train_1_2_files/model.bin",
}


def ran(study):
    """Make the folder of a trial that has ended."""
    folder = trial.fresh(trial.folder_of(study, ONE.stem, 4))
    for name in OWN:
        (folder / name).write_text(name)
    return folder


def placed(study):
    return {str(p.relative_to(study)) for p in study.rglob("*") if p.is_file()}


@pytest.mark.parametrize("moves", range(len(OWN) + 1))
def test_files_are_moved_once_and_all_however_often_that_is_cut_short(tmp_path, monkeypatch, moves):
    ran(tmp_path)
    left, rename = [moves], Path.rename

    def killed_after(path, target):
        if not left[0]:
            raise OSError(errno.EINTR, "killed here")
        left[0] -= 1
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed_after)
        if moves < len(OWN):
            with pytest.raises(FileError, match="cannot move the files of vgg_train_1_2"):
                trial.place(tmp_path, ONE, "cv", 4, has_failed=False)
    trial.place(tmp_path, ONE, "cv", 4, has_failed=False)
    trial.place(tmp_path, ONE, "cv", 4, has_failed=False)

    assert placed(tmp_path) == set(OWN.values())
    assert all((tmp_path / target).read_text() == name for name, target in OWN.items())


def test_a_failed_trial_and_the_output_of_stress_have_other_places(tmp_path):
    ran(tmp_path)

    trial.place(tmp_path, ONE, "stress", 4, has_failed=True)

    assert {Path(name).parts[:2] for name in placed(tmp_path)} == {("failed", "vgg_train_1_2-4")}
    assert (tmp_path / "failed/vgg_train_1_2-4/vgg_train_1_2_out.csv").exists()


def test_what_a_killed_attempt_left_is_no_part_of_the_next(tmp_path):
    folder = ran(tmp_path)

    assert list(trial.fresh(folder).iterdir()) == []


def test_what_a_killed_attempt_left_is_not_taken_for_that_of_the_one_before(tmp_path):
    folder = ran(tmp_path)

    trial.place(tmp_path, ONE, "cv", 3, has_failed=True)

    assert {path.name for path in folder.iterdir()} == set(OWN)
    assert not (tmp_path / "failed").exists()


def judged(folder, output, exit_code=0, manifest=None):
    (folder / trial.OUTPUT).write_text(output)
    if manifest is not None:
        (folder / "PACT.csv").write_text("")
        (folder / "PACT.json").write_text(json.dumps({"schema": 1, **manifest}))
    return trial.judge(folder, exit_code, None)


COMPLETE = {"status": "complete"}


@pytest.mark.parametrize(
    ("output", "manifest", "reason"),
    [
        ("", COMPLETE, None),
        ('PACT-WORK {"steps": 0, "samples": 3}', COMPLETE, None),
        (
            'PACT-WORK {"steps": 0, "bogo_ops": 0}',
            COMPLETE,
            "as it says itself: steps 0, bogo_ops 0",
        ),
        ('PACT-WORK {"steps": 3, "loss_last": NaN}', COMPLETE, "says that its loss_last is nan"),
        ('PACT-WORK {"steps": -Infinity}', COMPLETE, "says that its steps is -inf"),
        ('PACT-WORK {"steps": 1%s}' % ("0" * 400), COMPLETE, "says that its steps is 1000"),
        ('PACT-WORK {"gflop": 0}', COMPLETE, "gflop 0"),
        ('PACT-WORK {"loss_last": 0}', COMPLETE, None),
        ("PACT-WORK [1]", COMPLETE, "no object"),
        ("", {"status": "incomplete", "reason": "died"}, "its run is incomplete: died"),
        ("", {"status": "failed"}, "its run is failed: no reason told"),
        ("", None, "it left no PACT.csv"),
    ],
)
def test_a_trial_counts_only_if_it_measured_work(tmp_path, output, manifest, reason):
    found = judged(tmp_path, output, manifest=manifest)

    assert found.status == ("done" if reason is None else "failed")
    assert (reason or "") in (found.reason or "")


def test_the_work_is_found_at_the_end_of_a_long_output(tmp_path):
    told = '{"steps": 7, "weights": "random", "flag": true, "data": ["a", 1], "more": null}'
    output = "x" * 3_000_000 + f"\nPACT-WORK {told}\n\xff"

    found = judged(tmp_path, output, manifest=COMPLETE)

    assert found.work == {"steps": 7}
    assert found.marks == {"weights": "random"}


def test_the_last_words_are_the_workloads_own(tmp_path):
    output = "epoch 1\nno such file: cifar\nPACT: recorded in PACT.csv\n"

    assert judged(tmp_path, output, 3).reason == "exit code 3; its last words: no such file: cifar"


@pytest.mark.parametrize(
    ("exit_code", "reason"),
    [(-9, "ended by SIGKILL (out of memory?)"), (-15, "ended by SIGTERM"), (-40, "by signal 40")],
)
def test_the_signal_that_ended_a_trial_is_told_whatever_it_is(tmp_path, exit_code, reason):
    assert reason in judged(tmp_path, "", exit_code).reason
