"""Run PACT's counters on a processor that has them: an emulated one.

    python tests/pmu/guest.py --cache FOLDER [--update] [--only 6.1]

Boots Debian's arm64 kernels in QEMU by software emulation, whose PMUv3 has seven counters, with
PACT's source and `inside.py` on board, and prints what the checks in there found. Packages are
downloaded once, from the Debian mirror of this machine, and stay in the cache folder.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path
from py_compile import PycInvalidationMode

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src"
RELEASE = "bookworm"
PYTHON = (3, 11)
"""That of the release."""
GUEST = (
    *("libc6", "libffi8", "zlib1g", "libexpat1", "busybox-static"),
    *("python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib"),
)
KERNEL = "linux-image-arm64"
"""Depends on the kernel that is current, whose name therefore stands nowhere here."""
SUITES = (RELEASE, f"{RELEASE}-backports")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
COMPILER = "aarch64-linux-gnu-gcc"
QEMU = "qemu-system-aarch64"
NEEDED = {
    QEMU: "qemu-system-arm",
    COMPILER: "gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
    "cpio": "cpio",
}
# One instruction is one nanosecond of the guest's time: its clocks, and its counters of cycles and
# instructions, all follow from what was executed. Idle time passes at once.
ICOUNT = "shift=0,sleep=off"
CPUS = 2
LONGEST_S = 600.0
INDENT = " " * 10


class GuestError(Exception):
    """The guest could not be made or run; the text says what to do."""


@dataclass
class Guest:
    """One kernel, and what its console said."""

    kernel: Path
    console: Path
    began_s: float = field(default_factory=time.monotonic)
    process: subprocess.Popen[bytes] | None = None
    took_s: float = 0.0

    @property
    def release(self) -> str:
        return self.kernel.name.removeprefix("vmlinuz-")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="folder for what is downloaded")
    parser.add_argument("--update", action="store_true", help="download the current packages anew")
    parser.add_argument("--only", metavar="6.1", help="kernels whose release begins so")
    args = parser.parse_args()
    cache = args.cache.resolve()
    try:
        install()
        if args.update:
            (cache / "done").unlink(missing_ok=True)
        kernels = [k for k in prepare(cache) if f"vmlinuz-{args.only or ''}" in k.name]
        file = initrd(cache)
        return report([boot(kernel, file, cache) for kernel in kernels])
    except GuestError as error:
        print(f"test-pmu: {error}", file=sys.stderr)
        return 1


# --- what this machine needs ------------------------------------------------------------------


def install() -> None:
    """Install the missing Debian packages as root, else say which."""
    packages = " ".join(p for command, p in NEEDED.items() if shutil.which(command) is None)
    if not packages:
        return
    print(f"the guest needs these Debian packages: {packages}")
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages.split()]
    if os.geteuid() != 0:
        raise GuestError(f"packages are missing\n  fix: sudo apt-get install {packages}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"], env=environment)
    run(command, env=environment)


def mirror() -> tuple[str, str]:
    """Return the URI and the keyring of this machine's Debian archive."""
    for stanza in run(["apt-get", "indextargets"]).split("\n\n"):
        entry = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line)
        # The security archive calls itself Debian too, but has no kernels of backports.
        plain = not entry.get("Codename", "").endswith("-security")
        if entry.get("Origin") == "Debian" and plain and entry.get("Component") == "main":
            sources = Path(entry["Sourcesentry"].rpartition(":")[0])
            text = sources.read_text(encoding="utf-8", errors="replace")
            named = re.search(r"signed-by[:=]\s*(/[^\s\],]+)", text, re.IGNORECASE)
            return entry["Repo-URI"], named[1] if named else KEYRING
    raise GuestError("apt on this machine knows no Debian archive\n  fix: run this on Debian")


# --- the cache --------------------------------------------------------------------------------


