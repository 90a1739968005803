"""Commands whose work the kernel does not count as theirs are told before they start."""

import os
import shutil
from pathlib import Path

import pytest

from pactmeter.counters.unseen import unseen


def program(folder, name, mode, uid=None, gid=None):
    path = folder / name
    shutil.copy(shutil.which("true"), path)
    if uid is not None:
        os.chown(path, uid, gid)
    path.chmod(mode)
    return str(path)


@pytest.mark.root
@pytest.mark.parametrize(
    ("mode", "told"),
    [(0o755, False), (0o4755, True), (0o2755, True), (0o2745, False), (0o6755, True)],
)
def test_a_program_that_takes_on_anothers_rights_is_told(tmp_path, mode, told):
    path = program(tmp_path, "raise", mode, uid=12345, gid=12345)

    why = unseen(path, uid=os.getuid(), gid=os.getgid())

    assert (why is not None) == told
    if told:
        assert "raise takes on the rights of another user" in why


@pytest.mark.root
def test_of_a_script_the_kernel_ignores_the_bits(tmp_path):
    path = program(tmp_path, "script", 0o4755, uid=12345, gid=12345)
    Path(path).write_text("#!/bin/sh\n")
    Path(path).chmod(0o4755)

    assert unseen(path, uid=os.getuid(), gid=os.getgid()) is None


def test_ones_own_rights_are_nothing_new(tmp_path):
    path = program(tmp_path, "own", 0o6755)

    assert unseen(path, uid=os.getuid(), gid=Path(path).stat().st_gid) is None


def test_a_client_of_a_daemon_is_told(tmp_path, monkeypatch):
    program(tmp_path, "docker", 0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert "not its child" in unseen("docker", uid=0, gid=0)
    assert unseen("nothing-like-it", uid=0, gid=0) is None


def test_the_program_that_runs_this_is_counted():
    assert unseen(shutil.which("sh"), uid=os.getuid(), gid=os.getgid()) is None
