"""What the run of the docs measures: four epochs of work and rest, marked as regions."""

import random
import time

from pactmeter import region

EPOCHS, TRAIN_S, EVALUATE_S = 4, 7.0, 2.0


def work(seconds, pages):
    """Compute and touch memory for so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        block = bytearray(4096 * pages)
        block[::4096] = bytes(pages)
        sum(random.random() for _ in range(20_000))


for epoch in range(EPOCHS):
    with region("epoch", epoch):
        with region("train", epoch):
            work(TRAIN_S, pages=400)
        with region("evaluate", epoch):
            work(EVALUATE_S / 2, pages=20)
            time.sleep(EVALUATE_S / 2)
