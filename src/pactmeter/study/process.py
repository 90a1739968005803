"""Programs that a study starts: each in a session of its own, none left behind.

A program is written down before it begins: it waits at a gate, which opens when its process, the
time that this one started, and its mark are on the disk. If the runner is killed first, the gate
breaks and the program never begins; if later, the next runner finds all that is left of it. The
mark stands in the environment, so that those who left the session carry it too (the sampler does),
and no process that was given a recycled number is ever taken for it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pactmeter.clock import now_s
from pactmeter.errors import PactError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

MARK = "PACTMETER_TRIAL"
_PROC = Path("/proc")
_LOOK_S = 0.02
_KILL_S = 10.0
"""How long a killed process may take to go: longer means that the kernel holds it."""


class Stopped(Exception):  # noqa: N818  no error: somebody wants us to end
    """A signal asks the runner to end.

    Attributes:
        signal: Its number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.signal = number


@dataclass(frozen=True, slots=True)
class Program:
    """A program that was started.

    Attributes:
        pid: Its process, which leads its session and group.
        start_ticks: When that process started, in clock ticks since boot (proc(5), field 22).
        boot_id: The boot that this is counted from.
        mark: What its processes carry in their environment.
    """

    pid: int
    start_ticks: int
    boot_id: str
    mark: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "pid": self.pid,
            "start_ticks": self.start_ticks,
            "boot_id": self.boot_id,
            "mark": self.mark,
        }


@contextlib.contextmanager
def watching() -> Iterator[None]:
    """Take signals to end only where `pause` waits, so that nothing is left half done.

    What is ignored from the start (SIGHUP under nohup) stays so.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, a child's end would go unseen
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*_ending(), signal.SIGCHLD})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ending() -> set[signal.Signals]:
    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return {number for number in wanted if signal.getsignal(number) is not signal.SIG_IGN}


def pause(seconds_s: float | None, pid: int | None = None) -> bool:
    """Wait so long, or until a child ends; return whether it has ended (it is not reaped).

    Args:
        seconds_s: How long; None: as long as it takes.
        pid: The child.

    Raises:
        Stopped: A signal came that asks for the end.
    """
    watched = {*_ending(), signal.SIGCHLD}
    until_s = None if seconds_s is None else now_s() + seconds_s
    while True:
        if pid is not None and _has_ended(pid):
            return True
        left_s = 3600.0 if until_s is None else until_s - now_s()
        if left_s <= 0:
            return False
        info = signal.sigtimedwait(watched, left_s)
        if info is not None and info.si_signo != signal.SIGCHLD:
            raise Stopped(info.si_signo)


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def start(
    command: Sequence[str],
    *,
    folder: Path,
    output: Path,
    environment: Mapping[str, str],
    mark: str,
    record: Callable[[Program], None],
) -> Program:
    """Start a program in a session of its own, once it is written down.

    Args:
        command: Its words.
        folder: Its working directory.
        output: File for its standard output and standard error.
        environment: Its environment; the mark is added.
        mark: Its mark, which no other program has.
        record: Writes it down; the program begins when this returns.
    """
    gate_read, gate_write = os.pipe()
    target = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ()) - {*_ending(), signal.SIGCHLD}
    try:
        pid = os.fork()
        if pid == 0:
            os.close(gate_write)
            variables = {**environment, MARK: mark}
            _become(command, gate_read, target, folder=folder, environment=variables, mask=mask)
        stat = _stat(pid)  # the child is there until it is waited for
        program = Program(pid, stat.start_ticks if stat else 0, boot_id(), mark)
        record(program)
        os.write(gate_write, b"!")
    finally:
        for fd in (gate_read, gate_write, target):
            os.close(fd)
    return program


def _become(
    command: Sequence[str],
    gate: int,
    output: int,
    *,
    folder: Path,
    environment: Mapping[str, str],
    mask: set[Any],
) -> NoReturn:
    """In the forked child: wait at the gate, then be the program."""
    try:
        os.setsid()
        if not os.read(gate, 1):  # the runner is gone
            os._exit(125)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, place in ((null, 0), (output, 1), (output, 2)):
            os.dup2(source, place)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, a program must not
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.chdir(folder)
        os.execvpe(command[0], list(command), dict(environment))  # noqa: S606  the study's own
    except OSError as error:
        os.write(2, f"pactmeter: {command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def end(program: Program, grace_s: float) -> None:
    """Ask the whole session to end, and after some time make it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGTERM)
    with contextlib.suppress(Stopped):  # asked again: no more patience
        if pause(grace_s, program.pid):
            return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)
    _await_end(program.pid)


