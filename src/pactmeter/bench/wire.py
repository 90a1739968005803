"""FUSE protocol 7.38, as bytes: the messages that the server needs, and no more."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pactmeter.bench.tree import Entry

LOOKUP, FORGET, GETATTR, SETATTR, READLINK = 1, 2, 3, 4, 5
OPEN, READ, WRITE, STATFS, RELEASE = 14, 15, 16, 17, 18
FSYNC, FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR = 20, 25, 26, 27, 28, 29
ACCESS, INTERRUPT, DESTROY, IOCTL, POLL, BATCH_FORGET = 34, 36, 38, 39, 40, 42

OPEN_DIRECT_IO, OPEN_NONSEEKABLE, OPEN_STREAM, OPEN_NO_FLUSH = 1, 4, 16, 32
POLL_SCHEDULE_NOTIFY = 1
NOTIFY_POLL = 1
SET_MODE, SET_UID, SET_GID = 1, 2, 4

MAJOR, MINOR = 7, 38
MAX_WRITE = 131072
BUFFER_BYTES = MAX_WRITE + 4096
"""Least that the kernel wants to be read at once: headers and the largest write."""

IN_HEADER = struct.Struct("<IIQQIIII")  # length, opcode, unique, node, uid, gid, pid, padding
OUT_HEADER = struct.Struct("<IiQ")  # length, minus the errno, unique
INIT_IN = struct.Struct("<III")  # major, minor, read-ahead
OPEN_IN = struct.Struct("<II")  # flags, unused
OPEN_OUT = struct.Struct("<QII")  # handle, flags, padding
READ_IN = struct.Struct("<QQIIQI")  # handle, offset, size, read flags, lock owner, flags
WRITE_IN = struct.Struct("<QQIIQII")  # handle, offset, size, write flags, lock owner, flags, pad
WRITE_OUT = struct.Struct("<II")  # size, padding
RELEASE_IN = struct.Struct("<Q")  # handle
INTERRUPT_IN = struct.Struct("<Q")  # unique of the request that is to end
IOCTL_IN = struct.Struct("<QIIQII")  # handle, flags, command, argument, sizes in and out
IOCTL_OUT = struct.Struct("<iIII")  # result, flags, counts in and out
POLL_IN = struct.Struct("<QQII")  # handle, kernel's handle, flags, events
POLL_OUT = struct.Struct("<II")  # events, padding
POLL_WAKE = struct.Struct("<IiQQ")  # header of a notification, kernel's handle
SETATTR_IN = struct.Struct("<I64xI4xII")  # what is set, [...], mode, uid, gid

_INIT_OUT = struct.Struct("<IIIIHHIIHHI28x")
_ENTRY = struct.Struct("<QQQQII")  # node, generation, two validities in s and in ns
_ATTRIBUTES = struct.Struct("<QQQQQQIIIIIIIIII")
_ATTRIBUTES_VALIDITY = bytes(16)
_STATFS = struct.Struct("<QQQQQIIII24x")
_DIRENT = struct.Struct("<QQII")
_BLOCK_BYTES = 4096
_NAME_BYTES = 255


def init_reply(major: int, minor: int, read_ahead: int) -> bytes:
    """Return the answer to INIT: no optional feature, so locks stay with the kernel."""
    if major > MAJOR:  # it is to try again with ours
        return _INIT_OUT.pack(MAJOR, MINOR, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    return _INIT_OUT.pack(MAJOR, min(minor, MINOR), read_ahead, 0, 12, 10, MAX_WRITE, 1, 32, 0, 0)


def attributes(entry: Entry) -> bytes:
    """Return the attributes of an entry."""
    links = 0 if entry.removed else 1
    return _ATTRIBUTES.pack(
        *(entry.number, entry.size, 0),
        *(0, 0, 0, 0, 0, 0),  # times, which nobody asks of a device: s, then ns
        *(entry.mode, links, entry.uid, entry.gid, 0, _BLOCK_BYTES, 0),
    )


def attributes_reply(entry: Entry) -> bytes:
    """Return the answer to GETATTR and SETATTR; it is valid for no time at all."""
    return _ATTRIBUTES_VALIDITY + attributes(entry)


def entry_reply(entry: Entry) -> bytes:
    """Return the answer to LOOKUP; it is valid for no time, so that unplugging shows at once."""
    return _ENTRY.pack(entry.number, 0, 0, 0, 0, 0) + attributes(entry)


def directory_reply(entries: Iterable[tuple[str, Entry]], offset: int, size: int) -> bytes:
    """Return the answer to READDIR: as many names as fit.

    Args:
        entries: All that is in the directory.
        offset: How many of them were told before.
        size: Room, in bytes.
    """
    reply = bytearray()
    for index, (name, entry) in enumerate(entries, 1):
        if index <= offset:
            continue
        raw = name.encode()
        one = _DIRENT.pack(entry.number, index, len(raw), entry.mode >> 12) + raw
        one += bytes(-len(one) % 8)
        if len(reply) + len(one) > size:
            break
        reply += one
    return bytes(reply)


def statfs_reply() -> bytes:
    """Return the answer to STATFS: a filesystem that holds nothing, as sysfs."""
    return _STATFS.pack(0, 0, 0, 0, 0, _BLOCK_BYTES, _NAME_BYTES, _BLOCK_BYTES, 0)
