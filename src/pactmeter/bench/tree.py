"""The files that the emulated machine shows: a plain data structure, changed while it is served."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pactmeter.bench.hidraw import HidrawNode

ROOT_NUMBER = 1
"""Inode number of the root, as FUSE wants it."""


class Entry:
    """Anything that has a name in the tree.

    Attributes:
        number: Inode number. It is never given away twice, so that what the kernel remembers of
            an entry that was removed can not be taken for another.
        mode: File type and permissions, as in ``st_mode``.
        uid: Owner.
        gid: Group.
        removed: Whether it has left the tree; files that are still open notice.
    """

    __slots__ = ("gid", "mode", "number", "removed", "uid")

    def __init__(self, number: int, mode: int) -> None:
        self.number = number
        self.mode = mode
        self.uid = 0
        self.gid = 0
        self.removed = False

    @property
    def size(self) -> int:
        """Return the size that stat(2) shows."""
        return 0


class Directory(Entry):
    """A directory."""

    __slots__ = ("children",)

    def __init__(self, number: int, mode: int) -> None:
        super().__init__(number, stat.S_IFDIR | mode)
        self.children: dict[str, Entry] = {}


class Attribute(Entry):
    """A small file as in sysfs: its text is made when it is read."""

    __slots__ = ("text",)

    def __init__(self, number: int, mode: int, text: str | bytes | Callable[[], str]) -> None:
        super().__init__(number, stat.S_IFREG | mode)
        self.text = text.encode() if isinstance(text, str) else text

    @property
    def size(self) -> int:
        """Return the size that sysfs shows for every attribute, whatever it holds."""
        return 4096

    def value(self) -> bytes:
        """Return the text of this moment.

        Raises:
            OSError: What read(2) is to fail with.
        """
        return self.text if isinstance(self.text, bytes) else self.text().encode()


class Link(Entry):
    """A symbolic link."""

    __slots__ = ("target",)

    def __init__(self, number: int, target: str) -> None:
        super().__init__(number, stat.S_IFLNK | 0o777)
        self.target = target.encode()

    @property
    def size(self) -> int:
        """Return the length of the target."""
        return len(self.target)


class NodeFile(Entry):
    """A device node; a regular file as far as stat(2) can tell."""

    __slots__ = ("node",)

    def __init__(self, number: int, mode: int, node: HidrawNode) -> None:
        super().__init__(number, stat.S_IFREG | mode)
        self.node = node


class Tree:
    """The files shown; paths are relative to the root, such as ``sys/class/hidraw/hidraw3``.

    What is added under a name that exists takes its place; only directories stay as they are.
    """

    def __init__(self) -> None:
        self.root = Directory(ROOT_NUMBER, 0o755)
        self._entries: dict[int, Entry] = {ROOT_NUMBER: self.root}
        self._last_number = ROOT_NUMBER

    def add_dir(self, path: str, mode: int = 0o755) -> None:
        """Add a directory, and its parents."""
        parent, name = self._parent(path)
        if not isinstance(parent.children.get(name), Directory):
            self._put(parent, name, Directory(self._next_number(), mode))

    def add_text(self, path: str, text: str | bytes | Callable[[], str], mode: int = 0o444) -> None:
        """Add an attribute file.

        Args:
            path: Where.
            text: What it holds. A callable is asked at each read from the file's beginning; an
                OSError that it raises is what that read fails with.
            mode: Permissions. As in sysfs, root too can not open what nobody may open.
        """
        self._put(*self._parent(path), Attribute(self._next_number(), mode, text))

    def add_link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self._put(*self._parent(path), Link(self._next_number(), target))

    def add_node(self, path: str, node: HidrawNode, mode: int = 0o600) -> None:
        """Add a device node."""
        self._put(*self._parent(path), NodeFile(self._next_number(), mode, node))

    def remove(self, path: str) -> None:
        """Remove an entry and all below it; what is still open fails with ENODEV.

        Raises:
            FileNotFoundError: There is none.
        """
        entry = self._find(path)
        parent, name = self._parent(path)
        del parent.children[name]
        self._drop(entry)

    def set_mode(self, path: str, mode: int) -> None:
        """Change the permissions of an entry.

        Raises:
            FileNotFoundError: There is none.
        """
        entry = self._find(path)
        entry.mode = stat.S_IFMT(entry.mode) | mode

    def exists(self, path: str) -> bool:
        """Return whether there is an entry; links are not followed."""
        try:
            self._find(path)
        except FileNotFoundError:
            return False
        return True

    def entry(self, number: int) -> Entry | None:
        """Return the entry with an inode number; one that was removed too, which may be open."""
        return self._entries.get(number)

    def _next_number(self) -> int:
        self._last_number += 1
        return self._last_number

    def _find(self, path: str) -> Entry:
        entry: Entry = self.root
        for name in path.split("/"):
            if not isinstance(entry, Directory) or name not in entry.children:
                raise FileNotFoundError(path)
            entry = entry.children[name]
        return entry

    def _parent(self, path: str) -> tuple[Directory, str]:
        """Return the directory that a path lies in, made if need be, and the last name."""
        *above, last = path.split("/")
        here = self.root
        for name in above:
            child = here.children.get(name)
            if child is None:
                child = Directory(self._next_number(), 0o755)
                self._put(here, name, child)
            if not isinstance(child, Directory):
                raise NotADirectoryError(path)
            here = child
        if not last:
            raise FileNotFoundError(path)
        return here, last

    def _put(self, parent: Directory, name: str, entry: Entry) -> None:
        before = parent.children.get(name)
        if before is not None:
            self._drop(before)
        parent.children[name] = entry
        self._entries[entry.number] = entry

    def _drop(self, entry: Entry) -> None:
        entry.removed = True
        if isinstance(entry, Directory):
            for child in entry.children.values():
                self._drop(child)
            entry.children.clear()
