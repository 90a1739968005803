from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactmeter.sensors.cuda_visible import visible

UUIDS = {0: "GPU-aa11", 1: "GPU-ab22", 2: "GPU-bb33"}


@pytest.mark.parametrize(
    ("setting", "whole", "invalid"),
    [
        (None, {0, 1, 2}, None),
        ("2,0", {0, 2}, None),
        ("0,-1,1", {0}, None),
        ("0, 1", {0, 1}, None),
        ("0,3,1", {0}, "3"),
        ("GPU-b", {2}, None),
        ("GPU-a", set(), "GPU-a"),
        ("aa11", set(), "aa11"),
        ("GPU-ab,junk,0", {1}, "junk"),
    ],
)
def test_the_list_ends_at_the_first_entry_that_names_no_gpu(setting, whole, invalid):
    found = visible(setting, UUIDS, 3, lambda _: None)

    assert (found.whole, found.invalid) == (whole, invalid)


def test_an_entry_that_may_name_a_sleeping_gpu_does_not_end_the_list():
    awake = {1: "GPU-ab22"}

    assert visible("0,1", awake, 2, lambda _: None).whole == {1}
    assert visible("GPU-cc,GPU-ab", awake, 2, lambda _: None).whole == {1}


@given(st.text(alphabet="0123456789GPU-MIabc, ", max_size=30))
def test_no_setting_shows_a_gpu_that_is_not_there(setting):
    found = visible(setting, UUIDS, 3, lambda _: "GPU-aa11")

    assert found.whole | found.partitioned <= set(UUIDS)
