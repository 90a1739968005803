"""What the sampler process costs: its share of a core in steady state, and its memory.

Power every second, four default events every 10 ms, a target of four busy threads.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]
from benchmarks import common  # noqa: E402  the line above lets this file run as a script

SHARE, MEMORY_BYTES = 0.02, 40_000_000
WARM_UP_S = 3.0


def main() -> int:
    parser = common.parser(__doc__)
    parser.add_argument("--seconds", type=float, help="steady state looked at (30; quick: 5)")
    args = parser.parse_args()
    seconds = args.seconds or (5.0 if args.quick else 30.0)

    with common.scratch() as folder:
        length = str(WARM_UP_S + seconds + 3.0)
        target = subprocess.Popen(
            [*common.python_program("threads.py"), length], cwd=folder, stderr=subprocess.DEVNULL
        )
        try:
            pid = common.wait_sampler(folder)
            time.sleep(WARM_UP_S)
            start_s, start_cpu_s = time.monotonic(), cpu_seconds(pid)
            time.sleep(seconds)
            span_s, used_s = time.monotonic() - start_s, cpu_seconds(pid) - start_cpu_s
            peak_bytes, now_bytes = _memory(pid, "VmHWM"), _memory(pid, "VmRSS")
            threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
            status = target.wait(60)
        finally:
            target.kill()
        rows = _counter_rows(folder / "PACT.counters.csv", WARM_UP_S, WARM_UP_S + seconds)
        manifest = json.loads((folder / "PACT.json").read_text())

    table = common.Table("The sampler: power every 1 s, four events every 10 ms, four busy threads")
    share = used_s / span_s
    table.add(
        "CPU time, of one core",
        f"{share:.2%} ({common.seconds(used_s)} in {span_s:.1f} s)",
        f"at most {SHARE:.0%}",
        held=share <= SHARE,
    )
    table.add(
        "peak resident memory (VmHWM)",
        f"{peak_bytes / 1e6:.1f} MB (in the end {now_bytes / 1e6:.1f} MB)",
        f"at most {MEMORY_BYTES / 1e6:.0f} MB",
        held=peak_bytes <= MEMORY_BYTES,
    )
    table.add("rows of counters a second", f"{rows / seconds:.1f}", "at least 95",
              held=rows / seconds >= 95)  # fmt: skip
    table.add("the target ended well", "yes" if status == 0 else f"status {status}", "yes",
              held=status == 0)  # fmt: skip
    counted = [event["name"] for event in manifest["events"] if event["status"] == "ok"]
    channels = [channel["name"] for channel in manifest["channels"]]
    table.notes.append(
        f"Events counted here: {', '.join(counted) or 'none'}; power channels:"
        f" {', '.join(channels) or 'none'}; threads of the sampler: {threads}."
        " Events and channels that a machine has not got cost nothing here."
    )
    return table.finish()


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process: by its threads' schedstat, or by its CPU clock."""
    total_ns, found = 0, False
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total_ns += int((task / "schedstat").read_text().split()[0])
            found = True
    if found:
        return total_ns / 1e9
    # a kernel without schedstat: the process' CPU-time clock, clock_getcpuclockid(3)
    return time.clock_gettime((~pid << 3) | 2)


def _memory(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {name} of process {pid}")


def _counter_rows(path: Path, from_s: float, to_s: float) -> int:
    """Return how many rows of counters began in this part of the run."""
    rows = path.read_text().splitlines()[1:]
    return sum(from_s <= float(row.split(",", 1)[0]) < to_s for row in rows)


if __name__ == "__main__":
    raise SystemExit(main())
