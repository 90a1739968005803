"""Measure any command: pactmeter run [options] -- command args...

The command's exit code is ours, and signals sent to us go on to it. A summary follows on standard
error.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pactmeter.analysis.run import load
from pactmeter.analysis.summary import summarize
from pactmeter.cli.options import add_measuring, measuring_arguments
from pactmeter.cli.status import StatusLine, tell
from pactmeter.config.run import from_arguments
from pactmeter.counters.unseen import unseen
from pactmeter.errors import ConfigError, PactError
from pactmeter.report.screen import Screen
from pactmeter.report.text import render
from pactmeter.session.run import Run, say

if TYPE_CHECKING:
    from typing import Any

NAME = "run"
HELP = "measure a command"
_PASSED_ON = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


def prepare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_measuring(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="no summary at the end")
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="-- command ...")


def run(args: argparse.Namespace) -> int:
    """Run the command, measured; return its exit code (128 + n where a signal ended it)."""
    words = args.words[1:] if args.words[:1] == ["--"] else args.words
    if not words:
        raise ConfigError("no command is named", "pactmeter run -- python train.py")
    config = from_arguments(**measuring_arguments(args)).resolved()  # type: ignore[arg-type]
    if shutil.which(words[0]) is None:
        found = Path(words[0]).exists()
        tell(f"{words[0]}: {'not executable' if found else 'command not found'}")
        return 126 if found else 127
    # where we were started with SIGCHLD ignored, a child's end would go unseen
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # blocked from here on, so that none is lost between the start and the wait
    watched = {*_PASSED_ON, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    gate_read, gate_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(words, gate_read, gate_write, before)
    os.close(gate_read)
    lost = unseen(words[0], uid=os.getuid(), gid=os.getgid()) if config.scope == "tree" else None
    notes = [lost] if lost else []
    measured = Run(config, target_pid=pid, command=words, notes=notes, tell=tell)
    try:
        call = measured.enter()
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(gate_write)
        raise
    os.write(gate_write, os.fsencode(measured.files.power))
    os.close(gate_write)
    code = _wait(pid, watched, StatusLine(measured.files))
    measured.leave(call)
    os.waitpid(pid, 0)  # not before its last counts are read: /proc holds them until then
    report = measured.close("the command ended")
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if not args.quiet:
        _summary(measured, report)
    return code


def _become(words: list[str], gate_read: int, gate_write: int, mask: set[Any]) -> None:
    """In the forked child: wait until counters are open, then be the command."""
    os.close(gate_write)
    file = os.read(gate_read, 65536)  # of the run, or nothing where it could not start
    if not file:
        os._exit(1)
    environment = {**os.environb, b"PACTMETER_RUN": file}
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, the command must not
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    try:
        os.execvpe(words[0], words, environment)  # noqa: S606  what the user typed
    except OSError as error:
        os.write(2, f"pactmeter: {words[0]}: {error.strerror}\n".encode())
    os._exit(126)


def _wait(pid: int, watched: set[signal.Signals], status: StatusLine) -> int:
    """Wait for the command, pass signals on, show the status line; return the exit code."""
    while True:
        info = signal.sigtimedwait(watched, status.period_s)
        status.show()
        if info is not None and info.si_signo != signal.SIGCHLD:
            # a terminal sends Ctrl-C to the whole foreground group (si_pid 0): the command has it
            if info.si_pid != 0:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, info.si_signo)
            continue
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is not None:
            status.clear()
            return ended.si_status + (0 if ended.si_code == os.CLD_EXITED else 128)


def _summary(measured: Run, report: dict[str, Any] | None) -> None:
    for text in (report or {}).get("warnings", ()):
        tell(text)
    try:
        recorded = load(measured.files.power)
        summary = summarize(recorded, with_regions=False)
        say(render(recorded, summary, screen=Screen.of(sys.stderr)))
    except PactError as error:
        tell(f"no summary: {error}")
