"""A run: one process and one set of settings, one sampler, any number of calls."""

from __future__ import annotations

import atexit
import os
import shlex
import shutil
import sys
import threading
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pactmeter.config import ranks
from pactmeter.errors import ConfigError, DeviceError, PactError
from pactmeter.sampling.launch import SamplerProcess
from pactmeter.session import cuda, regions
from pactmeter.store.files import RunFiles, short_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pactmeter.config.run import RunConfig

_PACKAGE = str(Path(__file__).parents[1])
_COMMAND_WORDS, _WORD_LENGTH = 64, 500
"""How much of a command line the manifest keeps."""
_MOST_IDLE_RUNS = 4
"""Runs without an open call whose samplers are kept, ready for their next call."""


@dataclass(slots=True)
class Call:
    """One call of a run, while it is open."""

    index: int
    open: bool = True


class Run:
    """One sampler and its calls. The first call starts it, the interpreter's end closes it."""

    def __init__(
        self,
        config: RunConfig,
        *,
        target_pid: int | None = None,
        command: list[str] | None = None,
        notes: Sequence[str] = (),
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._tell = tell or warn
        self._config = config
        self._target_pid = target_pid
        words = command or sys.argv
        self._notes = list(notes)
        self._command = [word[:_WORD_LENGTH] for word in words[:_COMMAND_WORDS]]
        self._lock = threading.RLock()
        self._sampler: SamplerProcess | None = None
        self._starting = False
        self._active = 0
        self._calls = 0
        self._ended = 0
        self._given_up = False
        self._told_death = False

    @property
    def files(self) -> RunFiles:
        """The files of the run (their names may differ from those asked for)."""
        name = self._sampler.ready["file"] if self._sampler else self._config.file
        return RunFiles(Path(name))

    @property
    def shortfall(self) -> str:
        """What to say of a run that records no power, in brackets; else nothing."""
        ready = self._sampler.ready if self._sampler else {}
        if ready.get("devices_sampled_by"):
            return f" (power is with {ready['devices_sampled_by']}: time and counters only)"
        return "" if ready.get("channels") else " (no power source found: time and counters only)"

    @property
    def sampler_pid(self) -> int | None:
        """Process id of the sampler, while there is one."""
        return self._sampler.pid if self._sampler else None

    @property
    def active(self) -> bool:
        """Whether a call is open."""
        return self._active > 0

    def enter(self, name: str = "call") -> Call:
        """Open a call; start the sampler if this is the first.

        Raises:
            PactError: The sampler cannot start, and ``on_error`` is ``raise``.
        """
        with self._lock:
            if self._starting:  # called by a signal handler while the sampler is being started
                return Call(-1, open=False)
            if self._sampler is None and not self._given_up:
                self._starting = True
                try:
                    self._start()
                finally:
                    self._starting = False
            call = Call(self._calls)
            self._calls += 1
            self._active += 1
            try:
                self._mark_enter(call, name)
            except BaseException:  # Ctrl-C while waiting: the caller will not come to `leave`
                self.leave(call)
                raise
            return call

    def _mark_enter(self, call: Call, name: str) -> None:
        if self._sampler is None:
            return
        edge = self._active == 1
        if edge:
            self._synchronize()
        self._sampler.enter(call.index, name, threading.get_native_id(), edge=edge)
        if edge:
            regions.call_opened(self._sampler.ready["file"])

    def leave(self, call: Call) -> None:
        """Close a call. Adds no exception of its own: the function's outcome is the function's."""
        try:
            with self._lock:
                if not call.open:
                    return
                call.open = False
                self._active -= 1
                self._ended += 1
                if self._sampler is not None:
                    self._mark_leave(self._sampler, call)
        except Exception as error:  # noqa: BLE001  see above
            self._tell(f"PACT could not close a call: {type(error).__name__}: {error}")

    def _mark_leave(self, sampler: SamplerProcess, call: Call) -> None:
        edge, synced = self._active == 0, False
        try:
            if edge:
                synced = self._synchronize()
        finally:  # also where Ctrl-C ends the wait for the GPU
            try:
                sampler.leave(call.index, edge=edge, synced=synced)
            finally:
                if edge:
                    regions.call_closed(sampler.ready["file"])
        if not sampler.alive and not self._told_death:
            self._told_death = True
            regions.run_closed(sampler.ready["file"])
            words = sampler.last_words()
            why = f" ({words})" if words else ""
            held = f"{self.files.power} holds what was recorded until then"
            self._tell(f"PACT: the sampler has died{why}; {held}")

    def request_sync(self) -> int:
        """Ask for a manifest that is up to date; return how many calls it must tell of."""
        with self._lock:
            if self._sampler is None or not self._sampler.alive:
                return 0
            self._sampler.request_sync()
            return self._ended

    def close(self, reason: str = "the program ended") -> dict[str, Any] | None:
        """End the run; return the sampler's report, or None if there is none."""
        with self._lock:
            if self._sampler is None:
                return None
            sampler, self._sampler = self._sampler, None
            self._given_up = True
            was_alive = sampler.alive
            self._config = replace(self._config, file=sampler.ready["file"])
            regions.run_closed(sampler.ready["file"])
            report = sampler.stop(reason)
            if report is None and was_alive and not self._told_death:
                self._tell(f"PACT: the sampler did not report; see {self._config.file}")
            return report

    def disown(self) -> None:
        """Forget the run in a forked child: it is its parent's."""
        self._lock = threading.RLock()  # the parent's may have been held by another thread
        if self._sampler is not None:
            self._sampler.let_go()
        self._sampler = None
        self._given_up = True

    def _start(self) -> None:
        rank = ranks.detect()
        config = self._config
        if rank is not None and rank.rank > 0:
            ranked = RunFiles(Path(config.file)).with_suffix(f".rank{rank.rank}")
            config = replace(config, file=str(ranked.power))
        setup = {
            "config": config.to_dict(),
            "parent_pid": os.getpid(),
            "target_pid": self._target_pid or os.getpid(),
            "exclude_pids": sampler_pids(),
            "command": self._command,
            "notes": self._notes,
            "rank": None
            if rank is None
            else {"rank": rank.rank, "size": rank.size, "launcher": rank.launcher},
            "devices_sampled_by": None
            if rank is None or rank.local_rank == 0
            else f"local rank 0 of {rank.launcher}",
        }
        try:
            self._sampler = SamplerProcess(setup)
        except (ConfigError, DeviceError):
            raise  # wrong whatever `on_error` says; the sampler itself has judged absence
        except PactError as error:
            if self._config.on_error == "raise":
                raise
            self._given_up = True
            self._tell(f"PACT measures nothing: {error}")
            return
        ready = self._sampler.ready
        if ready["file"] != ready["wanted"]:
            wanted, file = short_path(ready["wanted"]), short_path(ready["file"])
            who = "another run is writing"
            if regions.inherited() == ready["wanted"]:
                who = "the run that measures this program from outside is writing"
            self._tell(f"PACT: {who} {wanted}; this run is in {file}")
        for text in ready["warnings"]:
            self._tell(f"PACT: {text}")

    def _synchronize(self) -> bool:
        return cuda.synchronize() if self._config.sync else False


def warn(text: str) -> None:
    """Warn at the user's own line, even where warnings are errors: a program is not stopped."""
    frame, level = sys._getframe(1), 2  # noqa: SLF001  warnings skips files from Python 3.12 on
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    try:
        warnings.warn(text, RuntimeWarning, stacklevel=level)
    except Exception:  # noqa: BLE001  an error of a filter, of a closed standard error
        say(text)


def say(text: str) -> None:
    """Write a line to standard error, if there is one."""
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass  # no standard error to write to


# --- the runs of this process --------------------------------------------------------------------

_runs: dict[RunConfig, Run] = {}
_inside: set[RunConfig] = set()
_arranged: set[int] = set()
"""Process ids: a forked child inherits its parent's entry and has yet to make its own."""
_runs_lock = threading.RLock()  # a signal handler may come while its own thread holds it


def run_for(config: RunConfig) -> Run | None:
    """Return this process' run with these (resolved) settings, making it if needed.

    None in a forked child of a call that is open: that call's run counts the child already.
    """
    with _runs_lock:
        if config in _inside:
            return None
        run = _runs.pop(config, None)
        if run is None:
            if not _runs:
                _at_exit()
            _close_idle()
            run = Run(config)
        _runs[config] = run  # the last in line is the one used last
        return run


def _close_idle() -> None:
    """Close runs that have rested longest, so that many files do not mean many processes."""
    idle = [config for config, run in _runs.items() if not run.active]
    for config in idle[: max(0, len(idle) - _MOST_IDLE_RUNS + 1)]:
        _report(_runs.pop(config), quiet=True)


def _at_exit() -> None:
    """Have the runs closed at the end of this process, whichever way it ends by itself."""
    if os.getpid() in _arranged:
        return
    _arranged.add(os.getpid())
    atexit.register(_close_all)
    # workers of multiprocessing leave without atexit, but run finalizers of their own
    if "multiprocessing.util" in sys.modules:
        from multiprocessing import parent_process, util

        if parent_process() is not None:
            util.Finalize(None, _close_all, exitpriority=10)


def forget(config: RunConfig, run: Run) -> None:
    """Forget a run that could not start, so that the next call tries again."""
    with _runs_lock:
        if _runs.get(config) is run and run.sampler_pid is None:
            del _runs[config]


def request_sync(power: Path) -> int:
    """Ask for this process' run in that file to be made whole on disk.

    Returns:
        How many calls its manifest must tell of; 0 where this process has no such run.
    """
    with _runs_lock:
        runs = list(_runs.values())
    return max((run.request_sync() for run in runs if run.files.power == power), default=0)


def sampler_pids() -> list[int]:
    """Return the samplers of this process, which are not part of its workload."""
    return [pid for run in list(_runs.values()) if (pid := run.sampler_pid) is not None]


def _close_all() -> None:
    """At the end of the interpreter: close each run, and say in one line where it is."""
    for run in list(_runs.values()):
        _report(run)
    _runs.clear()


def _report(run: Run, *, quiet: bool = False) -> None:
    what = run.shortfall
    report = run.close()
    if report is None:
        return
    for text in report["warnings"]:
        say(f"PACT: {text}")
    if not quiet:
        name = short_path(run.files.power)
        say(f"PACT: recorded in {name}{what}; to see it: {_command()} report {name}")


def _command() -> str:
    """How the command line is called here: by name where installed, else by its folder."""
    if shutil.which("pactmeter"):
        return "pactmeter"
    script = Path(sys.executable).with_name("pactmeter")
    words = [script] if script.exists() else [sys.executable, _PACKAGE]
    return shlex.join(map(short_path, words))


def _forked() -> None:
    """In a forked child: the runs are the parent's, and open calls cover the child."""
    global _runs_lock  # noqa: PLW0603
    _runs_lock = threading.RLock()
    for config, run in _runs.items():
        if run.active:
            _inside.add(config)
        run.disown()
    _runs.clear()
    atexit.unregister(_close_all)


os.register_at_fork(after_in_child=_forked)
