"""What memory there is: that of the machine, or the container's share of it."""

import pytest

from pactmeter.study.room import free_memory

MB, GB = 10**6, 10**9


@pytest.mark.parametrize(
    ("limit", "current", "files", "free_mb"),
    [("max", 0, 0, 8_000), (3 * GB, GB, 0, 2_000), (3 * GB, 2 * GB, GB, 2_000), (GB, 2 * GB, 0, 0)],
)
def test_the_limit_of_a_container_is_the_memory_there_is(tmp_path, limit, current, files, free_mb):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text(f"MemAvailable:   {8_000 * MB // 1024} kB\n")
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.max").write_text(f"{limit}\n")
    (group / "memory.current").write_text(f"{current}\n")
    (group / "memory.stat").write_text(f"anon 5\nactive_file 99\ninactive_file {files}\n")

    assert free_memory(tmp_path) == pytest.approx(free_mb * MB, abs=1024)


def test_memory_that_nobody_tells_of_is_unknown(tmp_path):
    assert free_memory(tmp_path) is None
