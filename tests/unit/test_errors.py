import pickle

import pytest

from pactmeter import errors

ALL = [
    errors.PactError,
    errors.ConfigError,
    errors.DeviceError,
    errors.ReadError,
    errors.CounterResetError,
    errors.SamplerError,
    errors.FileError,
]


@pytest.mark.parametrize("cls", ALL)
def test_an_error_keeps_class_message_and_fix_across_a_pickle_and_a_pipe(cls):
    error = cls("no device", "plug it in")
    for copy in (pickle.loads(pickle.dumps(error)), errors.from_dict(error.to_dict())):
        assert type(copy) is cls
        assert (copy.message, copy.fix) == ("no device", "plug it in")


def test_the_text_of_an_error_ends_with_its_fix():
    assert str(errors.FileError("disk full", "free some")) == "disk full\n  fix: free some"
    assert str(errors.FileError("disk full")) == "disk full"


def test_a_wrong_argument_is_a_value_error_with_exit_code_2():
    assert issubclass(errors.ConfigError, ValueError)
    assert errors.ConfigError("x").exit_code == 2
    assert errors.PactError("x").exit_code == 1


def test_an_unknown_name_is_told_with_the_nearest_ones_whatever_their_case():
    error = errors.unknown_name("event", "cache-mises", ["CACHE-MISSES", "CYCLES"])
    assert "'CACHE-MISSES'" in str(error)
    assert "CYCLES" not in str(error)


def test_a_name_like_no_other_is_told_with_all_there_are():
    assert "A, B" in str(errors.unknown_name("thing", "zzzzzz", ["A", "B"]))


def test_an_error_of_an_unknown_class_is_still_an_error_of_pact():
    assert type(errors.from_dict({"error": "Other", "message": "m"})) is errors.PactError
