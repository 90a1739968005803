"""Give ordinary users the right to read the meters: `sudo pactmeter setup [--undo] [--print]`.

Three changes, each shown before it is made: a udev rule for the power supplies, a group that may
read RAPL's energy, and perf events for ordinary users. --undo takes them back.
"""

from __future__ import annotations

import contextlib
import grp
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pactmeter.errors import PactError
from pactmeter.model.psu import GROUP, MODELS, UDEV_FILE

if TYPE_CHECKING:
    import argparse

NAME = "setup"
HELP = "let ordinary users read the meters (needs sudo; shows each change first)"


@dataclass(frozen=True, slots=True)
class Change:
    """One file to write, what it is for, and the commands that make it take effect now."""

    path: str
    why: str
    text: str
    apply: tuple[tuple[str, ...], ...]
    undo: tuple[tuple[str, ...], ...] = ()


def changes() -> list[Change]:
    """Return what setup does to a machine."""
    rules = "".join(f"{model.udev_rule}\n" for model in MODELS)
    before = _paranoid_before()
    energy = "/sys/devices/virtual/powercap/intel-rapl/*/energy_uj"
    nested = "/sys/devices/virtual/powercap/intel-rapl/*/*/energy_uj"
    return [
        Change(
            UDEV_FILE,
            f"members of group '{GROUP}' (made if missing; add users: usermod -aG {GROUP} NAME)"
            " may talk to Corsair and NZXT power supplies",
            "# written by `pactmeter setup`; removed by `pactmeter setup --undo`\n" + rules,
            (
                ("udevadm", "control", "--reload"),
                ("udevadm", "trigger", "--subsystem-match=hidraw"),
            ),
            (
                ("udevadm", "control", "--reload"),
                ("udevadm", "trigger", "--subsystem-match=hidraw"),
            ),
        ),
        Change(
            "/etc/tmpfiles.d/pactmeter.conf",
            f"members of group '{GROUP}' may read RAPL's energy (root only since CVE-2020-8694:"
            " fine-grained energy can leak secrets to other users of the machine)",
            "# written by `pactmeter setup`; removed by `pactmeter setup --undo`\n"
            f"z {energy} 0440 root {GROUP}\nz {nested} 0440 root {GROUP}\n",
            (("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/pactmeter.conf"),),
            (("sh", "-c", f"chmod -f 0400 {energy} {nested} || true"),),
        ),
        Change(
            "/etc/sysctl.d/70-pactmeter.conf",
            "perf events of one's own processes, kernel side included, for all users",
            "# written by `pactmeter setup`; removed by `pactmeter setup --undo`\n"
            f"# before: {before}\nkernel.perf_event_paranoid = {min(before, 1)}\n",
            (("sysctl", "-q", f"kernel.perf_event_paranoid={min(before, 1)}"),),
            (("sysctl", "-q", f"kernel.perf_event_paranoid={before}"),),
        ),
    ]


def _paranoid_before() -> int:
    """The kernel's setting before ours: as our file noted it, else as it is."""
    for path, pattern in (
        (Path("/etc/sysctl.d/70-pactmeter.conf"), r"# before: (-?\d+)"),
        (Path("/proc/sys/kernel/perf_event_paranoid"), r"(-?\d+)"),
    ):
        with contextlib.suppress(OSError):
            found = re.search(pattern, path.read_text(encoding="utf-8"))
            if found:
                return int(found[1])
    return 2


def prepare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--print", action="store_true", help="show the changes, make none")
    parser.add_argument("--undo", action="store_true", help="take the changes back")
    parser.add_argument("--root", default="/", help="another root for the files (packaging)")


def run(args: argparse.Namespace) -> int:
    """Show each change, then make it."""
    root = Path(args.root)
    live = root == Path("/")
    if not args.print and live and os.geteuid() != 0:
        raise PactError("setup changes files in /etc", "sudo pactmeter setup (or --print to look)")
    wanted = changes()
    for change in wanted:
        _show(change, root, undo=args.undo)
    sys.stdout.flush()  # nothing is changed that could not be shown
    if args.print:
        return 0
    if live and not args.undo:
        _make_group()
    for change in wanted:
        path = root / change.path.lstrip("/")
        commands = change.undo if args.undo else change.apply
        _make(path, None if args.undo else change.text)
        for command in commands if live else ():
            _call(command)
    return 0


def _show(change: Change, root: Path, *, undo: bool) -> None:
    path = root / change.path.lstrip("/")
    print(f"# {'remove' if undo else 'write'} {path}: {change.why}")
    if not undo:
        print(change.text, end="")
    for command in change.undo if undo else change.apply:
        print(f"$ {' '.join(command)}")


def _make(path: Path, text: str | None) -> None:
    try:
        if text is None:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise PactError(f"cannot change {path}: {error.strerror}", "run it with sudo") from error


def _make_group() -> None:
    try:
        grp.getgrnam(GROUP)
    except KeyError:
        _call(("groupadd", "--system", GROUP))


def _call(command: tuple[str, ...]) -> None:
    """Run a command that makes a change take effect now; without it a restart does."""
    if shutil.which(command[0]) is None:
        print(
            f"  ({command[0]} is not installed: takes effect with the next start)", file=sys.stderr
        )
        return
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        print(f"  ({' '.join(command)} failed: {done.stderr.strip()})", file=sys.stderr)
