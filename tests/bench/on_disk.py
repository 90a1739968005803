"""The emulated machine's tree as plain files, for sensors that read a sysfs elsewhere."""

import shutil
import stat

from pactmeter.bench.tree import Attribute, Directory, Link


class Moment:
    """A clock that the test sets."""

    def __init__(self, now_s=0.0):
        self.now_s = now_s

    def __call__(self):
        return self.now_s


def write_out(tree, folder):
    """Write what the tree shows at this moment, in place of what was written before."""
    for entry in folder.iterdir():
        shutil.rmtree(entry)
    _write(tree.root.children["sys"], folder / "sys")
    return folder / "sys"


def _write(directory, folder):
    folder.mkdir(exist_ok=True)
    for name, entry in directory.children.items():
        path = folder / name
        if isinstance(entry, Directory):
            _write(entry, path)
        elif isinstance(entry, Link):
            path.symlink_to(entry.target.decode())
        elif isinstance(entry, Attribute):
            path.write_bytes(entry.value())
            path.chmod(stat.S_IMODE(entry.mode))


def shown(tree, path):
    """Return what a file of the tree holds now; links are followed."""
    done = []
    words = path.split("/")
    while words:
        done.append(words.pop(0))
        entry = tree._find("/".join(done))
        if isinstance(entry, Link):
            done.pop()
            for word in entry.target.decode().split("/"):
                if word == "..":
                    done.pop()
                else:
                    done.append(word)
            words, done = done + words, []
    return tree._find("/".join(done)).value().decode()
