"""A load that `pactmeter probe gpu` switches on and off at known times."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import random
import select
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pactmeter.errors import DeviceError

if TYPE_CHECKING:
    from pactmeter.sensors.gpu_card import Card

BENCH_VARIABLE = "PACTMETER_BENCH"
"""Where the emulated machine takes orders, for a command that runs on it."""

_ANSWER_S = 5.0
_MOST_BYTES = 65536
_DWELL_S = (0.03, 1.2)
_SEED = 5


class Edge(NamedTuple):
    """The load is switched.

    Attributes:
        time_s: When, in seconds of CLOCK_MONOTONIC.
        on: Whether it is then on.
    """

    time_s: float
    on: bool


class Burst(NamedTuple):
    """A burst of load with the rest behind it.

    Attributes:
        from_s: A moment of rest before it, in seconds.
        to_s: A moment of rest after it, in seconds.
    """

    from_s: float
    to_s: float


class Load(Protocol):
    """What the card can be made to do.

    Attributes:
        name: What it is, in words.
        edge_u_s: How exactly its edges are known, in seconds.
    """

    name: str
    edge_u_s: float

    def start(self, timeout_s: float) -> None:
        """Make ready, off; raises `DeviceError`. What is started costs the card power."""

    def switch(self, on: bool) -> None:
        """Switch it, without waiting."""

    def edges(self) -> list[Edge]:
        """End it and return when it was switched; raises `DeviceError` if it has failed."""

    def close(self) -> None:
        """End it. Never raises."""


def square_wave(start_s: float, bursts: int, burst_s: float, rest_s: float) -> list[Edge]:
    """Return the edges of bursts: a square wave whose half-periods are never the same.

    They are spread evenly in their logarithm, from 30 ms to 1.2 s (at most a quarter of a burst),
    so that the wave locks to no update period, and short and long averages both leave their mark.
    The sequence is always the same.

    Args:
        start_s: Start of the first burst, in seconds.
        bursts: How many.
        burst_s: Length of each, in seconds.
        rest_s: Rest behind each, in seconds.
    """
    chance = random.Random(_SEED)  # noqa: S311  a load, not a secret
    low, high = math.log(_DWELL_S[0]), math.log(min(_DWELL_S[1], burst_s / 4))
    edges: list[Edge] = []
    for number in range(bursts):
        now = start_s + number * (burst_s + rest_s)
        end_s = now + burst_s
        on = True
        while now < end_s - 2 * _DWELL_S[0]:
            edges.append(Edge(now, on))
            now += math.exp(chance.uniform(low, high))
            on = not on
        if edges[-1].on:
            edges.append(Edge(min(now, end_s), on=False))
    return edges


class BenchLoad:
    """The load of the emulated machine's own GPU, ordered at its control socket."""

    edge_u_s = 0.0005

    def __init__(self, index: int) -> None:
        """Set the GPU idle, whatever it did so far; raises `DeviceError`."""
        self.name = "the emulated machine's own"
        self._component = f"gpu{index}"
        self._ordered: list[bool] = []
        self._answers: list[dict[str, object]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = os.environ[BENCH_VARIABLE]
        try:
            self._socket.bind("")  # a name of its own, so that it can be answered
            self._socket.connect(path)
            self.switch(on=False)
            self._socket.settimeout(_ANSWER_S)
            self._answers.append(json.loads(self._socket.recv(_MOST_BYTES)))
        except OSError as error:
            self._socket.close()
            raise DeviceError(
                f"the emulated machine takes no orders at {path}: {error}", "--load none"
            ) from error

    def start(self, timeout_s: float) -> None:
        """Have nothing to start."""

    def switch(self, on: bool) -> None:
        """Order busy or idle."""
        self._take_answers()
        order = {"load": {"component": self._component, "spec": "busy" if on else "idle"}}
        try:
            self._socket.send(json.dumps(order).encode())
        except OSError:
            return  # it has ended: `edges` tells
        self._ordered.append(on)

    def _take_answers(self) -> None:
        """Take what has come, so that the other side need not wait for room."""
        self._socket.settimeout(0.0)
        try:
            while True:
                self._answers.append(json.loads(self._socket.recv(_MOST_BYTES)))
        except OSError:
            pass
        finally:
            self._socket.settimeout(_ANSWER_S)

    def edges(self) -> list[Edge]:
        """Return when the machine switched; raises `DeviceError` where it did not."""
        try:
            while len(self._answers) < len(self._ordered):
                self._answers.append(json.loads(self._socket.recv(_MOST_BYTES)))
        except OSError as error:
            raise DeviceError(f"the emulated machine does not answer: {error}") from error
        refused = next((answer["error"] for answer in self._answers if "error" in answer), None)
        if refused:
            raise DeviceError(f"the emulated machine refused the load: {refused}")
        found = []
        for on, answer in zip(self._ordered, self._answers, strict=True):
            time_s = float(str(answer["t_s"])) + float(str(answer["zero_s"]))
            found.append(Edge(time_s, on))
        return found[1:]  # the first set it idle

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()


_WORKER = """
import sys, threading, time
try:
    import torch
    sys.stdin.readline()
    device = torch.device("cuda:0")
    a = torch.randn(2048, 2048, device=device, dtype=torch.float16)
    def burst(count):
        for _ in range(count):
            torch.mm(a, a)
        done = torch.cuda.Event()
        done.record()
        return done
    for _ in range(3):
        burst(3).synchronize()
    before = time.monotonic()
    burst(20).synchronize()
    count = max(1, int(0.002 * 20 / (time.monotonic() - before)))
except Exception as error:
    print("failed", type(error).__name__, str(error).splitlines()[:1], flush=True)
    sys.exit(1)
wanted = threading.Event()
def listen():
    for line in sys.stdin:
        wanted.set() if line[0] == "1" else wanted.clear()
    import os
    os._exit(0)
print("ready", flush=True)
threading.Thread(target=listen, daemon=True).start()
while True:
    wanted.wait()
    before = time.monotonic()
    running = burst(count)
    print(1, (before + time.monotonic()) / 2, flush=True)
    while wanted.is_set():
        following = burst(count)
        running.synchronize()
        running = following
    running.synchronize()
    print(0, time.monotonic(), flush=True)
"""
"""Multiplies matrices while it is told to, two bursts of about 2 ms ahead; tells when it did."""


class TorchLoad:
    """Matrix products by torch, in a process of its own: its kernels, and no lock of ours."""

    edge_u_s = 0.002

    def __init__(self, card: Card) -> None:
        """Start to import torch, which takes seconds; the GPU is not touched yet."""
        self.name = "matrix products by torch"
        environment = dict(os.environ)
        if not card.is_partitioned:
            environment["CUDA_VISIBLE_DEVICES"] = card.uuid
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
        )

    def start(self, timeout_s: float) -> None:
        """Make the CUDA context and time the kernels; raises `DeviceError`."""
        self._tell("\n")
        output = self._process.stdout
        told = ""
        if output is not None and select.select([output], [], [], timeout_s)[0]:
            told = output.readline().strip()
        if told != "ready":
            why = told.removeprefix("failed ") or f"no answer within {timeout_s:.0f} s"
            raise DeviceError(f"torch cannot load the GPU: {why}", "--load none")

    def switch(self, on: bool) -> None:
        """Tell the process to start or to stop."""
        self._tell("1\n" if on else "0\n")

    def _tell(self, line: str) -> None:
        try:
            if self._process.stdin is not None:
                self._process.stdin.write(line)
                self._process.stdin.flush()
        except OSError:
            pass  # it has died: `edges` tells

    def edges(self) -> list[Edge]:
        """End the process and return when its kernels began and ended; raises `DeviceError`."""
        died = self._process.poll()
        if died is not None:
            raise DeviceError(f"torch died under the load (exit code {died})", "--load none")
        try:
            told, _ = self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            raise DeviceError("torch does not end: its kernels hang", "--load none") from None
        rows = (line.split() for line in told.splitlines())
        return [Edge(float(row[1]), row[0] == "1") for row in rows if len(row) == 2]

    def close(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    pass


def choose(wanted: str, card: Card) -> tuple[Load | None, str]:
    """Return the load for a card, or none and why.

    Args:
        wanted: ``auto``, ``torch`` or ``none``.
        card: The card.

    Raises:
        DeviceError: torch is wanted and not installed.
    """
    if wanted == "none":
        return None, "none was wanted (--load none)"
    if wanted == "auto":
        if card.synthetic:
            if os.environ.get(BENCH_VARIABLE):
                return BenchLoad(card.index), ""
            return None, f"an emulated GPU takes its load from ${BENCH_VARIABLE}, which is not set"
        if card.others():
            return None, "other programs compute on this GPU; stop them, or --load torch"
    if importlib.util.find_spec("torch") is None:
        if wanted == "torch":
            raise DeviceError("torch is not installed", "pip install torch, or --load none")
        return None, "torch is not installed (pip install torch)"
    return TorchLoad(card), ""
