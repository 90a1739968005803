"""Names beyond PACT's own table: tracepoints, libpfm4, perfmon; and what a name lacks."""

import json
import os
import subprocess
import sys
import time
from types import ModuleType, SimpleNamespace

import pytest

from pactmeter.cli import main
from pactmeter.counters import access, generic, libpfm, plan, tracepoints
from pactmeter.counters.listing import list_events
from pactmeter.counters.names import EventSpec, parse
from pactmeter.errors import ConfigError
from pactmeter.kernel import perf
from support.rights import ordinary_user, refuse

L3_MISS = "skl::MEM_LOAD_RETIRED:L3_MISS"


@pytest.fixture
def library():
    """Take care that libpfm4 is there: `tools/system-packages.sh` installs it."""
    if not libpfm.installed():
        refuse(f"needs {libpfm.LIBRARY} (apt-get install libpfm4)")


@pytest.fixture
def no_library(monkeypatch):
    """Let the machine have neither libpfm4 nor perfmon."""
    monkeypatch.setattr(libpfm, "LIBRARY", "libpfm-that-is-not-there.so")
    monkeypatch.setitem(sys.modules, "perfmon", None)
    libpfm._library.cache_clear()
    yield
    libpfm._library.cache_clear()


@pytest.fixture
def tracefs(sysfs):
    """A tracefs with three events, one of them without an id, where the kernel mounts it."""
    root = sysfs / "kernel/tracing"
    for event, number in {"sched/sched_switch": 3, "syscalls/sys_enter_read": 700}.items():
        (root / "events" / event).mkdir(parents=True)
        (root / "events" / event / "id").write_text(f"{number}\n")
    (root / "events/ftrace/print").mkdir(parents=True)
    (root / "events/enable").write_text("0\n")
    return root


@pytest.fixture
def skylake(library):
    """Resolve names, and list the events, on a Skylake, in a process of its own."""
    code = (
        "import dataclasses, json, sys\n"
        "from pactmeter.counters import listing, names\n"
        "from pactmeter.errors import ConfigError\n"
        "def told(name):\n"
        "    try: return dataclasses.asdict(names.parse(name))\n"
        "    except ConfigError as error: return error.to_dict()\n"
        "listed = listing.list_events('skl::MEM_LOAD_RETIRED')\n"
        "plain = [row.name for row in listing.list_events()]\n"
        "whole = [row.name for row in listing.list_events(everything=True)]\n"
        "print(json.dumps([[told(name) for name in sys.argv[1:]],\n"
        "                  [row.to_dict() for row in listed], plain, whole]))\n"
    )

    def run(*names, **environment):
        done = subprocess.run(
            [sys.executable, "-c", code, *names],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "LIBPFM_FORCE_PMU": "skl", **environment},
        )
        return json.loads(done.stdout)

    if os.uname().machine != "x86_64":
        refuse("needs libpfm4's tables of x86")
    return run


def refusal(name):
    with pytest.raises(ConfigError) as caught:
        parse(name)
    return caught.value


# --- which source, and the name in full ---------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "source", "full"),
    [
        ("cycles:u", "generic", "perf::PERF_COUNT_HW_CPU_CYCLES"),
        ("perf::FAULTS", "generic", "perf::PERF_COUNT_SW_PAGE_FAULTS"),
        ("LLC-STORES", "generic", "perf::PERF_COUNT_HW_CACHE_LL:WRITE:ACCESS"),
        ("R01C2:k", "raw", "r01c2"),
        ("perf_raw::r01c2", "raw", "r01c2"),
        ("ABSENT/config=1/u", "sysfs", "absent/config=1/"),
        ("SYSTEMWIDE:sched:sched_switch", "tracepoint", "sched:sched_switch"),
    ],
)
def test_an_event_knows_who_encoded_it_and_its_full_name(name, source, full, absent, tracefs):
    event = parse(name)

    assert (event.encoded_by, event.full_name) == (source, full)


@pytest.mark.parametrize("name", sorted(generic.TABLE))
def test_the_full_name_of_a_generic_event_is_that_event(name):
    event = parse(name)
    again = parse(event.full_name)

    assert (again.type, again.config) == (event.type, event.config)


def test_ordinary_names_and_tracepoints_never_load_libpfm(tracefs, absent, monkeypatch):
    monkeypatch.setattr(libpfm, "_library", lambda: pytest.fail("libpfm4 was loaded"))

    for name in (
        *generic.TABLE,
        "r00c0",
        "perf::CYCLES:k",
        "sched:sched_switch:k",
        "absent/config/",
    ):
        assert parse(name).encoded_by in {"generic", "raw", "tracepoint", "sysfs"}


