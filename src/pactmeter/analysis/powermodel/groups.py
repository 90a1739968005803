"""Which workload a run is of, and which family: from options, else from the names of its files."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from pactmeter.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

_TRIAL = re.compile(r"[-_.]?(?:\d{8}T\d{6,9}|\d+)$")


def parse_group(text: str) -> tuple[str, str, str]:
    """Return family, workload and pattern of ``FAMILY/WORKLOAD=PATTERN`` or ``NAME=PATTERN``.

    >>> parse_group("cpu/cpu_25=runs/cpu_25_*")
    ('cpu', 'cpu_25', 'runs/cpu_25_*')
    """
    names, equals, pattern = text.partition("=")
    family, _, workload = names.rpartition("/")
    if not equals or not pattern or not workload:
        raise ConfigError(
            f"{text!r} names no group of runs", "--group cpu/cpu_25='runs/cpu_25_*', family first"
        )
    return family or workload, workload, pattern


def group_of(file: str, wanted: Sequence[tuple[str, str, str]] = ()) -> tuple[str, str]:
    """Return workload and family of a run: of the first pattern that fits, else from its name.

    The workload is the file's name (the folder's, where that is ``PACT.csv``) less ``_PACT`` and
    one number behind it, the trial; the family is the workload's first word.

    >>> group_of("PACTData/cpu_25_200_3_PACT.csv"), group_of("runs/gpu-2/PACT.csv")
    (('cpu_25_200', 'cpu'), ('gpu', 'gpu'))
    """
    path = Path(file)
    for family, workload, pattern in wanted:
        if fnmatchcase(file, pattern) or fnmatchcase(path.name, pattern):
            return workload, family
    stem = re.sub(r"[-_.]?PACT([-_.]?\d[\dT]*)?$", "", path.stem)
    workload = _TRIAL.sub("", stem or path.absolute().parent.name) or path.stem
    words = re.match(r"[^\W\d_]+", workload)
    return workload, words[0] if words else workload