def _await_end(pid: int) -> None:
    until_s = now_s() + _KILL_S
    while not _has_ended(pid):
        if now_s() > until_s:
            raise PactError(f"process {pid} was killed and does not go", f"cat /proc/{pid}/stack")
        time.sleep(_LOOK_S)


def reap(program: Program) -> int:
    """Return the exit code of a program that has ended; -n where signal n ended it."""
    _, status = os.waitpid(program.pid, 0)
    return os.waitstatus_to_exitcode(status)


def clear(program: Program, grace_s: float = 0.0) -> int:
    """Kill what is left of a program, if it does not go by itself; return how many that were.

    Raises:
        PactError: One of them does not go.
    """
    if program.boot_id != boot_id():
        return 0
    until_s = now_s() + grace_s
    while (left := remains(program)) and now_s() < until_s:
        time.sleep(_LOOK_S)
    killed: set[int] = set()
    until_s = now_s() + _KILL_S
    while left:
        if now_s() > until_s:
            raise PactError(
                f"process {min(left)} of an earlier trial was killed and does not go",
                f"see why: cat /proc/{min(left)}/stack",
            )
        # those that show whose session it is go last: without them the others are not known
        for pid in _unmarked(left, program) or left:
            killed.add(pid)
            _kill(pid, program)
        time.sleep(_LOOK_S)
        left = remains(program)
    return len(killed)


def remains(program: Program) -> set[int]:
    """Return the processes of a program that still run, itself included.

    They are those that carry its mark, and all of its session as long as one of these, or the
    leader that was recorded, shows that the session is still that one.
    """
    stats = {pid: stat for pid in _pids() if (stat := _stat(pid)) is not None}
    leader = stats.get(program.pid)
    is_same = leader is not None and leader.start_ticks == program.start_ticks
    marked = {pid for pid in stats if _carries(pid, program.mark)}
    session_is_ours = is_same or any(stats[pid].session == program.pid for pid in marked)
    found = marked | ({program.pid} if is_same else set())  # it may have no session yet
    found |= {pid for pid, stat in stats.items() if session_is_ours and stat.session == program.pid}
    return {pid for pid in found if stats[pid].state not in "ZX"} - {os.getpid()}


def _unmarked(pids: set[int], program: Program) -> set[int]:
    """Return those that are known by their session alone."""
    return {pid for pid in pids if pid != program.pid and not _carries(pid, program.mark)}


def _kill(pid: int, program: Program) -> None:
    """Kill a process that is surely still the one that was found."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if pid in remains(program):  # the number is held from here on
            signal.pidfd_send_signal(fd, signal.SIGKILL)
    except OSError:  # it has gone, or is not ours to kill: told by who waits for it to go
        pass
    finally:
        os.close(fd)


@dataclass(frozen=True, slots=True)
class _Stat:
    state: str
    session: int
    start_ticks: int


def _stat(pid: int) -> _Stat | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    words = text.rpartition(")")[2].split()
    return _Stat(words[0], int(words[3]), int(words[19]))


def _pids() -> list[int]:
    return [int(entry.name) for entry in os.scandir(_PROC) if entry.name.isdigit()]


def _carries(pid: int, mark: str) -> bool:
    try:
        environment = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    return f"{MARK}={mark}".encode() in environment.split(b"\0")


def boot_id() -> str:
    """Return what tells this boot from every other; empty where the kernel does not say."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return ""
