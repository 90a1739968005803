"""The program's side of the sampler: start it, mark calls, hear its report."""

from __future__ import annotations

import math
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
    from pactmeter.sampling.link import Message

READY_S = 10.0
EDGE_S = 0.02
_BACKLOG_S = 1.0
"""How long the end of a call waits, in all, for a sampler that takes no more messages: one that
does not hear of the end would go on with the call until something else is told."""
REPORT_S = 3.0
_PATIENCE = 5
"""After so many edges that were not answered in time, we wait for none until one is answered."""
_MOST_AT_ONCE = 200
_MOST_WAITING = 10_000
"""Messages kept for a sampler that does not take them; marks of nested calls beyond are dropped."""

# Runs in `python -I`: no PYTHONPATH, no user site, no current directory. It imports this very
# package from its own path, and lets what the package needs be found beside it.
_BOOT = """
import os
if os.fork():  # so that the sampler is no child of the program, which may wait for its children
    os._exit(0)
import importlib.util, sys
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
        self.alive = True
        self.report: Message | None = None
        self._seq = 0
        self._unanswered = 0
        self._waiting: deque[Message] = deque()
        self._sending = False
        self._dropped: set[int] = set()
        try:
            self._link, theirs = Link.pair()
            self._stderr = os.memfd_create("pactmeter-sampler", os.MFD_CLOEXEC)
            try:
                self._spawn(theirs.fileno())
            finally:
                theirs.close()
        except OSError as error:
            raise SamplerError(f"the sampler process cannot be started: {error}") from error
        self.ready = self._set_up(setup)

    @property
    def pid(self) -> int:
        """The sampler's process id."""
        return int(self.ready["pid"])

    def _spawn(self, fd: int) -> None:
        import subprocess

        if not sys.executable:
            raise SamplerError("this Python does not know its own executable (sys.executable)")
        code = _BOOT.format(path=str(Path(pactmeter.__file__).parent), fd=fd)
        starter = subprocess.Popen(
            [sys.executable, "-I", "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
            pass_fds=(fd,),
            start_new_session=True,  # a terminal's Ctrl-C is for the program
        )
        starter.wait()

    def _set_up(self, setup: Message) -> Message:
        try:
            self._link.send(setup)
            answer = self._link.receive(READY_S)
        except EOFError:
            answer = {"type": "failed", "message": "the sampler process died while starting"}
        except ValueError:
            answer = {"type": "failed", "message": "the settings are too long for the sampler"}
        if answer is None:
            answer = {"type": "failed", "message": f"the sampler was not ready in {READY_S:g} s"}
        if answer["type"] == "ready":
            return answer
        text = self._stderr_text()
        self.let_go()
        if "error" in answer and not text:
            raise from_dict(answer)
        raise SamplerError(
            f"{answer['message']}\n{text}".rstrip(),
            "on_error='warn' runs the function all the same, unmeasured",
        )

    def enter(self, index: int, name: str, tid: int, *, edge: bool) -> None:
        """Mark the start of a call; with ``edge``, wait for the counters to be read."""
        self._mark("enter", edge, index=index, name=name, tid=tid)

    def leave(self, index: int, *, edge: bool, synced: bool) -> None:
        """Mark the end of a call; with ``edge``, wait for the counters (and 20 ms for devices)."""
        self._mark("leave", edge, index=index, synced=synced)

    def _mark(self, kind: str, edge: bool, **fields: Any) -> None:
        if not edge and self._is_dropped(kind, int(fields["index"])):
            return
        self._seq += 1
        seq = self._seq
        self._waiting.append({"type": kind, "edge": edge, "seq": seq, "time_s": now_s(), **fields})
        if not edge:
            self._send()
            return
        is_patient = self._unanswered < _PATIENCE
        wait_s = EDGE_S if is_patient else 0.0
        backlog_s = _BACKLOG_S if is_patient and kind == "leave" else wait_s
        if self._send(backlog_s, now_s() + backlog_s):
            # the opening edge reads counters alone; the closing one may wait as long for devices
            self._hear("edge", seq, wait_s if kind == "enter" else 2 * wait_s)

    def _is_dropped(self, kind: str, index: int) -> bool:
        """Whether a nested call's mark is left out because too many wait; both of its marks are."""
        if kind == "leave":
            return index in self._dropped
        if len(self._waiting) <= _MOST_WAITING:
            return False
        self._dropped.add(index)
        return True

    def request_sync(self) -> None:
        """Ask that every call that has ended be made whole on disk soon."""
        self._waiting.append({"type": "sync"})
        self._send()

    def stop(self, reason: str) -> Message | None:
        """Close the run; return the sampler's report, or None if it gave none."""
        self._waiting.append({"type": "stop", "reason": reason, "dropped": len(self._dropped)})
        until_s = now_s() + REPORT_S
        if self._send(REPORT_S):
            self._hear("report", 0, until_s - now_s())
        self.let_go()
        return self.report

    def last_words(self) -> str:
        """Return the last line the sampler wrote to its standard error, if any."""
        return (self._stderr_text().splitlines() or [""])[-1]

    def let_go(self) -> None:
        """Close our end: in a forked child the parent goes on with it, else it ends by itself."""
        self.alive = False
        if self._stderr >= 0:
            self._link.close()
            os.close(self._stderr)
            self._stderr = -1

    def _send(self, wait_s: float = 0.0, until_s: float = math.inf) -> bool:
        """Send what is waiting, in order; return whether all of it is gone.

        Waits for a full socket only until ``until_s``, and as long as the sampler makes headway
        within ``wait_s``. May be entered again from a signal handler or the garbage collector: the
        one under way sends all.
        """
        if self._sending:
            return False
        self._sending = True
        try:
            while self._waiting and self.alive:
                head: list[Message] = []  # taken out first: more may come in between any two lines
                while self._waiting and len(head) < _MOST_AT_ONCE:
                    head.append(self._waiting.popleft())
                if self._link.send({"type": "batch", "messages": head} if head[1:] else head[0]):
                    continue
                self._waiting.extendleft(reversed(head))
                if not wait_s:
                    return False
                if not self._link.wait_writable(min(wait_s, until_s - now_s())):
                    self._unanswered += 1
                    return False
        except EOFError:
            self.alive = False
        finally:
            self._sending = False
        return self.alive

    def _hear(self, kind: str, seq: int, wait_s: float) -> None:
        """Wait for an answer; late answers to others are passed over."""
        until_s = now_s() + wait_s
        while self.alive:
            try:
                message = self._link.receive(until_s - now_s())
            except EOFError:
                self.alive = False
                return
            if message is None:
                self._unanswered += 1
                return
            self._unanswered = 0  # late or not, it answers
            if message["type"] == "report":
                self.report = message
            if message["type"] == kind and message.get("seq", 0) == seq:
                return

    def _stderr_text(self) -> str:
        if self._stderr < 0:
            return ""
        size = os.fstat(self._stderr).st_size
        return os.pread(self._stderr, min(size, 20000), 0).decode(errors="replace").strip()
