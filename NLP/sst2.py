"""SST-2: from the Stanford Sentiment Treebank's trees or a TSV, in the original study's folds.

The study's file is the treebank's training, development and test sentences in that order, without
the neutral ones, a line ``id TAB sentence TAB class`` each. Its splitter took the first line for a
header: of 9 613 sentences 9 612 are used. The treebank's archive may have the sentences of each
part in another order than that file: then its folds hold other ones. <https://nlp.stanford.edu/sentiment/>
"""

import csv
import random
import re
import zipfile
from pathlib import Path

import numpy as np

from pactmeter.errors import ConfigError, FileError
from pactmeter.study.fetch import Remote

ARCHIVE = Remote(
    "trainDevTestTrees_PTB.zip",
    ("https://nlp.stanford.edu/sentiment/trainDevTestTrees_PTB.zip",),
    789_539,
    "5c613a4f673fc74097d523a2c83f38e0cc462984d847b82c7aaf36b01cbbbfcc",
)
COUNTS = {"train": 6920, "dev": 872, "test": 1821}
FOLDS = 5
ESCAPES = {"-LRB-": "(", "-RRB-": ")", r"\/": "/", r"\*": "*"}
GOOD = ["great", "superb", "moving", "funny", "delightful"]
BAD = ["dull", "awful", "clumsy", "tedious", "hollow"]
PLAIN = ["the", "film", "a", "story", "of", "its", "cast", "and", "with", "some", "scenes", "that"]


def read_trees(path):
    """Return the sentences of the treebank's archive as rows of id, sentence and class."""
    rows = []
    try:
        with zipfile.ZipFile(path) as archive:
            for part, count in COUNTS.items():
                lines = archive.read(f"trees/{part}.txt").decode().splitlines()
                found = [tree(line) for line in lines if not line.startswith("(2 ")]
                if len(found) != count:
                    raise FileError(f"{path} has {len(found)} sentences in {part}, not {count}")
                rows += found
    except (OSError, KeyError, UnicodeDecodeError, zipfile.BadZipFile) as error:
        raise FileError(f"{path} is not the treebank's archive: {error}") from error
    return [(number, *row) for number, row in enumerate(rows)]


def tree(line):
    """Return a tree's sentence and its class: 1 where its root says 3 or 4, else 0.

    >>> tree("(3 (2 A) (4 (3 great) (2 film)))")
    ('A great film', 1)
    """
    words = re.findall(r"\(\d ([^()\s]+)\)", line)
    for escape, meant in ESCAPES.items():
        words = [word.replace(escape, meant) for word in words]
    return " ".join(words), int(line[1] in "34")


def read_tsv(path):
    """Return the rows of a file: id, sentence, class."""
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            rows = [(row[0].strip(), *row[1:]) for row in csv.reader(file, delimiter="\t") if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileError(f"cannot read {path}: {error}") from error
    for number, row in enumerate(rows, 1):
        if len(row) != 3:
            raise FileError(f"{path}, line {number}: {len(row)} columns, not id, text and label")
    if len({row[2] for row in rows}) < 2:
        raise FileError(f"{path} does not have two classes")
    return rows


def write_tsv(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows(rows)


def fold(rows, number, folds=FOLDS):
    """Return the rows to train on and those to test on, of fold `number` (from 1).

    These are scikit-learn's ``KFold(folds, shuffle=True, random_state=0)``, which cut the study's
    folds, less the first row, which was taken for a header.
    """
    if not 1 <= number <= folds:
        raise ConfigError(f"there is no fold {number}", f"1 to {folds}")
    rows = rows[1:]
    order = np.arange(len(rows))
    np.random.RandomState(0).shuffle(order)
    test = set(np.array_split(order, folds)[number - 1].tolist())
    parts = [], []
    for index, row in enumerate(rows):
        parts[index in test].append(row)
    return parts


def make(path, count):
    """Write a TSV of made-up sentences, in which words of praise or blame tell the class."""
    chance = random.Random(0)
    rows = []
    for number in range(count + 1):
        label = chance.randrange(2)
        words = chance.choices(PLAIN, k=chance.randint(4, 20))
        for _ in range(3):
            words.insert(chance.randint(0, len(words)), chance.choice(GOOD if label else BAD))
        rows.append((number, " ".join(words), label))
    write_tsv(path, rows)
    return path