# --- tracepoints --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sched:sched_switch", "SCHED:SCHED_SWITCH"])
def test_a_tracepoint_has_the_id_that_tracefs_gives(name, tracefs):
    event = parse(name)

    assert (event.type, event.config, event.pmu) == (2, 3, "tracepoint")
    assert event.column == "sched:sched_switch"


def test_an_old_mount_below_debugfs_serves_too(tracefs, sysfs):
    (sysfs / "kernel/debug").mkdir()
    tracefs.rename(sysfs / "kernel/debug/tracing")

    assert parse("sched:sched_switch").config == 3


def test_tracepoints_take_modifiers_and_the_whole_machine(tracefs):
    assert parse("syscalls:sys_enter_read:u").exclude_kernel
    assert parse("syscalls:sys_enter_read:k").exclude_user
    assert parse("SYSTEMWIDE:syscalls:sys_enter_read:uk").scope == "system"
    assert "unknown modifier ':p'" in refusal("sched:sched_switch:p").message


def test_only_tracepoints_of_system_calls_count_without_the_kernel(tracefs):
    # its id is 3, as is the config of CONTEXT-SWITCHES: the type has to be looked at
    assert parse("sched:sched_switch").kernel_only
    assert not parse("syscalls:sys_enter_read").kernel_only
    assert not EventSpec("r3", "r3", perf.TYPE_RAW, 3).kernel_only
    assert access.meaningless(parse("sched:sched_switch:u")).status == "missing"
    assert access.meaningless(parse("syscalls:sys_enter_read:u")) is None


def test_tracepoints_share_the_group_of_the_software_events(tracefs):
    wanted = plan.columns([["CYCLES", "sched:sched_switch"], ["FAULTS"]], "tree")

    software, hardware = plan.kernel_groups(wanted)

    assert (len(software.members), len(hardware.members)) == (2, 1)
    assert parse("sched:sched_switch").software


def test_a_wrong_tracepoint_is_told_with_those_near_it(tracefs):
    error = refusal("sched:sched_swich")

    assert error.message == "unknown event 'sched:sched_swich'"
    assert "did you mean 'sched:sched_switch'?" in error.fix
    assert "unknown event 'ftrace'" in refusal("ftrace:print").message  # it has no id


@pytest.mark.parametrize("name", ["sched:sched_switch", "SYSTEMWIDE:sched:sched_switch:k"])
def test_without_tracefs_a_tracepoint_says_what_to_mount(name, sysfs):
    mount = sysfs / "kernel/tracing"

    assert "CONFIG_TRACING" in refusal(name).fix  # no such folder: no such kernel
    mount.mkdir(parents=True)
    error = refusal(name)

    assert f"tracefs is not mounted at {mount}" in error.message
    assert f"sudo mount -t tracefs -o gid=$(id -g),mode=750 nodev {mount}" in error.fix


@pytest.mark.parametrize("closed", ["", "events/sched/sched_switch/id"])
def test_a_closed_tracefs_says_which_right_it_takes(closed, tracefs):
    (tracefs / closed).chmod(0)
    with ordinary_user():
        error = refusal("sched:sched_switch")

    assert f"may not read tracefs at {tracefs}" in error.message
    assert f"mount -o remount,gid=$(id -g),mode=750 {tracefs}" in error.fix
    (tracefs / closed).chmod(0o755)


def test_a_closed_debugfs_says_to_mount_beside_it(tracefs, sysfs):
    (sysfs / "kernel/debug").mkdir()
    tracefs.rename(sysfs / "kernel/debug/tracing")
    tracefs.mkdir()
    (sysfs / "kernel/debug").chmod(0)
    with ordinary_user():
        error = refusal("sched:sched_switch")

    assert f"mount -t tracefs -o gid=$(id -g),mode=750 nodev {tracefs}" in error.fix
    (sysfs / "kernel/debug").chmod(0o755)


@pytest.mark.parametrize("name", ["perf::CYCLE", "CYCLE:u", "CYCLE:k:u", "MEM_LOAD:L3_MISS:u"])
def test_what_is_no_tracepoint_is_not_told_as_one(name, sysfs, library):
    assert refusal(name).message.startswith("unknown event")


def test_tracepoints_are_listed_where_the_pattern_has_a_colon(tracefs):
    assert list(tracepoints.names()) == ["sched:sched_switch", "syscalls:sys_enter_read"]
    assert [row.name for row in list_events("sched:*")] == ["sched:sched_switch"]
    assert list_events("sched_sw") == []


def test_the_command_lists_tracepoints_too(tracefs, capsys):
    assert main.main(["events", "--all", "sched:"]) == 0

    assert capsys.readouterr().out.split()[:3] == ["sched:sched_switch", "tracepoint", "tree"]


