"""What partitions of published splits are called, and which folders of a path are partitions."""

from collections.abc import Mapping, Sequence
from typing import Literal

Role = Literal["train", "validation", "test"]
ROLES: Mapping[Role, tuple[str, ...]] = {
    "train": ("tr0", "train", "training"),
    "validation": ("vl0", "validation", "valid", "val", "dev"),
    "test": ("ts0", "test", "testing"),
}
"""What partitions are called, in any case."""
ROLE_OF: Mapping[str, Role] = {name: role for role, names in ROLES.items() for name in names}


def find_partition(folders: Sequence[str]) -> str:
    """The innermost of a file's folders that is called as a partition, else the innermost."""
    named = [folder for folder in folders if folder.lower() in ROLE_OF]
    return (named or [*folders] or [""])[-1]


def drop_partitions(folders: Sequence[str]) -> tuple[str, ...]:
    """A file's folders without those that are called as a partition."""
    return tuple(folder for folder in folders if folder.lower() not in ROLE_OF)
