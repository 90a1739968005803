import pytest

from pactmeter.config.ranks import detect

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}
SLURM = {"SLURM_PROCID": "2", "SLURM_NTASKS": "8", "SLURM_LOCALID": "0"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (TORCHRUN, (3, 4, 1, "torchrun")),
        (SLURM, (2, 8, 0, "Slurm")),
        ({**SLURM, **TORCHRUN}, (3, 4, 1, "torchrun")),
        (
            {
                "OMPI_COMM_WORLD_RANK": "1",
                "OMPI_COMM_WORLD_SIZE": "2",
                "OMPI_COMM_WORLD_LOCAL_RANK": "1",
            },
            (1, 2, 1, "Open MPI"),
        ),
        ({"PMI_RANK": "1", "PMI_SIZE": "2"}, (1, 2, 1, "MPICH")),
        ({"PMI_RANK": "4", "PMI_SIZE": "8", "SLURM_LOCALID": "0"}, (4, 8, 0, "MPICH")),
    ],
)
def test_a_rank_is_read_from_its_launcher_torchrun_before_slurm(environ, expected):
    found = detect(environ)
    assert (found.rank, found.size, found.local_rank, found.launcher) == expected


@pytest.mark.parametrize(
    "environ",
    [{}, {"RANK": "0", "WORLD_SIZE": "1"}, {"RANK": "0"}, {"RANK": "x", "WORLD_SIZE": "2"}],
)
def test_outside_a_job_of_two_there_is_no_rank(environ):
    assert detect(environ) is None
