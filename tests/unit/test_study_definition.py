"""What a study's file may say, and what is said of one that is wrong."""

from __future__ import annotations

import json

import pytest

from pactmeter.errors import ConfigError, FileError
from pactmeter.study.command import expand
from pactmeter.study.definition import Settings, differences, read

WHOLE = """
schema = 1
name = "little"
[settings]
trials = 3
events = [["FAULTS"], ["CYCLES", "INSTRUCTIONS"]]
[profile.tiny]
trials = 1
baseline_s = 0
[profile.paper]
[[workload]]
name = "vgg_train_200"
family = "cv"
command = ["{python}", "{root}/CV/main.py", "{options}"]
needs = ["python:torch", "tool:stress", "gpu", "file:{root}/data"]
memory_mb = 700
timeout_s = 100
[workload.profile.tiny]
name = "vgg_1"
command = ["{python}", "-c", "pass"]
needs = []
[[workload]]
name = "idle_200"
command = ["sleep", "{trial}"]
profile.tiny.skip = true
"""


@pytest.fixture
def study(tmp_path):
    """Write a study's file and return it as it is read."""

    def write(text, profile=None):
        file = tmp_path / "little.toml"
        file.write_text(text)
        return read(file, profile)

    return write


def test_a_profile_changes_what_it_names_and_nothing_else(study):
    plain, tiny = study(WHOLE), study(WHOLE, "tiny")

    assert [one.name for one in plain.workloads] == ["vgg_train_200", "idle_200"]
    assert [one.name for one in tiny.workloads] == ["vgg_1"]
    assert (plain.settings.trials, tiny.settings.trials) == (3, 1)
    assert (plain.settings.baseline_s, tiny.settings.baseline_s) == (60.0, 0.0)
    assert tiny.workloads[0].needs == ()
    assert tiny.workloads[0].timeout_s == plain.workloads[0].timeout_s == 100.0
    assert tiny.settings.events == (("FAULTS",), ("CYCLES", "INSTRUCTIONS"))


def test_a_folder_stands_for_the_study_in_it(tmp_path):
    (tmp_path / "CV").mkdir()
    text = 'schema = 1\n[[workload]]\nname = "a"\ncommand = ["true"]\n'
    (tmp_path / "CV" / "study.toml").write_text(text)

    assert read(tmp_path / "CV").name == "CV"


WRONG = [
    ("schema = 1", "schema = 2", "schema is 2", "schema = 1"),
    ("trials = 3", "trails = 3", "unknown key 'trails'", "'trials'"),
    ("trials = 3", "trials = 0", "trials is 0", "from 1 to"),
    ("trials = 3", "trials = true", "trials is True", "from 1 to"),
    ("trials = 3", "trials = 2.5", "trials is 2.5", "whole number"),
    ("trials = 3", "baseline_s = -1", "baseline_s is -1", "or 0 for none"),
    ("trials = 3", "cool_down_s = nan", "cool_down_s is nan", "a number from"),
    ("trials = 3", "cool_down_s = inf", "cool_down_s is inf", "a number from"),
    ("trials = 3", 'control = "idle"', "unknown workload 'idle'", "'idle_200'"),
    ("trials = 3", "perf_period_s = 2", "longer than", "at most as long"),
    ("trials = 3", 'psu = "Corsiar_1500i"', "Corsiar_1500i", "Corsair"),
    ('[["FAULTS"], ', "[[], ", "empty group", "leave it out"),
    ("[profile.tiny]\ntrials = 1", "[profile.tiny]\ntrial = 1", "unknown key 'trial'", "'trials'"),
    ('family = "cv"', 'family = "vc"', "unknown word 'vc'", "one of: cv"),
    ('family = "cv"', 'famly = "cv"', "unknown key 'famly'", "'family'"),
    ('"{root}/CV', '"{rot}/CV', "unknown placeholder 'rot'", "'root'"),
    ('"{options}"', '"x{options}"', "stands within", "a word alone"),
    ('["sleep", "{trial}"]', '"sleep 1"', "one text, not a list", "{python}"),
    ('["sleep", "{trial}"]', "[]", "is empty", "{python}"),
    ('["sleep", "{trial}"]', '["sleep", 1]', "is 1", "a text"),
    ('"tool:stress"', '"tools:stress"', "no need", "tool:PROGRAM"),
    ('name = "idle_200"', 'name = "a/b"', "cannot name files", "letters"),
    ('name = "idle_200"', 'name = "vgg_train_200"', "two workloads", "own name"),
    ('name = "idle_200"', "", "has no 'name'", "add: name"),
    ("profile.tiny.skip", "profile.tinny.skip", "unknown profile 'tinny'", "'tiny'"),
    ("skip = true", 'skip = "yes"', "skip is 'yes'", "true or false"),
    ("memory_mb = 700", "memory_mb = -1", "memory_mb is -1", "from 0"),
    ("schema = 1", "schema = ", "no TOML", ""),
]


