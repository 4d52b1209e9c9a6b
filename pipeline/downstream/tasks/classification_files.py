"""ncRNAs with a class each: the embedded sample, 13 classes, riboswitches, Rfam's seeds."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..sequence_tasks.task_files import iter_rows, open_text, read_sequence

MIN_MEMBERS = 10
"""Sequences a family needs; and families a type needs, for some to be held out."""


class LabelledRow(NamedTuple):
    """One sequence as a file has it."""

    id: str
    sequence: str
    label: str
    group: str = ""
    part: str = ""


def drop_copies(rows: Sequence[LabelledRow]) -> tuple[list[LabelledRow], list[str]]:
    """The first of each sequence; sequences with two labels go altogether."""
    labels: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        labels[row.sequence].add(row.label)
    first = {row.sequence: row for row in reversed(rows)}
    kept = [row for row in reversed(first.values()) if len(labels[row.sequence]) == 1]
    num_torn = sum(len(ones) > 1 for ones in labels.values())
    if len(kept) == len(rows):
        return kept, []
    return kept, [
        f"{len(rows) - len(first):,} copies and {num_torn:,} sequences of two classes left out"
    ]


def drop_small(
    rows: Sequence[LabelledRow], *, by_group: bool
) -> tuple[list[LabelledRow], list[str]]:
    """Drop classes with fewer than ten sequences; or types with fewer than ten families."""
    members = {(row.label, row.group if by_group else row.id) for row in rows}
    sizes = Counter(label for label, _ in members)
    kept = [row for row in rows if sizes[row.label] >= MIN_MEMBERS]
    small = sorted(label for label, size in sizes.items() if size < MIN_MEMBERS)
    if not small:
        return kept, []
    unit = "families" if by_group else "sequences"
    return kept, [
        f"{len(small):,} classes of fewer than {MIN_MEMBERS} {unit} left out, with "
        f"{len(rows) - len(kept):,} sequences"
    ]


def read_sample(path: Path) -> list[LabelledRow]:
    """The embedded FASTA, `family=` in each header."""
    rows: list[LabelledRow] = []
    name = family = ""
    with open_text(path) as lines:
        for number, line in enumerate(lines, start=1):
            if line.startswith(">"):
                name, *fields = line[1:].split()
                family = next(one[7:] for one in fields if one.startswith("family="))
            else:
                rows.append(LabelledRow(name, read_sequence(line, f"{path}:{number}"), family))
    return rows


def read_nrc(path: Path) -> list[LabelledRow]:
    """The 13 classes with their published partitions."""
    return [
        LabelledRow(
            row["id"],
            read_sequence(row["sequence"], f"{path}:{number}"),
            row["class"],
            part=row["partition"],
        )
        for number, row in iter_rows(path, ("id", "partition", "class", "sequence"))
    ]


def read_riboswitches(path: Path) -> list[LabelledRow]:
    """Members of riboswitch families; the accession is the class."""
    return [
        LabelledRow(row["id"], read_sequence(row["sequence"], f"{path}:{number}"), row["rfam_acc"])
        for number, row in iter_rows(path, ("rfam_acc", "id", "sequence"))
    ]


def read_rfam(path: Path, *, by_type: bool) -> list[LabelledRow]:
    """Seeds of families with ten members or more; a family is the class, or the group of one."""
    rows = [
        LabelledRow(
            f"{row['rfam_acc']}/{row['seq_id']}",
            read_sequence(row["sequence"], f"{path}:{number}"),
            row["type"] if by_type else row["rfam_acc"],
            group=row["rfam_acc"],
        )
        for number, row in iter_rows(path, ("rfam_acc", "type", "seq_id", "sequence"))
    ]
    sizes = Counter(row.group for row in rows)
    kept = [row for row in rows if sizes[row.group] >= MIN_MEMBERS]
    return kept if by_type else [row._replace(group="") for row in kept]
