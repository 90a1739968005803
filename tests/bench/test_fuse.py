"""The FUSE server under a real kernel, whose client is this process."""

import contextlib
import errno
import os
import stat
import subprocess
from pathlib import Path

import pytest

from bench.fuse_mount import serving
from pactmeter.bench.tree import Tree
from support.rights import ordinary_user

pytestmark = pytest.mark.root


@pytest.fixture
def server(tmp_path):
    with serving(tmp_path) as made:
        yield made


@contextlib.contextmanager
def opened(path, flags=os.O_RDONLY, **options):
    fd = os.open(path, flags, **options)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def failing(number):
    with pytest.raises(OSError) as raised:
        yield
    assert errno.errorcode[raised.value.errno] == errno.errorcode[number]


def names(folder):
    return sorted(each.name for each in folder.iterdir())


def test_a_tree_is_shown_as_it_was_made(server):
    server.do("tree.add_dir('sys/class/empty')")
    server.do("tree.add_text('sys/class/power/name', 'package-0\\n')")
    server.do("tree.add_text('sys/descriptor', bytes([6, 0, 255]))")
    server.do("tree.add_link('sys/link', 'class/power')")

    assert names(server.root) == ["dev", "sys"]
    assert names(server.root / "sys") == ["class", "descriptor", "link"]
    assert names(server.root / "sys/class/empty") == []
    assert str((server.root / "sys/link").readlink()) == "class/power"
    assert (server.root / "sys/link/name").read_text() == "package-0\n"
    assert (server.root / "sys/descriptor").read_bytes() == b"\x06\x00\xff"
    assert not (server.root / "sys/class/nonsense").exists()


def test_entries_have_the_types_modes_and_sizes_of_sysfs(server):
    server.do("tree.add_text('energy_uj', '1', 0o400)")
    server.do("tree.add_link('link', 'energy_uj')")

    attribute, node = (server.root / "energy_uj").stat(), (server.root / "dev/hidraw3").stat()
    kinds = {each.name: each.is_dir(follow_symlinks=False) for each in os.scandir(server.root)}

    assert (stat.filemode(attribute.st_mode), attribute.st_size) == ("-r--------", 4096)
    assert (stat.filemode(node.st_mode), node.st_size) == ("-rw-------", 0)
    assert (server.root / "link").lstat().st_size == len("energy_uj")
    assert kinds == {"energy_uj": False, "link": False, "dev": True}
    assert (attribute.st_uid, attribute.st_gid) == (0, 0)


def test_a_directory_of_many_names_is_listed_whole_and_once(server):
    server.do("[tree.add_text(f'many/a_rather_long_name_{i}', '') for i in range(1000)] and None")

    assert names(server.root / "many") == sorted(f"a_rather_long_name_{i}" for i in range(1000))


def test_an_attribute_is_made_anew_at_each_read_from_its_beginning(server):
    server.do("tree.add_text('ticks', lambda: f'{next(ticks):04d}\\n')")

    with opened(server.root / "ticks") as one, opened(server.root / "ticks") as other:
        first = os.pread(one, 2, 0)
        second = os.pread(other, 100, 0)
        rest = os.pread(one, 100, 2)  # of what this opener saw
        third = os.pread(one, 100, 0)

    assert (first + rest, second, third) == (b"0000\n", b"0001\n", b"0002\n")
    assert (server.root / "ticks").read_text() == "0003\n"  # two reads, of which one says: end


def test_the_error_of_a_callable_is_that_of_the_read(server):
    server.do("tree.add_text('energy_uj', lambda: fail(5))")
    server.do("tree.add_text('power1_input', lambda: fail(110))")

    with opened(server.root / "energy_uj") as fd, failing(errno.EIO):
        os.read(fd, 100)
    with failing(errno.ETIMEDOUT):
        (server.root / "power1_input").read_text()


def test_a_path_that_cannot_be_is_refused():
    tree = Tree()
    tree.add_text("name", "x")
    for change in (lambda: tree.remove("nonsense"), lambda: tree.set_mode("name/below", 0o444)):
        with pytest.raises(FileNotFoundError):
            change()
    with pytest.raises(NotADirectoryError):
        tree.add_text("name/below", "x")
    with pytest.raises(FileNotFoundError):
        tree.add_dir("sys/")
    assert tree.exists("name")
    assert not tree.exists("name/below")


def test_what_is_added_again_takes_the_place_of_what_was_there(server):
    server.do("tree.add_text('hwmon/name', 'old')")
    with opened(server.root / "hwmon/name") as fd:
        server.do("tree.add_dir('hwmon')")  # is there, and stays
        server.do("tree.add_text('hwmon/name', 'new')")

        assert (server.root / "hwmon/name").read_text() == "new"
        with failing(errno.ENODEV):
            os.read(fd, 10)


