"""The generic event names: those of libpfm4's ``perf`` PMU, which are also `perf list`'s.

The first name of each event is the one PACT prints; the others are accepted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pactmeter.kernel import perf

if TYPE_CHECKING:
    from collections.abc import Iterator

_HARDWARE = (
    ("CYCLES", "CPU-CYCLES", "PERF_COUNT_HW_CPU_CYCLES"),
    ("INSTRUCTIONS", "PERF_COUNT_HW_INSTRUCTIONS"),
    ("CACHE-REFERENCES", "PERF_COUNT_HW_CACHE_REFERENCES"),
    ("CACHE-MISSES", "PERF_COUNT_HW_CACHE_MISSES"),
    ("BRANCHES", "BRANCH-INSTRUCTIONS", "PERF_COUNT_HW_BRANCH_INSTRUCTIONS"),
    ("BRANCH-MISSES", "PERF_COUNT_HW_BRANCH_MISSES"),
    ("BUS-CYCLES", "PERF_COUNT_HW_BUS_CYCLES"),
    (
        "STALLED-CYCLES-FRONTEND",
        "IDLE-CYCLES-FRONTEND",
        "PERF_COUNT_HW_STALLED_CYCLES_FRONTEND",
    ),
    ("STALLED-CYCLES-BACKEND", "IDLE-CYCLES-BACKEND", "PERF_COUNT_HW_STALLED_CYCLES_BACKEND"),
    ("REF-CYCLES", "PERF_COUNT_HW_REF_CPU_CYCLES"),
)
"""In the order of ``enum perf_hw_id``: the index is the config."""

_SOFTWARE = {
    0: ("CPU-CLOCK", "PERF_COUNT_SW_CPU_CLOCK"),
    1: ("TASK-CLOCK", "PERF_COUNT_SW_TASK_CLOCK"),
    2: ("FAULTS", "PAGE-FAULTS", "PERF_COUNT_SW_PAGE_FAULTS"),
    3: ("CONTEXT-SWITCHES", "CS", "PERF_COUNT_SW_CONTEXT_SWITCHES"),
    4: ("MIGRATIONS", "CPU-MIGRATIONS", "PERF_COUNT_SW_CPU_MIGRATIONS"),
    5: ("MINOR-FAULTS", "PERF_COUNT_SW_PAGE_FAULTS_MIN"),
    6: ("MAJOR-FAULTS", "PERF_COUNT_SW_PAGE_FAULTS_MAJ"),
    11: ("CGROUP-SWITCHES", "PERF_COUNT_SW_CGROUP_SWITCHES"),
}

CACHES = ("L1D", "L1I", "LL", "DTLB", "ITLB", "BPU", "NODE")
"""In the order of ``enum perf_hw_cache_id``."""
CACHE_OPERATIONS = ("READ", "WRITE", "PREFETCH")
CACHE_RESULTS = ("ACCESS", "MISS")

_CACHE_STEMS = {
    "L1D": ("L1-DCACHE", "LOAD STORE PREFETCH"),
    "L1I": ("L1-ICACHE", "LOAD PREFETCH"),
    "LL": ("LLC", "LOAD STORE PREFETCH"),
    "DTLB": ("DTLB", "LOAD STORE PREFETCH"),
    "ITLB": ("ITLB", "LOAD"),
    "BPU": ("BRANCH", "LOAD"),
    "NODE": ("NODE", "LOAD STORE PREFETCH"),
}
_OPERATION_WORDS = {"LOAD": "READ", "STORE": "WRITE", "PREFETCH": "PREFETCH"}
CACHE_PREFIX = "PERF_COUNT_HW_CACHE_"


def cache_config(cache: str, operation: str = "READ", result: str = "MISS") -> int:
    """Return the config of a cache event; libpfm4's default is the read miss.

    >>> hex(cache_config("LL", "WRITE", "MISS"))
    '0x10102'
    """
    return (
        CACHES.index(cache)
        | CACHE_OPERATIONS.index(operation) << 8
        | CACHE_RESULTS.index(result) << 16
    )


def events() -> Iterator[tuple[tuple[str, ...], int, int]]:
    """Yield (names, type, config) of every generic event."""
    for config, names in enumerate(_HARDWARE):
        yield names, perf.TYPE_HARDWARE, config
    for config, names in _SOFTWARE.items():
        yield names, perf.TYPE_SOFTWARE, config
    for cache, (stem, words) in _CACHE_STEMS.items():
        for word in words.split():
            operation = _OPERATION_WORDS[word]
            plural = f"{word}ES" if word == "PREFETCH" else f"{word}S"
            full = f"{CACHE_PREFIX}{cache}"
            yield (
                (f"{stem}-{plural}",),
                perf.TYPE_HW_CACHE,
                cache_config(cache, operation, "ACCESS"),
            )
            names = (
                (f"{stem}-{word}-MISSES", full) if word == "LOAD" else (f"{stem}-{word}-MISSES",)
            )
            yield names, perf.TYPE_HW_CACHE, cache_config(cache, operation, "MISS")


TABLE = {name: (kind, config) for names, kind, config in events() for name in names}
"""Every generic name, upper-case, with its type and config."""


def full_name(kind: int, config: int) -> str:
    """Return the name in full of a generic event, as libpfm4 begins it.

    >>> full_name(perf.TYPE_HW_CACHE, 0x10102)
    'perf::PERF_COUNT_HW_CACHE_LL:WRITE:MISS'
    """
    if kind == perf.TYPE_HW_CACHE:
        cache, operation, result = config & 0xFF, config >> 8 & 0xFF, config >> 16
        name = f"{CACHE_PREFIX}{CACHES[cache]}"
        return f"perf::{name}:{CACHE_OPERATIONS[operation]}:{CACHE_RESULTS[result]}"
    names = _HARDWARE[config] if kind == perf.TYPE_HARDWARE else _SOFTWARE[config]
    return f"perf::{names[-1]}"
