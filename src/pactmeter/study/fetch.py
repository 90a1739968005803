"""Files that studies download: resumed where they stopped, used only if size and SHA-256 fit."""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import re
import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pactmeter.errors import FileError
from pactmeter.study.script import say

if TYPE_CHECKING:
    from pathlib import Path

CHUNK = 1 << 18
TIMEOUT_S = 30.0
TRIES = 4
"""A connection that breaks is taken up again so often, a server's file after the other."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A file that is known to the byte.

    Attributes:
        name: Its name.
        urls: Where it is; the second and further ones are mirrors.
        size: Its size, in bytes.
        sha256: Its SHA-256, in hexadecimal.
    """

    name: str
    urls: tuple[str, ...]
    size: int
    sha256: str


def fetch(remote: Remote, folder: Path) -> Path:
    """Return the file's path, once it is there whole; a copy that is there is checked again.

    What has been received stays as ``NAME.part`` where the download stops, and is continued by the
    next. Two processes that want the same file wait for one another.

    Raises:
        FileError: There is no network or no room, or what came is another file.
    """
    path, part = folder / remote.name, folder / f"{remote.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{remote.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists():
                return _checked(remote, path)
            _need_room(remote, part)
            _download(remote, part)
            _checked(remote, part).replace(path)
    except OSError as error:  # of the disk: those of the network are told where they happen
        raise FileError(
            f"cannot keep {remote.name} in {folder}: {error}", "name another folder: --data FOLDER"
        ) from error
    return path


def _checked(remote: Remote, path: Path) -> Path:
    size = path.stat().st_size
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if (size, sha256) == (remote.size, remote.sha256):
        return path
    if path.suffix == ".part":
        path.unlink()  # else the next download would go on with what is wrong
        kept = "it was removed; try again, or later where the server is at fault"
    else:
        kept = f"remove {path}, and it is downloaded again"
    raise FileError(
        f"{remote.name} is not the file it should be: {size} bytes with SHA-256 {sha256}, expected"
        f" {remote.size} with {remote.sha256}",
        kept,
    )


def _need_room(remote: Remote, part: Path) -> None:
    missing = remote.size - (part.stat().st_size if part.exists() else 0)
    free = shutil.disk_usage(part.parent).free
    if free < missing:
        raise FileError(
            f"no room for {remote.name} in {part.parent}: {missing / 1e6:.0f} MB are to come,"
            f" {free / 1e6:.0f} MB are free",
            "make room, or name another folder: --data FOLDER",
        )


def _download(remote: Remote, part: Path) -> None:
    """Receive what is missing, from one server after the other."""
    told: list[str] = []
    for number in range(max(TRIES, len(remote.urls)) + 1):
        if part.exists() and part.stat().st_size >= remote.size:
            return
        url = remote.urls[number % len(remote.urls)]
        try:
            _receive(remote, url, part)
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError) as error:
            told.append(f"{url}: {getattr(error, 'reason', None) or error}")
        except ConnectionError as error:
            told.append(f"{url}: {error}")
    have = part.stat().st_size if part.exists() else 0
    raise FileError(
        f"cannot download {remote.name}: {have} of {remote.size} bytes came"
        + "".join(f"\n  {line}" for line in dict.fromkeys(told)),
        f"look at the network and run it again (it goes on where it stopped), or put the file into"
        f" {part.parent}",
    )


def _receive(remote: Remote, url: str, part: Path) -> None:
    """Receive what is missing over one connection, however much that gives."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "pactmeter"})  # noqa: S310  ours
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
        start = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range") or "")
        goes_on = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        if goes_on and (start is None or int(start[1]) != have):
            raise http.client.HTTPException(f"asked from byte {have}, but it begins elsewhere")
        have = have if goes_on else 0  # a server that knows no ranges begins at the beginning
        say(f"downloading {url} from byte {have} of {remote.size}")
        told = have
        with part.open("ab" if goes_on else "wb") as file:
            while have < remote.size and (some := answer.read(min(CHUNK, remote.size - have))):
                file.write(some)
                have += len(some)
                if have - told >= remote.size / 10:
                    told = have
                    say(f"  {have / 1e6:.0f} of {remote.size / 1e6:.0f} MB")
