"""A kernel without perf events for one program: ``python refuse_perf.py ERROR command...``.

A seccomp filter answers perf_event_open with the error named (EACCES: as where it is forbidden;
ENOENT: as where no PMU counts the event). It needs no rights, and holds for root too.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

_NUMBERS = {"x86_64": 298, "aarch64": 241}
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER = 38, 22, 2
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ERROR, _ALLOW = 0x00050000, 0x7FFF0000


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def launcher(error):
    """Return the words before a command that make the kernel refuse it perf events."""
    return (sys.executable, __file__, errno.errorcode[error])


def refuse(error):
    """Refuse perf events to this process and all it starts, for good."""
    steps = (
        (_LOAD, 0, 0, 0),  # the system call's number
        (_JUMP_EQUAL, 0, 1, _NUMBERS[platform.machine()]),
        (_RETURN, 0, 0, _ERROR | error),
        (_RETURN, 0, 0, _ALLOW),
    )
    program = _Program(len(steps), b"".join(struct.pack("=HBBI", *step) for step in steps))
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges = libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if no_new_privileges or libc.prctl(_PR_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "no seccomp filter")


if __name__ == "__main__":
    refuse(getattr(errno, sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
