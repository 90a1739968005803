"""The emulated machine's own view of /dev, /sys and /proc, in a private mount namespace.

Nothing is written to a filesystem of the real machine: what is needed lies in the tmpfs that
takes the place of ``/dev``, and goes with the last process of the namespace.

The order: `enter_namespace`, `mount_tree`; start the server; `show_sys`, `show_proc`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pactmeter.bench.fuse import mount_fuse, open_fuse
from pactmeter.bench.sysfs import SUBTREES
from pactmeter.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

RUN = Path("/dev/pactmeter")
"""Where the emulated machine keeps what it is made of, inside its namespace."""

HIDDEN = tuple(
    f"{folder}/{name}"
    for folder in ("devices", "bus/event_source/devices")
    for name in ("power", "power_core")
)
"""What the real machine has in sysfs that would measure it instead: RAPL as perf events."""

ENVIRONMENT = {"SYSTEMD_DEVICE_VERIFY_SYSFS": "0"}
"""Lets libudev from systemd 250 on take a ``/sys`` that is no sysfs."""

_CLONE_NEWNS = 0x00020000
_NOSUID, _BIND, _MOVE, _REC, _PRIVATE = 2, 4096, 8192, 16384, 1 << 18

_NOT_COPIED = re.compile(rf"nvidia.*|hidraw\d+|bus|{RUN.name}")
"""Nodes of real GPUs and USB devices, and those of an emulated machine around this one."""

_ROOT_FIX = 'run as root: sudo env "PATH=$PATH" pactmeter bench run ...'
_CONTAINER_FIX = (
    "run as root of the machine, not of a user namespace; "
    "in a container: --cap-add SYS_ADMIN --device /dev/fuse"
)
_FUSE_FIX = "sudo modprobe fuse; in a container: --device /dev/fuse --cap-add SYS_ADMIN"


def enter_namespace() -> Path:
    """Move this process to a mount namespace of its own, with a ``/dev`` of its own.

    ``/dev`` becomes a tmpfs with the same nodes, links and mounts; hidraw nodes are left out. In
    it links can come and go, which an overlay would not notice: it remembers that there was none.

    Returns:
        The run directory, `RUN`.

    Raises:
        DeviceError: It is not allowed, or a mount fails.
    """
    if os.geteuid() != 0:
        raise DeviceError("the emulated machine mounts filesystems, which only root may", _ROOT_FIX)
    if _libc().unshare(_CLONE_NEWNS):
        number = ctypes.get_errno()
        raise DeviceError(f"cannot make a mount namespace: {os.strerror(number)}", _CONTAINER_FIX)
    # No mount made here may spread to the namespace that this one is a copy of.
    _mount(None, Path("/"), None, _REC | _PRIVATE)
    with usual_modes():
        _replace_dev()
        RUN.mkdir()
    return RUN


def mount_tree(run: Path) -> int:
    """Mount the tree that the server will show, and return the descriptor that it answers on.

    Raises:
        DeviceError: The kernel has no FUSE, or it may not be used.
    """
    try:
        fd = open_fuse()
    except OSError as error:
        raise DeviceError(f"cannot open /dev/fuse: {error.strerror}", _FUSE_FIX) from error
    target = run / "fuse"
    target.mkdir()
    try:
        mount_fuse(fd, target)
    except OSError as error:
        os.close(fd)
        raise DeviceError(f"cannot mount {target}: {error.strerror}", _FUSE_FIX) from error
    return fd


def show_sys(run: Path, hidden: Iterable[str] = HIDDEN) -> None:
    """Show the tree's part of sysfs in ``/sys``, over what the real machine has; all else stays.

    Args:
        run: The run directory; the tree is mounted in it, and its server answers.
        hidden: What is not to be seen of the real sysfs, relative to ``/sys``.

    Raises:
        DeviceError: A mount fails.
    """
    skeleton, new = run / "skeleton", run / "sys"
    with usual_modes():
        for subtree in SUBTREES:
            (skeleton / subtree).mkdir(parents=True)
        for name in hidden:
            if os.path.lexists(f"/sys/{name}"):
                (skeleton / name).parent.mkdir(parents=True, exist_ok=True)
                os.mknod(skeleton / name, stat.S_IFCHR, 0)  # overlayfs: "there is nothing here"
        new.mkdir()
    # A directory cannot be made in sysfs, but it can lie in a layer above it.
    _mount("pactmeter", new, "overlay", 0, f"lowerdir={skeleton}:/sys")
    for point in _mounts_below("/sys"):
        try:
            _mount(point, new / point.removeprefix("/sys/"), None, _BIND | _REC)
        except DeviceError:
            continue  # a mount that lies under another one, which nobody could see before either
    for subtree in SUBTREES:
        _mount(run / "fuse/sys" / subtree, new / subtree, None, _BIND)
    _mount(new, Path("/sys"), None, _MOVE)


def show_proc(run: Path) -> None:
    """Show the tree's processors in ``/proc/cpuinfo``.

    Raises:
        DeviceError: The mount fails.
    """
    _mount(run / "fuse/proc/cpuinfo", Path("/proc/cpuinfo"), None, _BIND)


def inhabitants() -> set[int]:
    """Return the processes of this mount namespace, this one left out."""
    here = Path("/proc/self/ns/mnt").stat().st_ino
    found = set()
    for entry in Path("/proc").iterdir():
        with suppress(OSError):  # it has ended
            if entry.name.isdigit() and (entry / "ns/mnt").stat().st_ino == here:
                found.add(int(entry.name))
    return found - {os.getpid()}


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _mount(
    source: Path | str | None, target: Path, kind: str | None, flags: int, options: str = ""
) -> None:
    """Call mount(2)."""
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind)]
    if _libc().mount(*words, ctypes.c_ulong(flags), options.encode() or None) == 0:
        return
    number = ctypes.get_errno()
    fix = None
    if number in {errno.EPERM, errno.EACCES, errno.EINVAL}:  # EINVAL: overlay over a locked /sys
        fix = _CONTAINER_FIX
    elif number == errno.ENODEV and kind is not None:
        fix = f"sudo modprobe {kind}"
    what = f"{source} on {target}" if source is not None else str(target)
    raise DeviceError(f"cannot mount {what}: {os.strerror(number)}", fix)


@contextmanager
def usual_modes() -> Iterator[None]:
    """Make files that other users can see, whatever the umask."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def _replace_dev() -> None:
    dev = Path("/dev")
    old = os.open(dev, os.O_PATH | os.O_DIRECTORY)
    try:
        entries = [entry for entry in dev.iterdir() if not _NOT_COPIED.fullmatch(entry.name)]
        found = [(entry, entry.lstat()) for entry in entries]
        links = {entry: entry.readlink() for entry, info in found if stat.S_ISLNK(info.st_mode)}
        device = dev.stat().st_dev
        _mount("pactmeter", dev, "tmpfs", _NOSUID, "mode=755")
        for entry, info in found:
            # What lies below the new mount is still reached through the descriptor.
            before = Path(f"/proc/self/fd/{old}/{entry.name}")
            if entry in links:
                entry.symlink_to(links[entry])
            elif stat.S_ISDIR(info.st_mode):
                entry.mkdir()
                _mount(before, entry, None, _BIND | _REC)
            elif info.st_dev != device or not _same_node(entry, info):
                entry.touch()
                _mount(before, entry, None, _BIND)
    finally:
        os.close(old)


def _same_node(path: Path, info: os.stat_result) -> bool:
    """Make a node as the one described; return False where that cannot be."""
    if not (stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode)):
        return False
    try:
        os.mknod(path, info.st_mode, info.st_rdev)
    except PermissionError:
        return False  # in a user namespace, which may still bind the node there is
    os.chown(path, info.st_uid, info.st_gid)
    path.chmod(stat.S_IMODE(info.st_mode))
    return True


def _mounts_below(root: str) -> list[str]:
    """Return the mount points below a directory, without those that lie in one another."""
    found: list[str] = []
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        # Blanks in a path are written as their octal number (proc(5)).
        point = re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), line.split()[4])
        if point.startswith(f"{root}/") and not any(
            point == above or point.startswith(f"{above}/") for above in found
        ):
            found.append(point)
    return found
