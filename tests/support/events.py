"""Waiting for what has to happen."""

import time

PATIENCE_S = 30.0


def until(condition):
    """Wait until something is so; fail where it takes too long."""
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.002)
