"""The emulated machine's view of /dev, /sys and /proc, and that nothing of it leaks."""

import json
import os
import select
import signal
import subprocess
import sys
import textwrap
from ctypes.util import find_library
from pathlib import Path

import pytest

from bench.stage import PATIENCE_S, environment, played, playing
from support.rights import refuse

pytestmark = pytest.mark.root

TWO = ["hx1500i,serial=ABC1", "e850,serial=N7"]


def outside():
    """Return all that could be left behind: mounts, and what lies in the folders replaced."""
    mounts = Path("/proc/self/mountinfo").read_text()
    return mounts, *map(names, ("/dev", "/sys", "/sys/class"))


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def alone(code, *launcher):
    """Run code as a process of its own; return its exit code and what it printed."""
    words = [*launcher, sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(
        words, env=environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    return done.returncode, done.stdout + done.stderr


# --- what clients find --------------------------------------------------------------------------


def test_hidapi_lists_the_units_with_their_serials():
    (found,) = played("import hidraw; say([str(d) for d in hidraw.enumerate()])", psus=TWO)
    first, second = found
    for text in ("b'/dev/hidraw0'", "6940", "7199", "'ABC1'", "'CORSAIR'", "'HX1500i'", "65280"):
        assert text in first
    assert "b'/dev/hidraw1'" in second
    assert "'N7'" in second


def test_libudev_of_the_system_knows_the_units():
    if not find_library("udev"):
        refuse("needs libudev.so.1")
    code = """
    import ctypes
    udev = ctypes.CDLL("libudev.so.1")
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    udev.udev_new.restype = udev.udev_device_new_from_syspath.restype = pointer
    parent_of = udev.udev_device_get_parent_with_subsystem_devtype
    parent_of.restype, parent_of.argtypes = pointer, [pointer, text, text]
    udev.udev_device_new_from_syspath.argtypes = [pointer, text]
    udev.udev_device_get_sysattr_value.argtypes = [pointer, text]
    udev.udev_device_get_sysattr_value.restype = text
    device = udev.udev_device_new_from_syspath(udev.udev_new(), b"/sys/class/hidraw/hidraw1")
    parent = parent_of(device, b"usb", b"usb_device")
    say(udev.udev_device_get_sysattr_value(parent, b"serial").decode())
    """
    assert played(code, psus=TWO) == ["N7"]


def test_liquidctl_reads_the_units_it_finds():
    code = """
    from liquidctl.driver.corsair_hid_psu import CorsairHidPsu
    from liquidctl.driver.nzxt_epsu import NzxtEPsu
    for driver in (CorsairHidPsu, NzxtEPsu):
        (device,) = driver.find_supported_devices()
        with device.connect():
            if driver is CorsairHidPsu:
                device.device.write([0, 0xFE, 3] + [0] * 62)
                device.device.read(64)
            status = {name: value for name, value, _ in device.get_status()}
        say([device.description, device.serial_number, status])
    """
    corsair, nzxt = played(code, psus=TWO)
    assert corsair[:2] == ["Corsair HX1500i", "ABC1"]
    assert corsair[2]["Input voltage"] == 230.0
    assert nzxt[:2] == ["NZXT E850", "N7"]
    whole_w = sum(value for name, value in nzxt[2].items() if name.endswith("output power"))
    assert corsair[2]["Total power output"] == pytest.approx(whole_w, abs=2.0)  # equal shares


def test_the_product_finds_all_and_says_that_it_is_emulated():
    code = """
    from pactmeter.sensors import psu_scan, rapl, sysfs
    from pactmeter.sensors.base import Request
    say([[f.model.name, f.serial, f.bound, f.synthetic, str(f.hwmon)] for f in psu_scan.scan()])
    found = rapl.discover(Request())
    (device,) = found.devices
    say({channel.name: channel.synthetic for channel in device.channels})
    say([str(finding) for finding in found.findings])
    say(sysfs.cpuinfo()["model name"])
    """
    supplies, channels, findings, processor = played(
        code, psus=["hx1500i,serial=ABC1,hwmon", "hx1500i,serial=ABC2"], rapl="2x,psys"
    )
    assert supplies == [
        ["Corsair HX1500i", "ABC1", True, "emulated", "/sys/class/hwmon/hwmon4"],
        ["Corsair HX1500i", "ABC2", False, "emulated", "None"],
    ]
    assert set(channels) >= {"cpu.package0", "cpu.dram1", "cpu.psys"}
    assert set(channels.values()) == {"emulated"}
    assert "found=True" in findings[0]
    assert "pactmeter-bench" in processor


def test_counters_run_while_they_are_read():
    code = """
    import time
    fd = os.open("/sys/class/powercap/intel-rapl:0/energy_uj", os.O_RDONLY)
    def pair():
        return time.monotonic(), int(os.pread(fd, 64, 0))
    start = pair()
    while (end := pair())[0] < start[0] + 0.2:
        pass
    say([end[0] - start[0], end[1] - start[1]])
    """
    ((elapsed_s, used_uj),) = played(code)
    assert used_uj / 1e6 / elapsed_s == pytest.approx(100.0, rel=0.05)


def test_a_replug_shows_at_once_whatever_was_looked_for_before():
    code = """
    import hidraw
    from pactmeter.sensors import psu_scan
    def seen():
        names = sorted(name for name in os.listdir("/dev") if name.startswith("hidraw"))
        there = [n for n in range(4) if Path(f"/dev/hidraw{n}").exists()]
        paths = [d["path"].decode() for d in hidraw.enumerate()]
        say([names, there, paths, [str(one.node) for one in psu_scan.scan()]])
    before = psu_scan.scan()[0]
    seen()
    held = os.open("/dev/hidraw0", os.O_RDWR)
    order("psu0:unplug")
    seen()
    try:
        os.write(held, bytes(65))
    except OSError as error:
        say(error.errno)
    order("clear psu0")
    seen()
    again = psu_scan.find_again(before)
    fd = os.open(again.node, os.O_RDWR)
    os.write(fd, b"\\0\\xfe\\3".ljust(65, b"\\0"))
    say(os.read(fd, 64)[:9].decode("latin-1"))
    """
    first, without, number, back, reply = played(code, psus=["hx1500i,serial=ABC1"])
    assert first == [["hidraw0"], [0], ["/dev/hidraw0"], ["/dev/hidraw0"]]
    assert without == [[], [], [], []]
    assert number == 19  # ENODEV
    assert back == [["hidraw1"], [1], ["/dev/hidraw1"], ["/dev/hidraw1"]]
    assert reply == "\xfe\x03HX1500i"


def test_zones_vanish_and_deny_root_too():
    code = """
    base = Path("/sys/class/powercap")
    say(sorted(os.listdir(base)))
    order("cpu.package1:vanish")
    say(sorted(os.listdir(base)))
    order("cpu.package0:deny")
    for attempt in range(2):
        try:
            say((base / "intel-rapl:0/energy_uj").read_text() != "")
        except OSError as error:
            say(error.errno)
        order("clear cpu.package0")
    """
    before, after, denied, again = played(code, rapl="2x,nocore,nouncore")
    assert [name for name in before if name not in after] == ["intel-rapl:1", "intel-rapl:1:0"]
    assert denied == 13  # EACCES
    assert again is True


def test_another_user_may_read_what_the_modes_say():
    code = """
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    def attempt(path, flags=os.O_RDONLY):
        try:
            return os.read(os.open(path, flags), 9).decode()
        except OSError as error:
            return error.errno
    say(attempt("/sys/class/powercap/intel-rapl:0/energy_uj"))
    say(attempt("/sys/class/powercap/intel-rapl:0/name"))
    say(attempt("/sys/class/hwmon/hwmon4/name"))
    os.close(os.open("/dev/hidraw0", os.O_RDWR))
    say(os.listdir("/dev") != [] and os.listdir("/sys/class") != [])
    """
    found = played(code, psus=["hx1500i,hwmon"])
    assert found == [13, "package-0", "corsairpsu"[:9], True]


# --- what stays of the real machine -------------------------------------------------------------


def test_the_rest_of_the_real_machine_stays_as_it_is():
    code = """
    import multiprocessing.shared_memory as shared
    import pty
    here = {name for name in os.listdir("/dev") if not name.startswith("hidraw")}
    say(sorted(here))
    Path("/dev/null").write_text("gone")
    say([len(Path("/dev/urandom").open("rb").read(8)), os.path.exists("/dev/fuse")])
    master, slave = pty.openpty()
    os.write(slave, b"x\\n")
    say([os.ttyname(slave), os.read(master, 1).decode()])
    memory = shared.SharedMemory(create=True, size=16)
    memory.close()
    memory.unlink()
    say(Path("/sys/devices/system/cpu/online").read_text())
    say(sorted(os.listdir("/sys/class/net")))
    say(sorted(os.listdir("/sys/fs/cgroup")))
    say([oct(os.stat(path).st_mode) for path in ("/dev/null", "/dev/ptmx", "/sys/class")])
    """
    before = outside()
    dev, random, terminal, online, net, cgroup, modes = played(code, psus=TWO)
    assert set(dev) - set(before[1]) == {"pactmeter"}
    assert set(before[1]) - set(dev) <= {"bus"} | {n for n in before[1] if n.startswith("hidraw")}
    assert random == [8, True]
    assert terminal[0].startswith("/dev/pts/")
    assert terminal[1] == "x"
    assert online == Path("/sys/devices/system/cpu/online").read_text()
    assert net == names("/sys/class/net")
    assert cgroup == names("/sys/fs/cgroup")
    assert modes == [oct(Path(p).stat().st_mode) for p in ("/dev/null", "/dev/ptmx", "/sys/class")]


def test_what_would_measure_the_real_machine_is_hidden():
    code = """
    say([os.path.lexists(f"/sys/{name}") for name in ("devices/system", "kernel")])
    say(sorted(os.listdir("/sys/devices")))
    say(os.listdir("/sys/class/power_supply"))
    """
    hidden = ["devices/system", "devices/is_not_there"]
    exists, devices, batteries = played(code, hidden=hidden)
    assert exists == [False, True]
    assert set(devices) == set(names("/sys/devices")) - {"system"} | {"pci00fe:00"}
    assert batteries == []


def test_an_umask_does_not_close_it_to_others(tmp_path):
    before = os.umask(0o077)
    try:
        (modes,) = played(
            """
            say([oct(os.stat(path).st_mode & 0o777) for path in
                 ("/dev", "/dev/pactmeter", "/sys", "/sys/class", "/sys/devices")])
            """
        )
    finally:
        os.umask(before)
    assert modes == ["0o755"] * 5


# --- nothing leaks ------------------------------------------------------------------------------


def test_nothing_is_left_when_the_command_has_ended():
    before = outside()
    played("say(len(os.listdir('/sys/class/hidraw')))", psus=TWO)
    assert outside() == before


def test_nothing_spreads_to_a_namespace_whose_mounts_are_shared():
    code = """
    import ctypes
    from pathlib import Path
    from bench.stage import played
    libc = ctypes.CDLL(None)
    assert libc.unshare(0x20000) == 0
    shared = ctypes.c_ulong(1 << 20 | 0x4000)  # MS_SHARED | MS_REC, as systemd sets it
    assert libc.mount(None, b"/", None, shared, None) == 0
    before = Path("/proc/self/mountinfo").read_text()
    assert " shared:" in before
    assert played("say(len(os.listdir('/sys/class/hidraw')))", psus=["hx1500i"]) == [1]
    print("same" if Path("/proc/self/mountinfo").read_text() == before else "spread")
    """
    assert alone(code) == (0, "same\n")


def test_nothing_is_seen_outside_meanwhile_and_nothing_is_left_by_a_kill():
    before = outside()
    # The server is the only other process of the namespace; it dies with the command.
    code = """
    mine = os.readlink("/proc/self/ns/mnt")
    def same(pid):
        try:
            return os.readlink(f"/proc/{pid}/ns/mnt") == mine
        except OSError:
            return False
    say([int(p) for p in os.listdir("/proc") if p.isdecimal() and same(p)])
    sys.stdin.read()
    """
    with playing(code, psus=TWO) as process:
        assert outside() == before
        pids = json.loads(process.said)
        assert len(pids) == 2
        handles = [os.pidfd_open(pid) for pid in pids]
        process.send_signal(signal.SIGKILL)
        for handle in handles:
            assert select.select([handle], [], [], PATIENCE_S)[0]
            os.close(handle)
    assert outside() == before


def test_two_machines_at_once_do_not_know_of_each_other():
    code = "import hidraw; say([d['serial_number'] for d in hidraw.enumerate()]); sys.stdin.read()"
    others = ["e850,serial=TWO", "hx1500i,serial=THREE"]
    with playing(code, psus=["hx1500i,serial=ONE"]) as one, playing(code, psus=others) as two:
        assert json.loads(one.said) == ["ONE"]
        assert sorted(json.loads(two.said)) == ["THREE", "TWO"]


def test_a_machine_inside_a_machine_shows_its_own_alone():
    code = """
    from bench.stage import played
    inner = "import hidraw; say([d['serial_number'] for d in hidraw.enumerate()])"
    say(played(inner, psus=["hx1500i,serial=INNER"]))
    exec(inner)
    """
    inner, outer = played(code, psus=["e850,serial=OUTER"])
    assert inner == [["INNER"]]
    assert outer == ["OUTER"]


# --- what goes wrong ----------------------------------------------------------------------------


def test_an_ordinary_user_is_told_to_be_root():
    code = """
    import os
    from pactmeter.bench import mounts
    os.setuid(65534)
    mounts.enter_namespace()
    """
    number, said = alone(code)
    assert number != 0
    assert "only root may" in said
    assert "fix: run as root: sudo" in said


def test_root_without_the_right_to_mount_is_told_which_one():
    code = """
    import ctypes, os, sys
    if "again" not in sys.argv:
        assert ctypes.CDLL(None).prctl(24, 21, 0, 0, 0) == 0  # no CAP_SYS_ADMIN after exec
        os.execv(sys.executable, [sys.executable, "-c", os.environ["CODE"], "again"])
    from pactmeter.bench import mounts
    mounts.enter_namespace()
    """
    os.environ["CODE"] = textwrap.dedent(code)
    try:
        number, said = alone(code)
    finally:
        del os.environ["CODE"]
    assert number != 0
    assert "cannot make a mount namespace: Operation not permitted" in said
    assert "--cap-add SYS_ADMIN" in said


@pytest.mark.parametrize(
    ("spoil", "cause", "fix"),
    [
        ("os.unlink('/dev/fuse')", "cannot open /dev/fuse: No such file", "modprobe fuse"),
        (
            "mounts.mount_fuse = lambda *_: fail(OSError(1, 'Operation not permitted'))",
            "cannot mount /dev/pactmeter/fuse: Operation not permitted",
            "--device /dev/fuse",
        ),
    ],
)
def test_without_fuse_the_cause_and_the_fix_are_told(spoil, cause, fix):
    code = f"""
    import os
    from pactmeter.bench import mounts
    def fail(error):
        raise error
    run = mounts.enter_namespace()
    {spoil}
    mounts.mount_tree(run)
    """
    number, said = alone(code)
    assert number != 0
    assert cause in said
    assert fix in said


def test_a_mount_that_is_refused_names_what_and_why():
    code = """
    from pactmeter.bench import mounts
    run = mounts.enter_namespace()
    mounts.show_proc(run)  # nothing is mounted there
    """
    number, said = alone(code)
    assert number != 0
    assert "cannot mount /dev/pactmeter/fuse/proc/cpuinfo on /proc/cpuinfo: No such file" in said
