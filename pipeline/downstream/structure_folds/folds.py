"""What every base-pair task hands to the evaluation: RNAs, and folds over them."""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..structures.records import StructureRecord

StructureTask = Literal["families", "intra-family", "out-of-family"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fold:
    """One part that is scored, and what is fitted for it; RNAs are indices into the records.

    Folds with the same training and validation RNAs share one fit.
    """

    part: str
    """The held-out family, or the test set: what the table calls it."""
    test: tuple[int, ...]
    train: tuple[int, ...]
    validation: tuple[int, ...]
    held_out_family: str = ""
    """Whose structures the fit may not have seen; empty where a test set is no family."""
    num_shared: int = 0
    """RNAs left out of the fit: their sequence is in the held-out family."""
    num_repeats: int = 0
    """RNAs left out of the fit: an earlier one has the same sequence."""
    num_test_repeats: int = 0
    """Tested RNAs whose sequence another tested RNA has; they stay, as published."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Benchmark:
    """RNAs with known structures, the folds over them, and the files they came from."""

    task: StructureTask
    title: str
    name: str
    """Of the data: goes into the signature."""
    sources: Mapping[str, str]
    """sha256 of each file, or set of files, by its name."""
    records: Sequence[StructureRecord]
    folds: Sequence[Fold]
    is_partial: bool = False
    """Whether only some of the parts are evaluated."""
    notes: tuple[str, ...] = ()
    """What a reader has to know of how the RNAs were chosen."""

    @property
    def sha256(self) -> str:
        """Hash of the file, or of the hashes of all."""
        if len(self.sources) == 1:
            return next(iter(self.sources.values()))
        text = "\n".join(f"{name} {value}" for name, value in self.sources.items())
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def parts(self) -> list[str]:
        """Names of the folds, in their order."""
        return [fold.part for fold in self.folds]


def draw_evenly(members: Mapping[str, Sequence[int]], limit: int) -> tuple[int, ...]:
    """The first RNA of each family, then the second of each, up to `limit`; 0 takes all."""
    rounds = itertools.zip_longest(*members.values())
    drawn = (index for each in rounds for index in each if index is not None)
    return tuple(itertools.islice(drawn, limit or None))


def hash_records(records: Sequence[StructureRecord]) -> str:
    """Hash of ids, sequences and pairs, in order."""
    digest = hashlib.sha256()
    for record in records:
        digest.update(f"{record.id}\t{record.sequence}\t".encode())
        digest.update(record.pairs_P2.tobytes() + b"\n")
    return digest.hexdigest()