def prepare(cache: Path) -> list[Path]:
    """Return the kernels; download packages and unpack them where that has not been done."""
    done, boots = cache / "done", cache / "boot"
    recipe = " ".join((*SUITES, *GUEST))
    if not done.exists() or done.read_text(encoding="ascii") != recipe:
        apt, packages, root = cache / "apt", cache / "deb", cache / "root"
        for folder in (apt, packages, root, boots):
            shutil.rmtree(folder, ignore_errors=True)
        for folder in (apt / "lists/partial", apt / "archives/partial", packages, root, boots):
            folder.mkdir(parents=True)
        begin_s = time.monotonic()
        print("downloading arm64 packages (once) ...", flush=True)
        download(apt, packages)
        for package in packages.iterdir():
            if package.name.startswith("linux-image"):
                unpack(package, boots, "./boot/vmlinuz-*")
            else:
                run(["dpkg-deb", "-x", str(package), str(root)])
        for folder in ("usr/share", "usr/include"):
            shutil.rmtree(root / folder, ignore_errors=True)
        for folder in ("proc", "sys", "dev", "tmp", "t"):
            (root / folder).mkdir(exist_ok=True)
        compile_python(root / "usr/lib")
        archive(root, cache / "root.cpio")
        for folder in (apt, packages, root):
            shutil.rmtree(folder)
        done.write_text(recipe, encoding="ascii")
        print(f"  took {time.monotonic() - begin_s:.0f} s")
    return sorted(boots.glob("**/vmlinuz-*"), key=lambda path: version(path.name))


def download(apt: Path, packages: Path) -> None:
    """Download the current kernels and the guest's programs with an apt of their own."""
    uri, keyring = mirror()
    sources = [f"deb [arch=arm64 signed-by={keyring}] {uri} {suite} main\n" for suite in SUITES]
    (apt / "sources.list").write_text("".join(sources), encoding="ascii")
    (apt / "status").touch()
    (apt / "apt.conf").write_text(
        'APT { Architecture "arm64"; Architectures "arm64"; Sandbox::User "root"; };\n'
        'Acquire::Languages "none";\n'
        f'Dir {{ State "{apt}"; State::status "{apt}/status"; Cache "{apt}";\n'
        f'Etc::sourcelist "{apt}/sources.list"; Etc::sourceparts "/dev/null"; }};\n',
        encoding="utf-8",
    )
    environment = {**os.environ, "APT_CONFIG": str(apt / "apt.conf")}
    run(["apt-get", "update", "-qq"], env=environment)
    text = run(["apt-cache", "show", KERNEL], env=environment)
    kernels = sorted(set(re.findall(r"^Depends: .*?(linux-image-\S+-arm64)", text, re.MULTILINE)))
    if len(kernels) < len(SUITES):
        raise GuestError(f"of {', '.join(SUITES)} only these kernels are known: {kernels}")
    run(["apt-get", "download", "-qq", *GUEST, *kernels], env=environment, cwd=packages)


def unpack(package: Path, target: Path, pattern: str) -> None:
    """Unpack some files: a kernel's modules would be four times the rest."""
    stream = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE)
    run(["tar", "-x", "-C", str(target), "--wildcards", pattern], stdin=stream.stdout)
    if stream.wait() != 0:
        raise GuestError(f"{package.name} cannot be unpacked")


def compile_python(folder: Path) -> None:
    """Spare the guest, which is fifty times slower, the compiling of what it imports."""
    if sys.version_info[:2] == PYTHON:
        # the guest's clock begins in 1970, so that time stamps would not fit
        compileall.compile_dir(
            folder, quiet=2, workers=0, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH
        )


def archive(root: Path, file: Path) -> None:
    """Write a folder as the kernel wants it."""
    names = "\n".join(sorted(str(path.relative_to(root)) for path in root.rglob("*")))
    with file.open("wb") as out:
        command = ["cpio", "-o", "-H", "newc", "--quiet", "-R", "0:0"]
        subprocess.run(command, input=names.encode(), stdout=out, cwd=root, check=True)


