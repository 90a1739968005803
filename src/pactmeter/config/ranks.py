"""Which rank of a parallel job this process is, from the launcher's environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Rank:
    """Place of this process in a parallel job.

    Attributes:
        rank: Rank over all machines.
        size: Number of ranks.
        local_rank: Rank on this machine; rank 0 of a machine samples its devices.
        launcher: Who said so.
    """

    rank: int
    size: int
    local_rank: int
    launcher: str


# torchrun first: it may itself run inside srun. MPICH's Hydra sets MPI_LOCALRANKID.
_LAUNCHERS = (
    ("torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK"),
    (
        "Open MPI",
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_LOCAL_RANK",
    ),
    ("MPICH", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),
    ("Slurm", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
)

# where a launcher sets PMI's rank and no local one of its own, as srun --mpi=pmi2 does
_LOCAL_RANKS = ("MPI_LOCALRANKID", "PMI_LOCAL_RANK", "SLURM_LOCALID")


def detect(environ: Mapping[str, str] | None = None) -> Rank | None:
    """Return this process' rank, or None outside a parallel job of at least two ranks.

    >>> detect({"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}).launcher
    'torchrun'
    """
    environ = os.environ if environ is None else environ
    for launcher, rank_name, size_name, local_name in _LAUNCHERS:
        rank, size = _int(environ.get(rank_name)), _int(environ.get(size_name))
        if rank is None or size is None:
            continue
        if size < 2:
            return None
        locals_ = (_int(environ.get(name)) for name in (local_name, *_LOCAL_RANKS))
        local = next((number for number in locals_ if number is not None), rank)
        return Rank(rank, size, local, launcher)
    return None


def _int(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None