@pytest.mark.root
@pytest.mark.perf("kernel")
def test_real_tracepoints_count_and_without_the_kernel_only_those_of_system_calls(sysfs):
    mount = sysfs / "kernel/tracing"
    mount.mkdir(parents=True)
    words = ["mount", "-t", "tracefs", "nodev", str(mount)]
    if subprocess.run(words, capture_output=True, check=False).returncode != 0:  # no such kernel
        assert "tracefs is not mounted" in refusal("syscalls:sys_enter_getppid").message
        return
    try:
        call, switch = parse("syscalls:sys_enter_getppid"), parse("sched:sched_switch")
    finally:
        subprocess.run(["umount", str(mount)], check=True)

    # as `plan` does: members of an enabled leader may not count before the next switch (6.18)
    leader = opened(parse("FAULTS"), perf.FLAG_DISABLED)
    readers = [opened(spec, flags, leader) for spec in (call, switch) for flags in (0, USER_ONLY)]
    perf.enable(leader)
    for _ in range(1000):
        os.getppid()
    time.sleep(0.001)
    calls, user_calls, switches, user_switches = perf.GroupReader(leader, 5).read()[4:]
    for fd in (*readers, leader):
        os.close(fd)

    assert (calls, user_calls) == (1000, 1000)
    assert switches > 0
    assert user_switches == 0


USER_ONLY = perf.FLAG_EXCLUDE_KERNEL | perf.FLAG_EXCLUDE_HV


def opened(spec, flags=0, leader=-1):
    attr = perf.counting_attr(spec.type, spec.config, flags=flags)
    return perf.open_event(attr, pid=0, cpu=-1, group_fd=leader)


# --- libpfm4 ------------------------------------------------------------------------------------


def test_libpfm_and_the_own_table_agree_on_every_generic_name(library):
    for name, (kind, config) in generic.TABLE.items():
        event = libpfm.encode(name)
        assert (event.type, event.config) == (kind, config), name
        assert event.pmu == "perf"


def test_a_processors_events_are_encoded_with_their_modifiers(skylake):
    names = [
        L3_MISS,
        "mem_load_retired:l3_miss:u",
        "SYSTEMWIDE:skl::INST_RETIRED:ANY_P:c=1:k",
        "skl::INST_RETIRED:u:ANY_P",
        "OFFCORE_RESPONSE_0:DMND_DATA_RD:L3_HIT:uk",
    ]

    plain, user, kernel, inner, offcore = skylake(*names)[0]

    assert (plain["type"], plain["config"], plain["pmu"]) == (4, 0x20D1, "cpu")
    assert plain["encoded_by"] == "libpfm"
    assert plain["full_name"].startswith(f"{L3_MISS}:e=0:i=0:c=0")
    assert (plain["exclude_user"], plain["exclude_kernel"]) == (False, False)
    assert plain["column"] == L3_MISS.lower()
    assert (user["config"], user["exclude_kernel"], user["exclude_user"]) == (0x20D1, True, False)
    assert ":u=1:k=0" in user["full_name"]
    assert (kernel["config"], kernel["exclude_user"]) == (0x10000C0, True)
    assert kernel["scope"] == "system"
    assert (inner["config"], inner["exclude_kernel"]) == (0xC0, True)
    assert (offcore["config"], offcore["config1"]) == (0x1B7, 0x3F801C0001)


def test_a_processors_event_that_lacks_a_part_is_told_with_the_parts(skylake):
    names = ["skl::MEM_LOAD_RETIRED", f"{L3_MISS}X:u", "skl::MEM_LOAD_RETIRD:L3_MISS"]

    lacks, wrong, unknown = skylake(*names)[0]

    assert "missing unit mask" in lacks["message"]
    assert L3_MISS in lacks["fix"]
    assert L3_MISS in wrong["fix"]
    assert unknown["message"] == "unknown event 'skl::MEM_LOAD_RETIRD'"
    assert "'skl::MEM_LOAD_RETIRED'" in unknown["fix"]


@pytest.mark.parametrize("modifier", ["mg", "mh=1", "h"])
def test_a_modifier_that_would_be_lost_is_refused(modifier, library):
    assert "is not supported" in refusal(f"skl::INST_RETIRED:ANY_P:{modifier}").message


@pytest.mark.parametrize("inactive", ["", "1"])
@pytest.mark.parametrize(
    "name", ["rapl::RAPL_ENERGY_PKG", "amd64_fam17h_zen1::CYCLES_NOT_IN_HALT", "RAPL_ENERGY_PKG"]
)
def test_events_of_absent_hardware_are_refused_whatever_the_environment(name, inactive, skylake):
    environment = {"LIBPFM_ENCODE_INACTIVE": "1"} if inactive else {}

    (error,) = skylake(name, **environment)[0]

    assert error["error"] == "ConfigError"


