"""The FUSE server: answers the kernel's requests about a tree of files and device nodes."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from typing import TYPE_CHECKING

from pactmeter.bench import wire
from pactmeter.bench.hidraw import POLLIN, POLLOUT, Opener
from pactmeter.bench.tree import Attribute, Directory, Entry, Link, NodeFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from pactmeter.bench.hidraw import Answer
    from pactmeter.bench.loop import Loop
    from pactmeter.bench.tree import Tree

_MS_NOSUID, _MS_NODEV = 2, 4
_BODY = wire.IN_HEADER.size
_ATTRIBUTE_FLAGS = wire.OPEN_DIRECT_IO | wire.OPEN_NO_FLUSH
_NODE_FLAGS = wire.OPEN_DIRECT_IO | wire.OPEN_NONSEEKABLE | wire.OPEN_STREAM | wire.OPEN_NO_FLUSH


def open_fuse() -> int:
    """Return a new descriptor of ``/dev/fuse``, for `mount_fuse` and `FuseServer`.

    Raises:
        OSError: There is none, or it may not be opened.
    """
    return os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


def mount_fuse(fd: int, target: str | os.PathLike[str]) -> None:
    """Mount a filesystem whose server will answer on a descriptor.

    Nothing below the target may be touched by the server's own process: it would wait for itself.

    Raises:
        OSError: mount(2) failed.
    """
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions"
    libc = ctypes.CDLL(None, use_errno=True)
    words = (b"pactmeter-bench", os.fsencode(target), b"fuse")
    if libc.mount(*words, ctypes.c_ulong(_MS_NOSUID | _MS_NODEV), options.encode()) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), os.fspath(target))


class _OpenAttribute:
    """An open attribute, with the text of its last read from the beginning."""

    __slots__ = ("_attribute", "_text")

    def __init__(self, attribute: Attribute) -> None:
        self._attribute = attribute
        self._text: bytes | None = None

    def read(self, offset: int, size: int) -> bytes:
        if self._attribute.removed:
            raise OSError(errno.ENODEV, "removed")
        if offset == 0 or self._text is None:
            self._text = self._attribute.value()
        return self._text[offset : offset + size]


class _OpenDirectory:
    """An open directory, with the names of its last read from the beginning."""

    __slots__ = ("_directory", "_names")

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._names: list[tuple[str, Entry]] = []

    def read(self, offset: int, size: int) -> bytes:
        if offset == 0:
            self._names = list(self._directory.children.items())
        return wire.directory_reply(self._names, offset, size)


class FuseServer:
    """Answers the requests of one mounted filesystem, one at a time, from the loop.

    What an attribute's callable raises besides OSError is a mistake and ends the loop: it shall
    be seen. When the filesystem is unmounted, the loop stops.

    Args:
        fd: Descriptor of ``/dev/fuse`` that was mounted.
        tree: What is shown.
        loop: Where the descriptor is waited for.
    """

    def __init__(self, fd: int, tree: Tree, loop: Loop) -> None:
        self._fd = fd
        self._tree = tree
        self._loop = loop
        self._buffer = bytearray(wire.BUFFER_BYTES)
        self._opened: dict[int, _OpenAttribute | _OpenDirectory | Opener] = {}
        self._last_handle = 0
        self._parked: dict[int, Opener] = {}
        self._handlers: dict[int, Callable[[int, int, int], bytes | None]] = {
            wire.INIT: self._init,
            wire.LOOKUP: self._lookup,
            wire.GETATTR: self._getattr,
            wire.SETATTR: self._setattr,
            wire.READLINK: self._readlink,
            wire.OPEN: self._open,
            wire.OPENDIR: self._opendir,
            wire.READ: self._read,
            wire.READDIR: self._readdir,
            wire.WRITE: self._write,
            wire.IOCTL: self._ioctl,
            wire.POLL: self._poll,
            wire.INTERRUPT: self._interrupt,
            wire.RELEASE: self._release,
            wire.RELEASEDIR: self._release,
            wire.STATFS: lambda *_: wire.statfs_reply(),
            wire.FORGET: lambda *_: None,  # inode numbers are not used again
            wire.BATCH_FORGET: lambda *_: None,
            **dict.fromkeys((wire.FLUSH, wire.FSYNC, wire.ACCESS, wire.DESTROY), lambda *_: b""),
        }
        loop.add_reader(fd, self.serve_one)

    def serve_one(self) -> None:
        """Answer one request, if there is one."""
        try:
            length = os.readv(self._fd, (self._buffer,))
        except OSError as error:
            if error.errno in {errno.ENODEV, errno.ECONNABORTED}:
                self._loop.remove_reader(self._fd)
                self._loop.stop()
            elif error.errno not in {errno.EAGAIN, errno.EINTR, errno.ENOENT}:
                raise
            return
        _, opcode, unique, number, _, _, _, _ = wire.IN_HEADER.unpack_from(self._buffer)
        handler = self._handlers.get(opcode)
        if handler is None:
            self._fail(unique, errno.ENOSYS)
            return
        try:
            reply = handler(unique, number, length)
        except OSError as error:
            self._fail(unique, error.errno or errno.EIO)
            return
        if reply is not None:
            self._reply(unique, reply)

    def _reply(self, unique: int, body: bytes) -> None:
        self._send(wire.OUT_HEADER.pack(16 + len(body), 0, unique) + body)

    def _fail(self, unique: int, number: int) -> None:
        self._send(wire.OUT_HEADER.pack(16, -number, unique))

    def _send(self, message: bytes) -> None:
        try:
            os.write(self._fd, message)
        except OSError as error:
            # Nobody waits for it any more: the request was interrupted, or all is unmounted.
            if error.errno not in {errno.ENOENT, errno.ENODEV}:
                raise

    def _entry(self, number: int) -> Entry:
        entry = self._tree.entry(number)
        if entry is None:
            raise FileNotFoundError(errno.ENOENT, "no such inode")
        return entry

    def _handle(self, opened: _OpenAttribute | _OpenDirectory | Opener) -> int:
        self._last_handle += 1
        self._opened[self._last_handle] = opened
        return self._last_handle

    # Handlers: what is asked, the inode it is about, the request's length -> the answer's body,
    # or None where there is none (yet).

    def _init(self, _unique: int, _number: int, _length: int) -> bytes:
        return wire.init_reply(*wire.INIT_IN.unpack_from(self._buffer, _BODY))

    def _lookup(self, _unique: int, number: int, length: int) -> bytes:
        directory = self._entry(number)
        name = os.fsdecode(bytes(self._buffer[_BODY : length - 1]))  # less the NUL
        if not isinstance(directory, Directory) or name not in directory.children:
            raise FileNotFoundError(errno.ENOENT, "no such name")
        return wire.entry_reply(directory.children[name])

    def _getattr(self, _unique: int, number: int, _length: int) -> bytes:
        return wire.attributes_reply(self._entry(number))

    def _setattr(self, _unique: int, number: int, _length: int) -> bytes:
        """Take mode and owner, as sysfs does; what O_TRUNC wants is nothing here."""
        entry = self._entry(number)
        what, mode, uid, gid = wire.SETATTR_IN.unpack_from(self._buffer, _BODY)
        if what & wire.SET_MODE:
            entry.mode = stat.S_IFMT(entry.mode) | stat.S_IMODE(mode)
        if what & wire.SET_UID:
            entry.uid = uid
        if what & wire.SET_GID:
            entry.gid = gid
        return wire.attributes_reply(entry)

    def _readlink(self, _unique: int, number: int, _length: int) -> bytes:
        entry = self._entry(number)
        if not isinstance(entry, Link):
            raise OSError(errno.EINVAL, "no link")
        return entry.target

    def _open(self, _unique: int, number: int, _length: int) -> bytes:
        entry = self._entry(number)
        flags, _ = wire.OPEN_IN.unpack_from(self._buffer, _BODY)
        if isinstance(entry, NodeFile):
            handle = self._handle(entry.node.open(self._answer, self._wake))
            return wire.OPEN_OUT.pack(handle, _NODE_FLAGS, 0)
        if not isinstance(entry, Attribute) or entry.removed:
            raise OSError(errno.ENODEV, "removed")
        # As sysfs: what nobody may read or write, root may not either.
        access = flags & os.O_ACCMODE
        if (access != os.O_RDONLY and not entry.mode & 0o222) or (
            access != os.O_WRONLY and not entry.mode & 0o444
        ):
            raise PermissionError(errno.EACCES, "not even root")
        return wire.OPEN_OUT.pack(self._handle(_OpenAttribute(entry)), _ATTRIBUTE_FLAGS, 0)

    def _opendir(self, _unique: int, number: int, _length: int) -> bytes:
        entry = self._entry(number)
        if not isinstance(entry, Directory):
            raise NotADirectoryError(errno.ENOTDIR, "no directory")
        return wire.OPEN_OUT.pack(self._handle(_OpenDirectory(entry)), 0, 0)

    def _read(self, unique: int, _number: int, _length: int) -> bytes | None:
        handle, offset, size, _, _, flags = wire.READ_IN.unpack_from(self._buffer, _BODY)
        opened = self._opened[handle]
        if not isinstance(opened, Opener):
            return opened.read(offset, size)
        report = opened.read(unique, size, nonblocking=bool(flags & os.O_NONBLOCK))
        if report is None:
            self._parked[unique] = opened
        return report

    _readdir = _read

    def _write(self, _unique: int, number: int, _length: int) -> bytes:
        _, _, size, _, _, _, _ = wire.WRITE_IN.unpack_from(self._buffer, _BODY)
        entry = self._entry(number)
        if not isinstance(entry, NodeFile):
            raise PermissionError(errno.EACCES, "not writable")
        start = _BODY + wire.WRITE_IN.size
        written = entry.node.write(bytes(self._buffer[start : start + size]))
        return wire.WRITE_OUT.pack(written, 0)

    def _ioctl(self, _unique: int, number: int, _length: int) -> bytes:
        _, _, command, _, _, size = wire.IOCTL_IN.unpack_from(self._buffer, _BODY)
        entry = self._entry(number)
        if not isinstance(entry, NodeFile):
            raise OSError(errno.ENOTTY, "no device")
        result, data = entry.node.ioctl(command, size)
        return wire.IOCTL_OUT.pack(result, 0, 0, 0) + data

    def _poll(self, _unique: int, _number: int, _length: int) -> bytes:
        handle, watch, flags, _ = wire.POLL_IN.unpack_from(self._buffer, _BODY)
        opened = self._opened[handle]
        events = POLLIN | POLLOUT
        if isinstance(opened, Opener):
            events = opened.poll(watch if flags & wire.POLL_SCHEDULE_NOTIFY else None)
        return wire.POLL_OUT.pack(events, 0)

    def _interrupt(self, _unique: int, _number: int, _length: int) -> None:
        (unique,) = wire.INTERRUPT_IN.unpack_from(self._buffer, _BODY)
        opener = self._parked.get(unique)
        if opener is not None:
            opener.interrupt(unique)

    def _release(self, _unique: int, _number: int, _length: int) -> bytes:
        (handle,) = wire.RELEASE_IN.unpack_from(self._buffer, _BODY)
        opened = self._opened.pop(handle)
        if isinstance(opened, Opener):
            opened.close()
        return b""

    def _answer(self, unique: int, answer: Answer) -> None:
        """Answer a read that was parked."""
        self._parked.pop(unique, None)
        if isinstance(answer, int):
            self._fail(unique, answer)
        else:
            self._reply(unique, answer)

    def _wake(self, watch: int) -> None:
        """Tell the kernel to poll a file again."""
        self._send(wire.POLL_WAKE.pack(wire.POLL_WAKE.size, wire.NOTIFY_POLL, 0, watch))
