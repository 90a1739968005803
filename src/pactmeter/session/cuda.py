"""GPU work is asynchronous: the edges of a call wait for it where torch has it under way."""

from __future__ import annotations

import sys


def synchronize() -> bool:
    """Wait for the CUDA work of torch, if torch is loaded and has initialised CUDA.

    Never imports torch and never initialises CUDA.

    Returns:
        Whether it was synchronised.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    try:
        if not torch.cuda.is_initialized():
            return False
        torch.cuda.synchronize()
    except Exception:  # noqa: BLE001  the workload's own CUDA error is its own to raise
        return False
    return True
