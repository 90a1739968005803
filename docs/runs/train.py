"""What the run of the docs measures: five epochs of training and evaluation, marked as regions.

The GPU is emulated, and told what to do.
"""

import random
import subprocess
import sys
import time

from pactmeter import region

EPOCHS, TRAIN_S, EVALUATE_S = 5, 9.0, 3.0


def work(seconds, pages):
    """Compute and touch memory for so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        block = bytearray(4096 * pages)
        block[::4096] = bytes(pages)
        sum(random.random() for _ in range(20_000))


def gpu(load):
    """Give the emulated GPU another load from now on."""
    words = [sys.executable, "-m", "pactmeter", "bench", "load", f"gpu={load}"]
    subprocess.run(words, check=True)


for epoch in range(EPOCHS):
    with region("epoch", epoch):
        with region("train", epoch):
            work(TRAIN_S, pages=400)
        gpu("idle")
        with region("evaluate", epoch):
            work(EVALUATE_S / 2, pages=20)
            time.sleep(EVALUATE_S / 2)
        gpu("training")