def test_an_event_of_absent_hardware_names_the_hardware_that_is_there(library):
    pmus = libpfm._library().pmus
    absent = next(name for name, info in pmus.items() if not info.flags & 1)

    error = refusal(f"{absent.upper()}::ANYTHING:u")

    assert f"this machine has no PMU {absent!r}" in error.message
    assert "perf" in error.fix


def test_libpfm_would_encode_absent_hardware_if_it_were_not_asked_what_is_present(library):
    code = (
        "from pactmeter.counters import libpfm\n"
        "library = libpfm._library()\n"
        "library.pmus.clear()\n"  # what is asked before; what the encoding says is left
        "try: print(library.encode('rapl::RAPL_ENERGY_PKG', 9))\n"
        "except libpfm.RefusedError as error: print(error)\n"
    )
    environment = {**os.environ, "LIBPFM_ENCODE_INACTIVE": "1"}

    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
    )

    assert "of a PMU that this machine does not have" in done.stdout


def test_the_list_has_libpfms_events_with_a_pattern_or_all_of_them(skylake):
    _, listed, plain, whole = skylake()

    names = [row["name"] for row in listed]
    assert L3_MISS in names
    assert {row["pmu"] for row in listed} == {"cpu"}
    assert {row["scope"] for row in listed} == {"tree"}
    assert not any("::" in name for name in plain)
    assert set(names) < set(whole)


def test_a_processor_that_libpfm_has_no_table_for_is_told(library, monkeypatch):
    monkeypatch.setattr(libpfm, "knows_processor", lambda: False)

    assert "libpfm4 has no table" in refusal("foo::BAR").fix
    assert "libpfm4 has no table" not in refusal("FAULT").fix


def test_without_libpfm_a_processors_event_says_what_to_install(no_library):
    for name in (L3_MISS, "MEM_LOAD_RETIRED:L3_MISS", "UNHALTED_CORE_CYCLES_X"):
        error = refusal(name)
        assert "unknown event" in error.message
        assert "apt-get install libpfm4" in error.fix
        assert "pactmeter[perf]" in error.fix
    assert "libpfm4" not in refusal("CACHE_MISSES").fix  # the generic name is near
    assert libpfm.names() == []


def test_no_character_reaches_libpfm_that_it_does_not_know(monkeypatch):
    monkeypatch.setattr(libpfm, "_library", lambda: pytest.fail("libpfm4 was loaded"))

    for text in ("", "a b", "a\0b", "ä::b", "x" * 300, "skl::A,B"):
        assert libpfm.encode(text) is None


# --- perfmon ------------------------------------------------------------------------------------


@pytest.fixture
def perfmon(no_library, monkeypatch):
    """A module as performance-features builds it, with the PMU of a Skylake, here or not."""
    fake = ModuleType("perfmon")
    fake.flags = SimpleNamespace(is_present=1)
    fake.asked = []

    def encode(name, levels, _fstr, _idx):
        fake.asked.append((name, levels))
        if not name.endswith("MEM_LOAD_RETIRED:L3_MISS"):
            raise RuntimeError(-4, "event not found")
        return [
            (0,),
            SimpleNamespace(
                type=4,
                size=0,
                config=0x20D1,
                bpa=SimpleNamespace(config1=5),
                bpb=SimpleNamespace(config2=6),
                exclude_user=0,
                exclude_kernel=int(levels == libpfm.PLM_USER),
                exclude_hv=1,
            ),
        ]

    def pmu_info(number):
        if number == 0:
            raise RuntimeError(-2, "invalid parameters")  # a number of another architecture
        return [(0,), SimpleNamespace(name=("", "perf", "skl")[number], flags=fake.flags)]

    fake.PFM_PMU_MAX = 3
    fake.pfm_get_perf_event_encoding = encode
    fake.pfm_get_pmu_info = pmu_info
    monkeypatch.setitem(sys.modules, "perfmon", fake)
    return fake


def test_perfmon_encodes_where_libpfm_is_not_there(perfmon):
    event = parse(f"{L3_MISS}:u")

    assert (event.type, event.config, event.config1, event.config2) == (4, 0x20D1, 5, 6)
    assert (event.exclude_kernel, event.exclude_user) == (True, False)
    assert (event.encoded_by, event.full_name) == ("perfmon", L3_MISS)
    assert perfmon.asked == [(L3_MISS, libpfm.PLM_USER)]
    assert parse("MEM_LOAD_RETIRED:L3_MISS").encoded_by == "perfmon"


def test_perfmon_is_not_believed_about_absent_hardware(perfmon):
    perfmon.flags.is_present = 0

    assert "has no PMU 'skl'" in refusal(L3_MISS).message


def test_a_perfmon_that_is_something_else_is_no_error(no_library, monkeypatch):
    monkeypatch.setitem(sys.modules, "perfmon", ModuleType("perfmon"))

    assert "unknown event" in refusal(L3_MISS).message
