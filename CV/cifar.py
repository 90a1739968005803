"""CIFAR-10 from its binary archive, and an archive of made-up pictures in the same form.

A record is a byte for the class and 3 072 for the picture: its red, green and blue planes, row by
row. <https://www.cs.toronto.edu/~kriz/cifar.html>
"""

import io
import tarfile

import torch
from torch.nn import functional

from pactmeter.errors import FileError
from pactmeter.study.fetch import Remote

ARCHIVE = Remote(
    "cifar-10-binary.tar.gz",
    (
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "https://cave.cs.toronto.edu/kriz/cifar-10-binary.tar.gz",
    ),
    170_052_171,
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)
FOLDER = "cifar-10-batches-bin"
TRAINING = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST = ("test_batch.bin",)
RECORD = 1 + 3 * 32 * 32
MEAN = torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1)
SPREAD = torch.tensor([0.2023, 0.1994, 0.2010]).view(3, 1, 1)
"""Of the training pictures, as the original study has them."""


def read(path, names=TRAINING):
    """Return the pictures (bytes, N x 3 x 32 x 32) and their classes (N)."""
    raw = bytearray()
    try:
        with tarfile.open(path) as archive:
            for name in names:
                raw += archive.extractfile(f"{FOLDER}/{name}").read()
    except (OSError, EOFError, KeyError, tarfile.TarError) as error:
        raise FileError(f"{path} is no archive of CIFAR-10 in its binary form: {error}") from error
    if not raw or len(raw) % RECORD:
        raise FileError(f"{path} holds {len(raw)} bytes, not records of {RECORD}")
    records = torch.frombuffer(raw, dtype=torch.uint8).view(-1, RECORD)
    classes = records[:, 0].long()
    if classes.max() > 9:
        raise FileError(f"{path} holds a class {classes.max()}: CIFAR-10 has 0 to 9")
    return records[:, 1:].reshape(-1, 3, 32, 32), classes


def make(path, count):
    """Write an archive with `count` made-up training pictures and a fifth of that for the test.

    Each class has a coarse pattern of its own, under much noise: a model can learn them.
    """
    random = torch.Generator().manual_seed(0)
    patterns = torch.rand(10, 3, 4, 4, generator=random) * 150 + 30
    patterns = functional.interpolate(patterns, size=32)
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name in (*TRAINING, *TEST):
            classes = torch.randint(10, (-(-count // 5),), generator=random)
            noise = torch.randn(len(classes), 3, 32, 32, generator=random) * 25
            pictures = (patterns[classes] + noise).clamp(0, 255).byte().flatten(1)
            raw = torch.cat([classes.byte()[:, None], pictures], 1).numpy().tobytes()
            member = tarfile.TarInfo(f"{FOLDER}/{name}")
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    return path


class Augmented(torch.utils.data.Dataset):
    """Training pictures as the original study shows them: shifted, mirrored, normalised."""

    def __init__(self, pictures, classes):
        self.pictures, self.classes = pictures, classes

    def __len__(self):
        return len(self.classes)

    def __getitem__(self, index):
        top, left, mirrored = (int(torch.randint(n, ())) for n in (9, 9, 2))
        picture = functional.pad(self.pictures[index], (4, 4, 4, 4))
        picture = picture[:, top : top + 32, left : left + 32]
        if mirrored:
            picture = picture.flip(2)
        return (picture / 255 - MEAN) / SPREAD, self.classes[index]
