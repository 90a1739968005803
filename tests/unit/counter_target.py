"""Programs to count: they wait at each line they print, and tell the kernel's own account."""

import codecs
import json
import os
import select
import subprocess
import sys
import traceback

from support.rights import NOBODY

TARGET = """
import json, mmap, os, resource, subprocess, sys, threading, time

def burn(rounds):
    for _ in range(rounds):
        with mmap.mmap(-1, 100 * mmap.PAGESIZE) as pages:
            for page in range(100):
                pages[page * mmap.PAGESIZE] = 1
        time.sleep(0.0005)

def usage():
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    faults = sum(u.ru_minflt + u.ru_majflt for u in both)
    return [faults, sum(u.ru_nvcsw + u.ru_nivcsw for u in both)]

def tell(what):
    print(json.dumps(what), flush=True)
    sys.stdin.readline()

def started(count, *arguments):
    threads = [threading.Thread(target=burn_when_told, args=arguments) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads

go = threading.Event()
def burn_when_told(rounds):
    go.wait()
    burn(rounds)

def end():
    after = usage()
    tell([b - a for a, b in zip(before, after)])
"""

TREE = """
early = started(2, 60)
before = usage()
tell("ready")
go.set()
late = started(2, 60)
code = "import mmap\\nm = mmap.mmap(-1, 3000 * 4096)\\nfor p in range(3000): m[p * 4096] = 1"
subprocess.run([sys.executable, "-S", "-c", code], check=True)
for thread in early + late:
    thread.join()
end()
"""

CHURN = """
before = usage()
tell("ready")
go.set()
for _ in range(150):
    for thread in started(4, 1):
        thread.join()
end()
"""

OTHER = """
child = subprocess.Popen([sys.executable, "-c", SOURCE + '''
tell("ready")
burn(200)
tell("done")
'''], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
child.stdout.readline()
tell(child.pid)
child.stdin.write("\\n"); child.stdin.flush()
child.stdout.readline()
tell("done")
child.communicate("\\n")
"""


class Target:
    """A program that waits at each line it prints until it is told to go on."""

    def __init__(self, script: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"SOURCE = {TARGET!r}\n{TARGET}\n{script}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def told(self):
        return json.loads(self._process.stdout.readline())

    def has_spoken(self) -> bool:
        return bool(select.select([self._process.stdout], [], [], 0.001)[0])

    def go_on(self) -> None:
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self._process.communicate("\n" * 5)
        assert self._process.returncode == 0


def as_nobody(function):
    """Return what a function returns in a child process that has given up being root, if it was."""
    codecs.lookup("ascii")  # nobody may be unable to read our Python's modules
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setuid(NOBODY)
            answer = {"value": function()}
        except BaseException:  # noqa: BLE001  it must never go on as a second pytest
            answer = {"error": traceback.format_exc()}
        with os.fdopen(writing, "w") as pipe:
            json.dump(answer, pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = json.load(pipe)
    os.waitpid(child, 0)
    assert "error" not in answer, answer["error"]
    return answer["value"]
