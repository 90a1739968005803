"""What a user types becomes what the kernel is asked for, and nothing else does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactmeter.counters import generic
from pactmeter.counters.listing import list_events
from pactmeter.counters.names import parse
from pactmeter.errors import ConfigError
from pactmeter.kernel import pmu
from support.pmus import ABSENT_TYPE, REAL_CPUS

LIBPFM = """
0 0 PERF_COUNT_HW_CPU_CYCLES CYCLES CPU-CYCLES
0 1 PERF_COUNT_HW_INSTRUCTIONS INSTRUCTIONS
0 2 PERF_COUNT_HW_CACHE_REFERENCES CACHE-REFERENCES
0 3 PERF_COUNT_HW_CACHE_MISSES CACHE-MISSES
0 4 PERF_COUNT_HW_BRANCH_INSTRUCTIONS BRANCH-INSTRUCTIONS BRANCHES
0 5 PERF_COUNT_HW_BRANCH_MISSES BRANCH-MISSES
0 6 PERF_COUNT_HW_BUS_CYCLES BUS-CYCLES
0 7 PERF_COUNT_HW_STALLED_CYCLES_FRONTEND STALLED-CYCLES-FRONTEND IDLE-CYCLES-FRONTEND
0 8 PERF_COUNT_HW_STALLED_CYCLES_BACKEND STALLED-CYCLES-BACKEND IDLE-CYCLES-BACKEND
0 9 PERF_COUNT_HW_REF_CPU_CYCLES REF-CYCLES
1 0 PERF_COUNT_SW_CPU_CLOCK CPU-CLOCK
1 1 PERF_COUNT_SW_TASK_CLOCK TASK-CLOCK
1 2 PERF_COUNT_SW_PAGE_FAULTS PAGE-FAULTS FAULTS
1 3 PERF_COUNT_SW_CONTEXT_SWITCHES CONTEXT-SWITCHES CS
1 4 PERF_COUNT_SW_CPU_MIGRATIONS CPU-MIGRATIONS MIGRATIONS
1 5 PERF_COUNT_SW_PAGE_FAULTS_MIN MINOR-FAULTS
1 6 PERF_COUNT_SW_PAGE_FAULTS_MAJ MAJOR-FAULTS
1 b PERF_COUNT_SW_CGROUP_SWITCHES CGROUP-SWITCHES
3 10000 PERF_COUNT_HW_CACHE_L1D L1-DCACHE-LOAD-MISSES
3 0 L1-DCACHE-LOADS
3 100 L1-DCACHE-STORES
3 10100 L1-DCACHE-STORE-MISSES
3 200 L1-DCACHE-PREFETCHES
3 10200 L1-DCACHE-PREFETCH-MISSES
3 10001 PERF_COUNT_HW_CACHE_L1I L1-ICACHE-LOAD-MISSES
3 1 L1-ICACHE-LOADS
3 201 L1-ICACHE-PREFETCHES
3 10201 L1-ICACHE-PREFETCH-MISSES
3 10002 PERF_COUNT_HW_CACHE_LL LLC-LOAD-MISSES
3 2 LLC-LOADS
3 102 LLC-STORES
3 10102 LLC-STORE-MISSES
3 202 LLC-PREFETCHES
3 10202 LLC-PREFETCH-MISSES
3 10003 PERF_COUNT_HW_CACHE_DTLB DTLB-LOAD-MISSES
3 3 DTLB-LOADS
3 103 DTLB-STORES
3 10103 DTLB-STORE-MISSES
3 203 DTLB-PREFETCHES
3 10203 DTLB-PREFETCH-MISSES
3 10004 PERF_COUNT_HW_CACHE_ITLB ITLB-LOAD-MISSES
3 4 ITLB-LOADS
3 10005 PERF_COUNT_HW_CACHE_BPU BRANCH-LOAD-MISSES
3 5 BRANCH-LOADS
3 10006 PERF_COUNT_HW_CACHE_NODE NODE-LOAD-MISSES
3 6 NODE-LOADS
3 106 NODE-STORES
3 10106 NODE-STORE-MISSES
3 206 NODE-PREFETCHES
3 10206 NODE-PREFETCH-MISSES
"""
"""Type, config (hexadecimal) and names as libpfm4 4.13 encodes them (pfm_get_os_event_encoding)."""


def reference():
    for line in LIBPFM.split("\n"):
        kind, config, *names = line.split() or ("", "")
        for name in names:
            yield name, int(kind), int(config, 16)


REFERENCE = list(reference())
NAMES = [name for name, _, _ in REFERENCE]


def make_pmu(root: Path, name: str, kind: int, *, events=(), fields=(), **files: str) -> Path:
    folder = root / "bus/event_source/devices" / name
    (folder / "events").mkdir(parents=True)
    (folder / "format").mkdir()
    (folder / "type").write_text(f"{kind}\n")
    for event, text in dict(events).items():
        (folder / "events" / event).write_text(f"{text}\n")
    for field, text in dict(fields).items():
        (folder / "format" / field).write_text(f"{text}\n")
    for file, text in files.items():
        (folder / file).write_text(f"{text}\n")
    return folder


@pytest.fixture
def sysfs(tmp_path, monkeypatch):
    """A machine with a core PMU, an uncore PMU and one that needs a number from the user."""
    monkeypatch.setenv("PACTMETER_SYSFS", str(tmp_path))
    make_pmu(
        tmp_path,
        "cpu",
        4,
        events={
            "stalls": "event=0xa3,umask=0x04,cmask=4,inv",
            "stalls.scale": "0.5",
            "stalls.unit": "Joules",
        },
        fields={
            "event": "config:0-7,32-35",
            "umask": "config:8-15",
            "inv": "config:23",
            "cmask": "config:24-31",
            "ldlat": "config1:0-15",
            "odd": "config3:0-7",
        },
    )
    make_pmu(
        tmp_path,
        "uncore_imc_0",
        ABSENT_TYPE,
        events={"reads": "event=4"},
        fields={"event": "config:0-7"},
    )
    make_pmu(
        tmp_path, "hv", 18, events={"dispatch": "event=1,core=?"}, fields={"event": "config:0"}
    )
    return tmp_path


def test_there_are_exactly_the_names_of_libpfm4():
    assert len(NAMES) == len(set(NAMES)) == 82  # the 83rd is its PMU of raw codes
    assert set(generic.TABLE) == set(NAMES)


@pytest.mark.parametrize(("name", "kind", "config"), REFERENCE)
def test_generic_names_are_encoded_as_libpfm4_does(name, kind, config):
    event = parse(name)

    assert (event.type, event.config, event.config1, event.config2) == (kind, config, 0, 0)
    assert not event.exclude_user
    assert not event.exclude_kernel


@given(
    name=st.sampled_from(NAMES),
    modifier=st.sampled_from(["", ":u", ":k", ":uk", ":ku", ":u:k"]),
    prefix=st.sampled_from(["", "SYSTEMWIDE:"]),
    data=st.data(),
)
def test_case_never_matters_and_modifiers_only_exclude(name, modifier, prefix, data):
    whole = prefix + name + modifier
    ups = data.draw(st.lists(st.booleans(), min_size=len(whole), max_size=len(whole)))
    typed = "".join(c.upper() if up else c.lower() for c, up in zip(whole, ups, strict=True))

    event, plain = parse(typed), parse(name)

    assert event.name == typed
    assert event.column == whole.lower()
    assert (event.type, event.config) == (plain.type, plain.config)
    assert event.exclude_kernel is (modifier == ":u")
    assert event.exclude_user is (modifier == ":k")
    assert event.scope == ("system" if prefix else None)


@given(code=st.integers(0, 2**64 - 1))
def test_raw_codes_are_taken_as_they_are(code):
    event = parse(f"r{code:x}")

    assert (event.type, event.config, event.pmu) == (4, code, "cpu")


@given(text=st.text(max_size=40))
def test_no_text_makes_anything_but_an_event_or_a_told_error(text):
    try:
        event = parse(text)
    except ConfigError as told:
        fix = told.fix
    else:
        fix = event.column == text.strip().lower()
    assert fix


def test_a_cache_takes_operation_and_result():
    assert parse("PERF_COUNT_HW_CACHE_LL:WRITE:ACCESS:u").config == 0x102
    assert parse("perf::PERF_COUNT_HW_CACHE_L1D").config == 0x10000
    assert parse("PERF_COUNT_HW_CACHE_DTLB:prefetch").config == 0x10203


@pytest.mark.parametrize(
    ("typed", "near"),
    [("FAULT", "'FAULTS'"), ("cache_misses", "'CACHE-MISSES'"), ("SYSTEMWIDE:CYCLE", "'CYCLES'")],
)
def test_an_unknown_name_is_an_error_with_near_names(typed, near):
    with pytest.raises(ConfigError, match="unknown event") as caught:
        parse(typed)

    assert near in caught.value.fix


@pytest.mark.parametrize("typed", ["CYCLES:p", "CYCLES:", "FAULTS:READ", "cpu/stalls/x"])
def test_an_unknown_modifier_is_an_error_with_the_known_ones(typed, sysfs):
    with pytest.raises(ConfigError, match="unknown modifier") as caught:
        parse(typed)

    assert "':u'" in caught.value.fix


def test_a_pmu_event_comes_from_sysfs_with_its_fields_in_place(sysfs):
    event = parse("cpu/stalls/")

    assert (event.type, event.config) == (4, 0xA3 | 4 << 8 | 1 << 23 | 4 << 24)
    assert (event.pmu, event.scale, event.unit) == ("cpu", 0.5, "Joules")


def test_terms_may_be_fields_and_whole_configs(sysfs):
    assert parse("cpu/event=0x1a3,ldlat=3/u").config == 0xA3 | 1 << 32
    assert parse("cpu/event=0x1a3,ldlat=3/u").config1 == 3
    assert parse("cpu/event=0x1a3,ldlat=3/:u").exclude_kernel
    assert parse("CPU/stalls,inv=0/").config == parse("cpu/stalls/").config
    event = parse("SYSTEMWIDE:uncore_imc_0/config=0x10,config1=7,config2=8/")
    assert (event.type, event.config, event.config1, event.config2) == (ABSENT_TYPE, 16, 7, 8)
    assert event.scope == "system"
    assert event.scale is None


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("cpu/stall/", "cpu/stalls/"),
        ("cpx/stalls/", "cpu/stalls/"),
        ("cpu/event=0x1000/", "does not fit its 12 bits"),
        ("cpu/config1=0x10000000000000000/", "does not fit its 64 bits"),
        ("cpu/event=-1/", "does not fit"),
        ("cpu/event=x/", "needs a number"),
        ("cpu/odd=1/", "config3, which is not supported"),
        ("hv/dispatch/", "needs a number, not '?'"),
        ("cpu/stalls", "write it as pmu/event/"),
        ("cpu//", "write it as pmu/event/"),
        ("cpu/../x/", "is not a term"),
    ],
)
def test_a_wrong_pmu_event_tells_what_is_wrong(typed, told, sysfs):
    with pytest.raises(ConfigError) as caught:
        parse(typed)

    assert told in str(caught.value)


def test_a_pmu_that_cannot_be_read_is_told(sysfs):
    (sysfs / "bus/event_source/devices/cpu/type").unlink()

    with pytest.raises(ConfigError, match="cannot be read"):
        parse("cpu/stalls/")


def test_a_machine_without_pmus_has_no_pmu_events(tmp_path, monkeypatch):
    monkeypatch.setenv("PACTMETER_SYSFS", str(tmp_path))

    assert pmu.pmus() == []
    with pytest.raises(ConfigError, match="unknown event"):
        parse("cpu/cycles/")


@given(cpus=st.sets(st.integers(0, 300)))
def test_cpu_lists_come_back_whole(cpus):
    text = ",".join(map(str, sorted(cpus)))

    assert pmu.cpu_list(text) == tuple(sorted(cpus))


@pytest.mark.perf("user")
def test_the_list_shows_what_really_opens(sysfs):
    rows = {row.name: row for row in list_events()}

    assert rows["FAULTS"].aliases == ("PAGE-FAULTS", "PERF_COUNT_SW_PAGE_FAULTS")
    assert (rows["FAULTS"].pmu, rows["FAULTS"].status) == ("software", "ok")
    assert rows["uncore_imc_0/reads/"].status == "missing"  # its PMU exists on paper only
    assert rows["hv/dispatch/"].status == "missing"
    assert "needs a number" in rows["hv/dispatch/"].reason
    assert rows["cpu/stalls/"].to_dict()["unit"] == "Joules"


def test_the_list_can_be_narrowed_by_part_alias_pmu_and_shell_pattern(sysfs):
    assert [row.name for row in list_events("page-fault")] == ["FAULTS"]
    assert [row.name for row in list_events("UNCORE")] == ["uncore_imc_0/reads/"]
    assert [row.name for row in list_events("m*-faults")] == ["MINOR-FAULTS", "MAJOR-FAULTS"]


@pytest.mark.perf("system")
def test_an_event_of_a_pmu_with_its_own_cpus_is_tried_on_one_of_them(sysfs):
    make_pmu(
        sysfs, "clock", 1, events={"ticks": "config=0"}, cpumask=f"{pmu.cpu_list(REAL_CPUS)[0]}"
    )

    (row,) = list_events("clock/")

    assert (row.scope, row.status) == ("system", "ok")


def test_importing_the_names_reads_no_files_and_nothing_heavy():
    code = (
        "import sys, pathlib; pathlib.Path.read_text = pathlib.Path.iterdir = None;"
        "import pactmeter.counters.names;"
        "print(*{'numpy', 'subprocess', 'json'} & set(sys.modules))"
    )

    alone = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=alone
    )

    assert done.stdout.strip() == ""
