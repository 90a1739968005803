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
from pactmeter.bench.mounts import ENVIRONMENT, enter_namespace, mount_tree, show_proc, show_sys
from pactmeter.bench.server import NVML_STATE, Clock, Server
from pactmeter.errors import DeviceError

if TYPE_CHECKING:
    from pactmeter.bench.options import Spec

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_LEAVE_S = 3.0
"""How long what the command has left behind may take to end by itself."""


def run(spec: Spec) -> int:
    """Run the command on the machine and return its exit code (128 + n where a signal ended it).

    Raises:
        DeviceError: The machine cannot be set up here.
    """
    if shutil.which(spec.command[0]) is None:
        raise DeviceError(f"{spec.command[0]}: command not found", "name a command after --")
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
        if spec.truth:
            ask(path, {"truth": {"window_s": window_s, "path": str(spec.truth)}})
        _let_end(server)
    finally:
        os.kill(server, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(server, 0)
    return code


def _environment(spec: Spec, folder: Path) -> dict[str, str]:
    """Return what a program finds the emulated GPUs by."""
    if not spec.gpus:
        return {}
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
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(ready)
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            server = Server(spec, folder, clock, fuse, control)
            os.write(told, b"1")
            os.close(told)
            server.serve()
            code = 0
        except BaseException:  # noqa: BLE001  the parent's stack is not ours to unwind
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(told)
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
    clock.start()
    ask(control, {"zero": True, "follow": os.getpid()})
    passed_on = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
    start_s = clock.start()
    process = subprocess.Popen(words, env=environment, preexec_fn=_die_with_parent)  # noqa: PLW1509
    for number in passed_on:
        signal.signal(number, lambda number, _: process.send_signal(number))
    # a terminal sends Ctrl-C to the command too, and it is for the command to answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    code = process.wait()
    return 128 - code if code < 0 else code, (start_s, time.monotonic())


def _die_with_parent() -> None:
    """In the forked child: end when the bench is killed; take Ctrl-C as any program does."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
