"""Which GPUs a program sees, after ``CUDA_VISIBLE_DEVICES`` (CUDA C++ Programming Guide).

CUDA takes the list up to the first entry that names no device, and numbers what is left anew. An
entry is an index, ``GPU-<uuid>`` or the start of one, or the identity of a MIG slice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(slots=True)
class Visible:
    """What the program sees.

    Attributes:
        whole: NVML indices of the GPUs it was given.
        partitioned: NVML indices of those of which it was given a MIG slice only.
        invalid: The first entry that names no device; None if all do.
        by_index: Whether the list names GPUs by index.
    """

    whole: set[int] = field(default_factory=set)
    partitioned: set[int] = field(default_factory=set)
    invalid: str | None = None
    by_index: bool = False


def visible(
    setting: str | None,
    uuids: Mapping[int, str],
    count: int,
    parent_of: Callable[[str], str | None],
) -> Visible:
    """Return which GPUs are visible under a value of ``CUDA_VISIBLE_DEVICES``.

    Args:
        setting: The variable's value; None where it is not set: all GPUs are visible.
        uuids: UUID of each GPU that may be used, by NVML's index.
        count: Number of GPUs there are; those that are not in ``uuids`` are asleep.
        parent_of: Gives the UUID of the GPU that a MIG slice is part of, None if there is none.
    """
    if setting is None:
        return Visible(whole=set(uuids))
    found = Visible()
    for entry in (part.strip() for part in setting.split(",")):
        if entry in ("", "-1"):
            break  # the documented ways to end the list
        is_slice = entry.startswith("MIG-")
        if entry.isdecimal():
            found.by_index = True
            index = int(entry) if int(entry) < count else None
        else:
            uuid = parent_of(entry) if is_slice else entry
            index = _by_prefix(uuid, uuids)
        if index is None and (len(uuids) == count or entry.isdecimal()):
            found.invalid = entry
            break
        # Else the entry may name a GPU that sleeps, whose UUID cannot be asked for.
        if index is not None and index in uuids:
            (found.partitioned if is_slice else found.whole).add(index)
    return found


def _by_prefix(uuid: str | None, uuids: Mapping[int, str]) -> int | None:
    """Return the index of the one GPU whose UUID begins so; None if there is none, or several."""
    if not uuid or not uuid.startswith("GPU-"):
        return None
    matches = [index for index, known in uuids.items() if known.startswith(uuid)]
    return matches[0] if len(matches) == 1 else None