def test_what_is_removed_is_gone_at_once_even_for_who_has_it_open(server):
    server.do("tree.add_text('zone/energy_uj', '1')")
    with opened(server.root / "zone/energy_uj") as fd:
        assert os.read(fd, 100) == b"1"

        server.do("tree.remove('zone')")

        assert names(server.root) == ["dev"]
        with failing(errno.ENOENT):
            os.open(server.root / "zone/energy_uj", os.O_RDONLY)
        with failing(errno.ENODEV):
            os.pread(fd, 100, 0)
        assert os.fstat(fd).st_nlink == 0

    server.do("tree.add_text('zone/energy_uj', '2')")
    assert (server.root / "zone/energy_uj").read_text() == "2"


def test_modes_hold_for_those_who_are_not_root(server):
    server.do("tree.add_text('energy_uj', '1', 0o400)")
    # What is below /proc/<pid> is for root alone, so the folder is opened before.
    with opened(server.root, os.O_PATH) as folder:
        with ordinary_user(), failing(errno.EACCES):
            os.open("energy_uj", os.O_RDONLY, dir_fd=folder)

        server.do("tree.set_mode('energy_uj', 0o444)")

        with ordinary_user(), opened("energy_uj", dir_fd=folder) as fd:
            assert os.read(fd, 10) == b"1"
            with failing(errno.EPERM):
                os.fchmod(fd, 0o666)


def test_root_changes_modes_and_owners_as_in_sysfs(server):
    server.do("tree.add_text('energy_uj', '1', 0o400)")

    with opened(server.root / "energy_uj") as fd:
        assert os.fstat(fd).st_mode & 0o7777 == 0o400
        server.do("tree.set_mode('energy_uj', 0o444)")
        assert os.fstat(fd).st_mode & 0o7777 == 0o444  # at once: nothing is remembered
    (server.root / "energy_uj").chmod(0o440)
    os.chown(server.root / "energy_uj", 0, 65534)

    found = (server.root / "energy_uj").stat()
    assert (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (0o440, 0, 65534)


def test_what_nobody_may_read_or_write_root_may_not_either(server):
    server.do("tree.add_text('closed', '1', 0)")
    server.do("tree.add_text('readable', '1', 0o444)")
    server.do("tree.add_text('enabled', '1', 0o644)")

    with failing(errno.EACCES):
        os.open(server.root / "closed", os.O_RDONLY)
    with failing(errno.EACCES):
        os.open(server.root / "readable", os.O_WRONLY)
    with opened(server.root / "enabled", os.O_RDWR | os.O_TRUNC) as fd, failing(errno.EACCES):
        os.write(fd, b"0")


def test_what_is_not_served_is_refused_and_does_no_harm(server):
    with failing(errno.ENOSYS):
        (server.root / "new").mkdir()
    with failing(errno.EOPNOTSUPP):
        os.getxattr(server.root / "dev", "user.x")
    assert os.statvfs(server.root).f_bsize == 4096
    with opened(server.root / "dev/hidraw3") as fd, failing(errno.ESPIPE):
        os.lseek(fd, 0, os.SEEK_SET)
    assert names(server.root) == ["dev"]


def test_an_answer_that_nobody_waits_for_is_no_error(server):
    server.do("fuse._fail(1 << 40, 5)")

    assert names(server.root) == ["dev"]


def test_nothing_is_mounted_where_others_look(server):
    server.do("tree.add_text('name', 'x')")
    assert (server.root / "name").read_text() == "x"

    assert names(server.target) == []
    assert str(server.target) not in Path("/proc/self/mounts").read_text()
    assert str(server.target) in Path(f"/proc/{server.process.pid}/mounts").read_text()


def test_a_server_that_is_killed_leaves_nothing_and_keeps_nobody(server):
    server.do("tree.add_text('name', 'x')")
    with opened(server.root / "name") as fd, opened(server.root / "dev/hidraw3") as node:
        server.process.kill()
        with pytest.raises(OSError, match=r"abort|not connected"):
            os.read(node, 64)  # it may have been waiting when the server died
        server.process.wait()

        with failing(errno.ENOTCONN):
            os.pread(fd, 10, 0)

    assert names(server.target) == []
    assert str(server.target) not in Path("/proc/self/mounts").read_text()
    server.target.rmdir()


def test_the_loop_ends_when_all_is_unmounted(server):
    subprocess.run(
        ["nsenter", "-t", str(server.process.pid), "-m", "umount", "-l", server.target], check=True
    )

    assert server.process.wait(10) == 0