@pytest.mark.parametrize(("right", "wrong", "said", "fix"), WRONG, ids=[w[1] for w in WRONG])
def test_what_is_wrong_is_named_with_its_fix(study, right, wrong, said, fix):
    assert right in WHOLE

    with pytest.raises(ConfigError) as raised:
        study(WHOLE.replace(right, wrong, 1))

    assert said in raised.value.message
    assert "little.toml" in raised.value.message
    assert fix in (raised.value.fix or "")


def test_a_profile_that_is_not_there_is_refused_with_near_ones(study):
    with pytest.raises(ConfigError, match="unknown profile 'tinny'\n  fix: did you mean 'tiny'"):
        study(WHOLE, "tinny")


def test_a_study_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(FileError, match="there is no study"):
        read(tmp_path / "none.toml")


def test_a_study_without_workloads_is_refused(study):
    with pytest.raises(ConfigError, match="no workload"):
        study("schema = 1")
    with pytest.raises(ConfigError, match="leaves out every workload"):
        study(
            "schema = 1\n[profile.none]\n[[workload]]\nname='a'\ncommand=['a']\n"
            "profile.none.skip=true",
            "none",
        )


def test_placeholders_become_what_the_study_says(tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / "studies").mkdir()
    settings = Settings(psu="none", threads=2, events=(("FAULTS", "CYCLES"), ("MIGRATIONS",)))
    file = tmp_path / "studies" / "s.toml"
    given = {"file": file, "name": "a", "trial": 4, "seed": 7}

    words = expand(
        ("{root}/x", "{here}", "{name}_{trial}", "{seed}", '{"a": 1}'), settings, **given
    )
    options = expand(("{options}",), settings, **given)
    measuring = expand(("{measuring}",), settings, **given)

    assert words == [f"{tmp_path}/x", f"{tmp_path}/studies", "a_4", "7", '{"a": 1}']
    common = ["--measure-period", "1", "--perf-period", "0.01", "--psu", "none"]
    events = ["--events", "FAULTS,CYCLES;MIGRATIONS"]
    assert options == [*common, *events, "--seed", "4", "--threads", "2"]
    assert measuring == [*common, "--events", "FAULTS,CYCLES", "--events", "MIGRATIONS"]


def test_differences_name_what_has_changed(study):
    old = study(WHOLE).to_dict()
    new = study(WHOLE.replace("trials = 3", "trials = 4").replace("= 700", "= 800")).to_dict()

    assert differences(old, new) == [
        "trials was 3, is 4",
        "workload 'vgg_train_200' has another memory_mb",
    ]
    assert differences(old, json.loads(json.dumps(old))) == []


HEAD = "schema = 1\n[settings]\ntrials = 2\n[profile.tiny]\n"
OWN = '[[workload]]\nname = "own"\ncommand = ["true"]\n'


def test_a_study_takes_the_workloads_of_the_files_it_includes_and_nothing_else(tmp_path, study):
    (tmp_path / "a.toml").write_text(WHOLE)
    (tmp_path / "b.toml").write_text('schema = 1\n[[workload]]\nname = "b"\ncommand = ["true"]\n')
    both = f'include = ["a.toml", "b.toml"]\n{HEAD}[profile.paper]\n{OWN}'

    found, tiny = study(both), study(both, "tiny")

    assert [one.name for one in found.workloads] == ["vgg_train_200", "idle_200", "b", "own"]
    assert [one.name for one in tiny.workloads] == ["vgg_1", "b", "own"]
    assert (found.name, found.settings.trials, found.settings.events) == ("little", 2, ())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('include = ["a.toml"]\n', "profile 'paper'"),  # a.toml has one that this does not declare
        ('include = ["none.toml"]\n', "there is no study"),
        ('include = "a.toml"\n', "include is 'a.toml'"),
        ('include = ["nested.toml"]\n', "nested.toml includes others itself"),
        ("include = []\n", "there is no workload"),
    ],
)
def test_what_cannot_be_included_is_named(tmp_path, study, text, told):
    other = WHOLE.replace("profile.tiny.skip", "profile.paper.skip")
    (tmp_path / "a.toml").write_text(other)
    (tmp_path / "nested.toml").write_text('schema = 1\ninclude = ["a.toml"]\n')

    with pytest.raises((ConfigError, FileError)) as caught:
        study(text + HEAD)

    assert told in str(caught.value)
