"""A FUSE server in a mount namespace of its own, for tests to be its clients.

Run as a program, it mounts on the folder it is given and obeys lines of Python on its standard
input. Tests see its files through ``/proc/<pid>/root``: nothing is mounted where they run.
"""

import ast
import contextlib
import ctypes
import itertools
import os
import select
import signal
import subprocess
import sys
import traceback
from pathlib import Path

from pactmeter.bench.faults import Fault, FaultBoard
from pactmeter.bench.fuse import FuseServer, mount_fuse, open_fuse
from pactmeter.bench.hidraw import HidIdentity, HidrawNode
from pactmeter.bench.loop import Loop
from pactmeter.bench.tree import Tree
from support.rights import refuse

PATHS = [str(Path(__file__).parents[2] / "src"), str(Path(__file__).parents[1])]
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 0x40000
IDENTITY = HidIdentity(0x1B1C, 0x1C1F, "Corsair HX1500i", "usb-0000:00:14.0-1/input0", "123")
PATIENCE_S = 20.0


class Echo:
    """Firmware that answers each request with itself; with nothing if it begins with ff."""

    device = "psu0"

    def __init__(self, latency_s=0.0):
        self.latency_s = latency_s
        self.requests = []

    def handle(self, request):
        self.requests.append(request)
        return [] if request[0] == 0xFF else [(self.latency_s, request)]


class Mounted:
    """A running server, as its clients know it."""

    def __init__(self, target):
        self.target = target
        words = [sys.executable, __file__, str(target)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(PATHS)}
        self.process = subprocess.Popen(words, text=True, env=env, **pipes)
        self.trouble = self._line()
        self.root = Path(f"/proc/{self.process.pid}/root{target}")

    def do(self, line):
        """Have the server evaluate an expression; return the value."""
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return ast.literal_eval(self._line())

    def _line(self):
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE_S)
        if not ready:
            self.process.kill()
            raise TimeoutError("the server does not answer")
        line = self.process.stdout.readline().rstrip("\n")
        if line.startswith("!"):
            raise RuntimeError(line)
        return line

    def close(self):
        """End the server; return what it said on its standard error."""
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        err = self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        return err


@contextlib.contextmanager
def serving(folder):
    """Mount on a folder to be made for a while; skip the test where that is not possible."""
    target = folder / "mnt"
    target.mkdir()
    server = Mounted(target)
    try:
        if server.trouble:
            refuse(server.trouble)
        yield server
    finally:
        err = server.close()
    assert err == ""


def enter_namespace():
    """Give this process a mount namespace from which nothing leaks."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    if libc.mount(None, b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None) != 0:
        raise OSError(ctypes.get_errno(), "mount")


def fail(number):
    """Raise the OSError of a number; an expression can not."""
    raise OSError(number, "as the test wants it")


def serve(target):
    """Mount, and obey until standard input ends."""
    signal.alarm(int(3 * PATIENCE_S))  # clients that wait for ever are let go
    try:
        enter_namespace()
        fd = open_fuse()
        mount_fuse(fd, target)
    except OSError as error:
        print(f"needs FUSE in a mount namespace: {error}", flush=True)
        return
    loop, tree = Loop(), Tree()
    faults = FaultBoard(loop.clock)
    fuse = FuseServer(fd, tree, loop)
    echo = Echo()
    node = HidrawNode(echo, loop, IDENTITY, faults)
    tree.add_node("dev/hidraw3", node)
    known = {
        "loop": loop,
        "tree": tree,
        "faults": faults,
        "Fault": Fault,
        "echo": echo,
        "node": node,
        "fuse": fuse,
        "ticks": itertools.count(),
        "fail": fail,
        "remove": lambda: tree.remove("dev/hidraw3"),
    }

    def obey():
        line = sys.stdin.readline()
        if not line:
            loop.stop()
            return
        try:
            print(repr(eval(line, known)), flush=True)
        except Exception:  # noqa: BLE001 - it is the test's
            print("!" + traceback.format_exc().replace("\n", " | "), flush=True)

    loop.add_reader(0, obey)
    print(flush=True)  # no trouble
    loop.run_forever()


if __name__ == "__main__":
    serve(sys.argv[1])