def initrd(cache: Path) -> Path:
    """Return the file system of the guest: the cached programs, then PACT as it is now."""
    overlay, file = cache / "overlay", cache / "initrd"
    shutil.rmtree(overlay, ignore_errors=True)
    shutil.copytree(SOURCE, overlay / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (overlay / "t").mkdir()
    compile_python(overlay / "src")
    shutil.copy(HERE / "init", overlay)
    shutil.copy(HERE / "inside.py", overlay / "t")
    target = ["-pthread", str(HERE / "target.c"), "-o", str(overlay / "t/target")]
    run([COMPILER, "-Wall", "-O1", "-static", *target])
    archive(overlay, cache / "overlay.cpio")
    with file.open("wb") as out:  # the kernel unpacks one archive after the other
        for part in ("root.cpio", "overlay.cpio"):
            with (cache / part).open("rb") as archived:
                shutil.copyfileobj(archived, out)
    return file


# --- the guests -------------------------------------------------------------------------------


def boot(kernel: Path, file: Path, cache: Path) -> Guest:
    """Start a guest, which switches itself off."""
    guest = Guest(kernel, cache / f"console-{kernel.name.removeprefix('vmlinuz-')}.log")
    # -cpu max brings the PMU; its pointer authentication is slow unless it may be a toy
    machine = ["-M", "virt", "-cpu", "max,pauth-impdef=on", "-smp", str(CPUS), "-m", "1024"]
    image = ["-kernel", str(kernel), "-initrd", str(file), "-icount", ICOUNT]
    append = ["-append", "console=ttyAMA0 quiet panic=-1 rdinit=/init"]
    with guest.console.open("wb") as console:
        guest.process = subprocess.Popen(
            [QEMU, *machine, *image, *append, "-nographic", "-no-reboot", "-net", "none"],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
        )
    return guest


def wait(guests: list[Guest]) -> None:
    """Wait until all have switched off."""
    running = list(guests)
    try:
        while running:
            time.sleep(0.2)
            for guest in list(running):
                guest.took_s = time.monotonic() - guest.began_s
                if guest.process.poll() is not None:
                    running.remove(guest)
                elif guest.took_s > LONGEST_S:
                    raise GuestError(f"{guest.release} is not done after {LONGEST_S:.0f} s")
    finally:
        for guest in running:
            guest.process.kill()
            guest.process.wait()


def report(guests: list[Guest]) -> int:
    """Print what was found; return 0 where everything was as it should be."""
    if not guests:
        raise GuestError("no kernel of that release")
    wait(guests)
    qemu = run([QEMU, "--version"]).split("version ")[1].split()[0]
    print(f"QEMU {qemu}, aarch64, {CPUS} CPUs, -icount {ICOUNT}")
    failures = 0
    for guest in guests:
        text = guest.console.read_text(encoding="utf-8", errors="replace").replace("\r", "")
        rows = [json.loads(line[4:]) for line in text.splitlines() if line.startswith("PMU {")]
        bad = [row for row in rows if row["result"] == "FAILED"]
        code = re.search(r"^RC=(\d+)$", text, re.MULTILINE)
        print(
            f"\nLinux {guest.release}: {len(rows)} checks, {len(bad)} failed, {guest.took_s:.0f} s"
        )
        for row in rows:
            print(f"  {row['result']:7} {row['check']}")
            print(
                textwrap.fill(row["detail"], 100, initial_indent=INDENT, subsequent_indent=INDENT)
            )
        failures += len(bad)
        if code is None or int(code[1]) != bool(bad) or not rows:
            failures += 1
            print(f"  FAILED  the guest did not come to its end; its last words ({guest.console}):")
            print("    " + "\n    ".join(text.splitlines()[-25:]))
    return 1 if failures else 0


def version(name: str) -> list[int]:
    """Return the numbers in a name, to sort by."""
    return [int(number) for number in re.findall(r"\d+", name)]


def run(command: list[str], **options: object) -> str:
    """Run a command and return what it prints."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, **options)
    if done.returncode != 0:
        raise GuestError(f"{' '.join(command)} ended with {done.returncode}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
