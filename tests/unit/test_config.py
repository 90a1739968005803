import json
import math

import pytest

from pactmeter.config.run import DEFAULT_EVENTS_GROUPS, RunConfig, from_arguments
from pactmeter.errors import ConfigError


def test_the_documented_defaults():
    config = from_arguments()
    assert config == RunConfig()
    assert (config.measure_period_s, config.perf_measure_period_s) == (1.0, 0.01)
    assert config.events_groups == DEFAULT_EVENTS_GROUPS
    assert (config.file, config.psu) == ("PACT.csv", ("auto",))


@pytest.mark.parametrize("period", [0, -1, -0.5, -math.inf])
@pytest.mark.parametrize("name", ["measure_period", "perf_measure_period"])
def test_a_period_that_is_not_positive_is_refused_in_the_words_of_the_original(name, period):
    with pytest.raises(ValueError) as caught:
        from_arguments(**{name: period})
    assert str(caught.value) == f"'{name}' should be positive number"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"measure_period": math.nan}, "measure_period"),
        ({"measure_period": math.inf}, "infinite"),
        ({"measure_period": "1"}, "not a number of seconds"),
        ({"measure_period": True}, "not a number of seconds"),
        ({"measure_period": None}, "not a number of seconds"),
        ({"measure_period": 0.001}, "is longer than"),
        ({"perf_measure_period": 1e-5}, "too short"),
        ({"events_groups": []}, "is empty"),
        ({"events_groups": "CYCLES"}, "not a list of groups"),
        ({"events_groups": ["CYCLES"]}, "not a group of names"),
        ({"events_groups": [[]]}, "not a group of names"),
        ({"events_groups": [["CYCLES", 3]]}, "not an event's name"),
        ({"events_groups": [[["CYCLES"]]]}, "not an event's name"),
        ({"tracker_file_name": 3}, "not a file name"),
        ({"tracker_file_name": ""}, "not a file name"),
        ({"tracker_file_name": b"PACT.csv"}, "not a file name"),
        ({"tracker_file_name": "."}, "is a directory"),
        ({"tracker_file_name": "new/"}, "is a directory"),
        ({"PSU": 1500}, "'PSU'"),
        ({"PSU": []}, "'PSU'"),
        ({"PSU": [""]}, "not a name"),
        ({"PSU": "Corsair_1500"}, "Corsair_1500i"),
        ({"on_error": "ignore"}, "raise, warn"),
        ({"scope": "cgroup"}, "tree, system"),
        ({"sync": 1}, "True or False"),
        ({"marks": "made up"}, "no mapping"),
        ({"marks": [("data", "made up")]}, "no mapping"),
        ({"marks": {f"m{k}": "x" for k in range(9)}}, "8 at most"),
        ({"marks": {"": "made up"}}, "'', not a name"),
        ({"marks": {"data set": "made up"}}, "'data set', not a name"),
        ({"marks": {3: "made up"}}, "3, not a name"),
        ({"marks": {"d" * 41: "made up"}}, "40 letters at most"),
        ({"marks": {"data": ""}}, "'' of 'data', not a text"),
        ({"marks": {"data": " "}}, "' ' of 'data', not a text"),
        ({"marks": {"data": None}}, "None of 'data', not a text"),
        ({"marks": {"data": "made\nup"}}, "not a text of one line"),
        ({"marks": {"data": "\x1b[2J"}}, "not a text of one line"),
        ({"marks": {"data": "\udcff"}}, "not a text of one line"),
        ({"marks": {"data": "x" * 41}}, "41 letters of 'data'"),
    ],
)
def test_a_wrong_argument_is_told_with_its_name_or_what_is_allowed(arguments, told):
    with pytest.raises(ConfigError) as caught:
        from_arguments(**arguments)
    assert told in str(caught.value)


def test_psu_may_be_none_auto_a_name_or_a_list():
    assert from_arguments(PSU=None).psu == ()
    assert from_arguments(PSU="AUTO").psu == ("auto",)
    assert from_arguments(PSU=" Corsair_1500i ").psu == ("Corsair_1500i",)
    assert from_arguments(PSU=["NZXT_850", "1b1c:1c1f"]).psu == ("NZXT_850", "1b1c:1c1f")


def test_settings_survive_the_way_to_the_sampler():
    groups, marks = [["FAULTS", "CYCLES"]], {"weights": "random", "data": "made up"}
    config = from_arguments(events_groups=groups, PSU=None, rails=True, marks=marks)
    sent = json.loads(json.dumps(config.to_dict()))
    assert sent["marks"] == marks
    assert RunConfig.from_dict(sent) == config
    assert config.events_asked
    assert not from_arguments().events_asked


def test_a_relative_file_is_resolved_against_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert from_arguments(tracker_file_name="./a.csv").resolved().file == str(tmp_path / "a.csv")


def test_marks_are_alike_in_any_order_and_other_marks_are_other_settings():
    marks = {"weights": "random", "data": " made up "}
    config = from_arguments(marks=marks)
    assert config.marks == (("data", "made up"), ("weights", "random"))

    marks["data"] = "real"  # what the program does with its own later changes no run
    assert config == from_arguments(marks={"data": "made up", "weights": "random"})
    assert len({config, from_arguments(marks=marks), from_arguments()}) == 3
    assert from_arguments(marks={}) == from_arguments(marks=None) == from_arguments()


def test_as_much_as_a_mark_may_hold_is_taken():
    marks = {f"{'m' * 39}{k}": "ä" * 40 for k in range(8)}
    assert dict(from_arguments(marks=marks).marks) == marks
