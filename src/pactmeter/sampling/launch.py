"""The program's side of the sampler: start it, mark calls, hear its report."""

from __future__ import annotations

import os
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pactmeter
from pactmeter.clock import now_s
from pactmeter.errors import SamplerError, from_dict
from pactmeter.sampling.link import Link

if TYPE_CHECKING:
    import subprocess

    from pactmeter.sampling.link import Message

READY_S = 10.0
EDGE_S = 0.02
REPORT_S = 3.0
_PATIENCE = 5
"""After so many edges that were not answered in time, we stop waiting for answers."""

# Runs in `python -I`: no PYTHONPATH, no user site, no current directory. It imports this very
# package from its own path, and lets what the package needs be found beside it.
_BOOT = """
import importlib.util, os, sys
path, fd = {path!r}, {fd}
spec = importlib.util.spec_from_file_location(
    "pactmeter", os.path.join(path, "__init__.py"), submodule_search_locations=[path])
package = sys.modules["pactmeter"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
sys.path.append(os.path.dirname(path))
from pactmeter.sampling.child import main
main(fd)
"""


class SamplerProcess:
    """A running sampler.

    Attributes:
        ready: What it said when it was ready: file, warnings, channels.
        alive: Whether it still answers; once False it stays so.
    """

    def __init__(self, setup: Message) -> None:
        """Start the sampler and wait until it is ready.

        Raises:
            PactError: It could not start; the error is its own, with cause and fix.
        """
        self._link, theirs = Link.pair()
        self._stderr = os.memfd_create("pactmeter-sampler", os.MFD_CLOEXEC)
        self.alive = True
        self._seq = 0
        self._unanswered = 0
        self._backlog: deque[Message] = deque()
        self.report: Message | None = None
        try:
            self._process = self._spawn(theirs.fileno())
        except OSError as error:
            self._link.close()
            raise SamplerError(f"the sampler process cannot be started: {error}") from error
        finally:
            theirs.close()
        self.ready = self._set_up(setup)

    @property
    def pid(self) -> int:
        """The sampler's process id."""
        return self._process.pid

    def _spawn(self, fd: int) -> subprocess.Popen[bytes]:
        import subprocess

        if not sys.executable:
            raise SamplerError("this Python does not know its own executable (sys.executable)")
        code = _BOOT.format(path=str(Path(pactmeter.__file__).parent), fd=fd)
        return subprocess.Popen(
            [sys.executable, "-I", "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
            pass_fds=(fd,),
            start_new_session=True,  # a terminal's Ctrl-C is for the program
        )

    def _set_up(self, setup: Message) -> Message:
        try:
            self._link.send(setup)
            answer = self._link.receive(READY_S)
        except EOFError:
            answer = {"type": "failed", "message": "the sampler process died while starting"}
        if answer is None:
            answer = {"type": "failed", "message": f"the sampler was not ready in {READY_S:g} s"}
        if answer["type"] == "ready":
            return answer
        self.kill()
        text = self._stderr_text()
        if "error" in answer and not text:
            raise from_dict(answer)
        raise SamplerError(f"{answer['message']}\n{text}".rstrip())

    def enter(self, index: int, name: str, tid: int, *, edge: bool) -> None:
        """Mark the start of a call; with ``edge``, wait for the counters to be read."""
        self._mark("enter", edge, index=index, name=name, tid=tid)

    def leave(self, index: int, *, edge: bool, synced: bool) -> None:
        """Mark the end of a call; with ``edge``, wait for the counters (and 20 ms for devices)."""
        self._mark("leave", edge, index=index, synced=synced)

    def _mark(self, kind: str, edge: bool, **fields: Any) -> None:
        self._seq += 1
        message = {"type": kind, "edge": edge, "seq": self._seq, "time_s": now_s(), **fields}
        if not self._post(message) or not edge or self._unanswered >= _PATIENCE:
            return
        # the opening edge reads counters alone; the closing one may wait as long for devices
        until_s = now_s() + (EDGE_S if kind == "enter" else 2 * EDGE_S)
        answered = self._hear("edge", until_s)
        self._unanswered = 0 if answered else self._unanswered + 1

    def sync(self, timeout_s: float) -> bool:
        """Wait until every call that has ended is whole on disk; return whether it is."""
        self._seq += 1
        if not self._post({"type": "sync", "seq": self._seq}):
            return False
        return self._hear("synced", now_s() + timeout_s)

    def stop(self, reason: str) -> Message | None:
        """Close the run; return the sampler's report, or None if it gave none."""
        if self._post({"type": "stop", "reason": reason}):
            self._hear("report", now_s() + REPORT_S)
        self._link.close()
        self.alive = False
        import subprocess

        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            pass  # it closes the run by itself; a device that hangs holds it up, not us
        os.close(self._stderr)
        return self.report

    def kill(self) -> None:
        """End the process at once (it has not begun to record, or the program gives up on it)."""
        self.alive = False
        self._link.close()
        self._process.kill()
        self._process.wait()

    def disown(self) -> None:
        """Let go of the sampler in a forked child, whose parent goes on with it."""
        self.alive = False
        self._link.close()
        self._process.returncode = 0  # not ours to wait for

    def _post(self, message: Message) -> bool:
        """Send a message, behind those that could not be sent before."""
        if not self.alive:
            return False
        self._backlog.append(message)
        try:
            while self._backlog:
                if not self._link.send(self._backlog[0]):
                    return False
                self._backlog.popleft()
        except EOFError:
            self.alive = False
            return False
        return True

    def _hear(self, kind: str, until_s: float) -> bool:
        """Wait for the answer to the last message; late answers to others are passed over."""
        while self.alive:
            try:
                message = self._link.receive(until_s - now_s())
            except EOFError:
                self.alive = False
                return False
            if message is None:
                return False
            if message["type"] == kind == "report":
                self.report = message
                return True
            if message["type"] == kind and message["seq"] == self._seq:
                return True
        return False

    def _stderr_text(self) -> str:
        size = os.fstat(self._stderr).st_size
        return os.pread(self._stderr, min(size, 20000), 0).decode(errors="replace").strip()
