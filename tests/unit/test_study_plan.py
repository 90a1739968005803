"""The order of trials, the plan's hash, and whose folder it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactmeter.errors import ConfigError, FileError
from pactmeter.study import plan
from pactmeter.study.definition import Definition, Settings, Workload


def defined(names=("a", "b", "c"), **settings):
    """Return a study of workloads that do nothing."""
    workloads = tuple(Workload(name, "other", ("true",)) for name in names)
    return Definition(Path("s.toml"), "s", None, Settings(**settings), workloads)


names = st.lists(st.sampled_from("abcdefgh"), min_size=1, unique=True)


@given(names, st.integers(1, 20), st.integers(0, 2**64))
def test_every_block_holds_every_workload_once(workloads, trials, seed):
    found = list(plan.order(defined(workloads, trials=trials), seed))

    assert [one.order for one in found] == list(range(1, len(found) + 1))
    for block in range(1, trials + 1):
        assert sorted(one.workload for one in found if one.block == block) == sorted(workloads)
    assert len({one.stem for one in found}) == len(found) == trials * len(workloads)


@given(names, st.integers(1, 10), st.integers(0, 2**64))
def test_the_control_stands_first_and_last_in_each_block(workloads, trials, seed):
    control = workloads[0]
    found = list(plan.order(defined(workloads, trials=trials, control=control), seed))

    for block in range(1, trials + 1):
        inside = [one for one in found if one.block == block]
        assert inside[0].workload == inside[-1].workload == control
        assert sorted(one.workload for one in inside[1:-1]) == sorted(workloads[1:])
    assert [one.trial for one in found if one.workload == control] == list(range(1, 2 * trials + 1))


def test_a_seed_gives_one_order_and_blocks_have_their_own():
    study = defined("abcdefgh", trials=4)
    orders = [[one.workload for one in plan.order(study, 1)] for _ in range(2)]
    blocks = [tuple(orders[0][k : k + 8]) for k in range(0, 32, 8)]

    assert orders[0] == orders[1]
    assert len(set(blocks)) == 4
    assert orders[0] != [one.workload for one in plan.order(study, 2)]


def test_the_order_of_a_seed_does_not_change_between_versions():
    assert (
        "".join(one.workload for one in plan.order(defined("abcdef", trials=2), 1))
        == "beacdffedbca"
    )


def test_a_plan_is_read_as_it_was_written(tmp_path):
    study = defined(trials=2, control="b", events=(("FAULTS",),))

    made = plan.take(tmp_path, study)
    again = plan.read(tmp_path)

    assert again.trials == made.trials
    assert (again.seed, again.host, again.hash) == (made.seed, made.host, made.hash)
    assert again.definition.settings == study.settings
    assert again.definition.workloads == study.workloads


def test_a_drawn_seed_stays_with_the_folder(tmp_path):
    made = plan.take(tmp_path, defined())

    assert plan.take(tmp_path, defined()).seed == made.seed


def test_a_study_whose_file_was_moved_is_the_same(tmp_path):
    plan.take(tmp_path, defined())

    found = plan.take(tmp_path, replace(defined(), file=Path("other/s.toml")))

    assert found.definition.file == Path("other/s.toml")


def test_the_folder_of_another_plan_is_refused_and_says_what_differs(tmp_path):
    plan.take(tmp_path, defined(trials=5))

    with pytest.raises(ConfigError, match="another study: trials was 5, is 6"):
        plan.take(tmp_path, defined(trials=6))
    with pytest.raises(ConfigError, match="workload 'd' is new"):
        plan.take(tmp_path, defined("abcd"))


def test_the_folder_of_another_machine_is_refused(tmp_path):
    plan.take(tmp_path, defined())
    file = tmp_path / plan.FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | {"host": "elsewhere"}))

    with pytest.raises(ConfigError, match="begun on elsewhere"):
        plan.take(tmp_path, defined())


def test_a_folder_with_something_else_in_it_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("")

    with pytest.raises(ConfigError, match=r"holds 'thesis.tex', but no study"):
        plan.take(tmp_path, defined())

    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"kind": "pactmeter study", "schema": 1}'])
def test_a_damaged_plan_is_told(tmp_path, text):
    (tmp_path / plan.FILE).write_text(text)

    with pytest.raises(FileError, match=r"plan\.json"):
        plan.read(tmp_path)
