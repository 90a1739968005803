"""Running a command on the emulated machine: set up, wait, write the truth, leave nothing."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from pactmeter.bench import gpu_doubles, nvml
from pactmeter.bench.control import CONTROL, ask
from pactmeter.bench.mounts import (
    ENVIRONMENT,
    enter_namespace,
    mount_tree,
    show_proc,
    show_sys,
    usual_modes,
)
from pactmeter.bench.server import NVML_STATE, Clock, Server
from pactmeter.errors import ConfigError, DeviceError, FileError

if TYPE_CHECKING:
    from pactmeter.bench.options import Spec

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_LEAVE_S = 3.0
"""How long what the command has left behind may take to end by itself."""
_TRUTH_S = 900.0
"""How long the truth may take to work out; that of a day takes minutes."""


def run(spec: Spec) -> int:
    """Run the command on the machine and return its exit code (128 + n where a signal ended it).

    Raises:
        DeviceError: The machine cannot be set up here.
    """
    name = spec.command[0]
    is_double = spec.gpus and name in gpu_doubles.COMMANDS
    if shutil.which(name) is None and not is_double:
        exists = Path(name).exists()
        why = "not a program that can be run" if exists else "command not found"
        error = DeviceError(f"{name}: {why}", "name a command after --, by its path if need be")
        error.exit_code = 126 if exists else 127  # as a shell says it
        raise error
    folder = enter_namespace()
    fuse = mount_tree(folder)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    path = folder / "control"
    control.bind(str(path))
    path.chmod(0o666)
    environment = {**os.environ, **ENVIRONMENT, **_environment(spec, folder), CONTROL: str(path)}
    environment.pop("PACTMETER_SYSFS", None)  # this machine's own sysfs is the emulated one
    clock = Clock()
    server = _start_server(spec, folder, clock, fuse, control)
    os.close(fuse)
    control.close()
    try:
        show_sys(folder)
        show_proc(folder)
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        code, window_s = _run_command(spec.command, environment, path, clock)
        try:
            if spec.truth:
                _write_truth(path, spec.truth, window_s)
        finally:
            _let_end(server)
    finally:
        os.kill(server, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(server, 0)
    return code


def _write_truth(control: Path, file: Path, window_s: tuple[float, float]) -> None:
    try:
        order = {"truth": {"window_s": window_s, "path": str(file)}}
        ask(control, order, answer_s=_TRUTH_S)
    except ConfigError as error:
        why = error.message.partition("\n")[0]  # its own fix stands behind it
        raise FileError(f"no truth was written: {why}", "--truth truth.json") from error


def _environment(spec: Spec, folder: Path) -> dict[str, str]:
    """Return what a program finds the emulated GPUs by."""
    if not spec.gpus:
        return {}
    with usual_modes():
        for name in ("lib", "bin"):
            (folder / name).mkdir()
        nvml.build_library(folder / "lib")
        gpu_doubles.write(folder / "bin")
    before = os.environ.get("LD_LIBRARY_PATH")
    return {
        nvml.ENVIRONMENT: str(folder / NVML_STATE),
        "LD_LIBRARY_PATH": f"{folder}/lib:{before}" if before else f"{folder}/lib",
        "PATH": f"{folder}/bin:{os.environ.get('PATH', os.defpath)}",
    }


def _start_server(spec: Spec, folder: Path, clock: Clock, fuse: int, control: socket.socket) -> int:
    """Fork the process that answers; return its id once it does."""
    ready, told = os.pipe()
    bench = os.pidfd_open(os.getpid())
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            # what a terminal or timeout(1) sends to all of the group is for the command
            for number in (signal.SIGINT, *_PASSED_ON):
                signal.signal(number, signal.SIG_IGN)
            os.close(ready)
            server = Server(spec, folder, clock, fuse, control)
            server.end_with(bench)
            os.write(told, b"1")
            os.close(told)
            server.serve()
            code = 0
        except BaseException:  # noqa: BLE001  the parent's stack is not ours to unwind
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(told)
    os.close(bench)
    answered = os.read(ready, 1)
    os.close(ready)
    if not answered:
        os.waitpid(pid, 0)
        raise DeviceError("the emulated machine did not start; the reason stands above")
    return pid


def _run_command(
    words: list[str], environment: dict[str, str], control: Path, clock: Clock
) -> tuple[int, tuple[float, float]]:
    """Run the command; return its exit code and its window on CLOCK_MONOTONIC."""
    start_s = clock.start()  # one zero for all, those included that are told it
    ask(control, {"zero": True, "follow": os.getpid()})
    # blocked until there is somebody to pass them on to
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    # a terminal sends Ctrl-C to the command too, and it is for the command to answer
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)

    def prepare() -> None:
        """In the forked child: end with the bench; take signals as without it."""
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGINT, interrupt)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    process = subprocess.Popen(words, env=environment, preexec_fn=prepare)  # noqa: PLW1509
    for number in _PASSED_ON:
        signal.signal(number, lambda number, _: process.send_signal(number))
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    ask(control, {"pids": [process.pid]})
    code = process.wait()
    return 128 - code if code < 0 else code, (start_s, time.monotonic())


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value)


def _let_end(server: int) -> None:
    """Wait for processes that the command has left behind, then end them."""
    until_s = time.monotonic() + _LEAVE_S
    while children := _children() - {server}:
        if time.monotonic() > until_s:
            for pid in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            for pid in children:
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.005)


def _children() -> set[int]:
    found: set[int] = set()
    for thread in Path("/proc/self/task").iterdir():
        found.update(map(int, (thread / "children").read_text().split()))
    return found
