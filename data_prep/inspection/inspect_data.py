"""Single things of prepared data in words: a record, a cluster, a shard, an RNA type."""

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..dedup import hash_sequence
from ..filters import NUCLEOTIDES
from ..merged import read_merged
from ..shards import (
    MANIFEST_NAME,
    SPLITS,
    UNKNOWN_RNA_TYPE,
    Split,
    hash_file,
    open_split,
    read_manifest,
)
from .find_records import (
    MAX_CLOSE,
    Place,
    find_cluster,
    find_record,
    iter_shards,
    read_cluster_names,
)
from .identity import find_identity, reverse_complement

LINE_NT, GROUP_NT = 60, 10
MAX_SHOWN = 50
"""Members of a cluster that are listed and aligned."""
ANTISENSE_MARGIN = 0.1
"""A member is called antisense if it is more alike by so much on the other strand."""


def describe_record(folder: Path, name: str) -> str:
    """Return a record, by its identifier, else by `train:17`, else by a number within train."""
    places = find_record(folder, name)
    split = open_split(folder, places[0].split)
    number = places[0].number
    first, last = _find_cluster_of(split, number)
    letters = split.sequence(number).tobytes()
    role = (
        "this is its representative"
        if number == first
        else f"its representative is {split.id(first)}"
    )
    cluster = f"{split.cluster(number)}, {_count(last - first, 'record')}; {role}"
    facts = {
        "record": f"{places[0]}{'' if split.id(number) == name else ', by its number'}",
        "id": split.id(number),
        "source": split.source(number),
        "RNA type": (rna_type := split.rna_types[split.rna_type_ids[number]]),
        "cluster": cluster,
        "length": f"{len(letters):,} nt, {len(letters.translate(None, NUCLEOTIDES))} ambiguous",
    }
    if (names := read_cluster_names(folder)) is not None:
        facts["its name"] = names[split.cluster(number)].tobytes().hex()
    if others := [str(place) for place in places[1:]]:
        facts["same id"] = _list(others)
    if merged := _list_merged(folder, letters, rna_type):
        facts["merged"] = f"{_count(len(merged), 'duplicate')}: {_list(merged)}"
    lines = [f"{key:<10}{value}" for key, value in facts.items()]
    return "\n".join([*lines, "", *_wrap(letters.decode()), ""])


def describe_cluster(folder: Path, cluster: int) -> str:
    """Return a cluster's members with their identity to the representative, which is the first."""
    split, first, last = find_cluster(folder, cluster)
    shown = range(first, min(last, first + MAX_SHOWN))
    lengths = split.lengths_nt[first:last]
    head = (
        f"cluster {cluster}: {_count(last - first, 'record')} of {split.split}, "
        f"{int(lengths.sum()):,} nt, {lengths.min():,} to {lengths.max():,} nt each"
    )
    representative = split.sequence(first).tobytes()
    names = read_cluster_names(folder)
    name = [] if names is None else [f"name {names[cluster].tobytes().hex()}, also after --update"]
    rows = [("record", "nt", "identity", "strand", "RNA type", "id")]
    for number in shown:
        letters = split.sequence(number).tobytes()
        same = find_identity(letters, representative)
        other = find_identity(reverse_complement(letters), representative)
        is_antisense = other > same + ANTISENSE_MARGIN
        rows.append(
            (
                str(Place(split.split, number)),
                f"{len(letters):,}",
                f"{100 * max(other if is_antisense else same, 0):.1f} %",
                "-" if is_antisense else "+",
                split.rna_types[split.rna_type_ids[number]],
                split.id(number),
            )
        )
    notes = [
        "",
        "identity: letters of the shorter that match where it lies best in the longer, over its "
        "length; against the first, the representative",
    ]
    if last - first > MAX_SHOWN:
        notes.insert(0, f"and {last - first - MAX_SHOWN:,} more")
    return "\n".join([head, *name, "", *_align(rows, right={1, 2}), *notes, ""])


def describe_shard(folder: Path, name: str) -> str:
    """Return what a shard holds, and whether it is as the manifest says."""
    manifest = read_manifest(folder)
    entries = {
        Path(e["file"]).name: (s, e) for s in SPLITS for e in manifest["splits"][s]["shards"]
    }
    if Path(name).name not in entries:
        raise ValueError(f"no shard {name!r} in {folder}; {_suggest(Path(name).name, entries)}")
    split_name, entry = entries[Path(name).name]
    path = folder / entry["file"]
    sha256 = hash_file(path)
    is_right = sha256 == entry["sha256"]
    facts: dict[str, Any] = {
        "shard": f"{entry['file']} ({split_name})",
        "bytes": f"{path.stat().st_size:,}",
        "sha256": f"{sha256}, {'as' if is_right else 'NOT as'} in {MANIFEST_NAME}",
    }
    lines = [f"{key:<10}{value}" for key, value in facts.items()]
    if not is_right:
        return "\n".join([*lines, f"{'in manifest':<10} {entry['sha256']}", ""])
    first = next(f for f, e, _ in iter_shards(folder, split_name) if e["file"] == entry["file"])
    last = first + entry["records"] - 1
    split = open_split(folder, split_name)
    lengths = split.lengths_nt[first : last + 1]
    lines += [
        f"{'records':<10}{entry['records']:,} in {_count(entry['clusters'], 'cluster')}",
        f"{'nt':<10}{entry['nt']:,}; {_describe_lengths(lengths)}",
        *(
            f"{key:<10}{Place(split_name, i)}  {split.id(i)}  cluster {split.cluster(i)}"
            for key, i in (("first", first), ("last", last))
        ),
        "",
        *_describe_types(split, first, last + 1),
    ]
    return "\n".join([*lines, ""])


def describe_type(folder: Path, name: str) -> str:
    """Return how much there is of an RNA type, its largest clusters and its first records."""
    splits = [open_split(folder, split) for split in SPLITS]
    names = splits[0].rna_types
    if name not in names:
        raise ValueError(f"no RNA type {name!r} in {folder}; {_suggest(name, names)}")
    total = sum(split.num_nt for split in splits)
    lines = [f"RNA type  {name}"]
    for split in splits:
        records = np.flatnonzero(split.rna_type_ids == names.index(name))
        starts = split.cluster_starts[:-1]
        own = np.flatnonzero(split.rna_type_ids[starts] == names.index(name))
        lengths = split.lengths_nt[records]
        nt = int(lengths.sum(dtype=np.int64))
        lines += [
            "",
            f"{split.split}: {_count(len(records), 'record')}, {_count(len(own), 'cluster')} by "
            f"representative, {nt:,} nt ({100 * nt / total:.2f} % of all)",
        ]
        if len(records):
            lines.append(f"  lengths   {_describe_lengths(lengths)}")
            first = [
                f"{Place(split.split, int(i))} {split.id(int(i))}" for i in records[:MAX_CLOSE]
            ]
            lines.append(f"  first     {', '.join(first)}")
        if len(own):
            sizes = np.diff(split.cluster_starts)[own]
            largest = np.argsort(-sizes, kind="stable")[:MAX_CLOSE]
            clusters = [f"{split.cluster(int(starts[own[i]]))} ({sizes[i]:,})" for i in largest]
            lines.append(f"  clusters  largest {', '.join(clusters)}")
    return "\n".join([*lines, ""])


def _list_merged(folder: Path, letters: bytes, rna_type: str) -> list[str]:
    """Return the duplicates that a kept record stands for: sources, and types that are not its."""
    names = []
    for merged in read_merged(folder, hash_sequence(letters)):
        other = merged.rna_type not in (rna_type, UNKNOWN_RNA_TYPE)
        names.append(f"{merged.id} ({merged.source}{f', {merged.rna_type}' if other else ''})")
    return names


def _find_cluster_of(split: Split, number: int) -> tuple[int, int]:
    place = int(np.searchsorted(split.cluster_starts, number, side="right")) - 1
    return int(split.cluster_starts[place]), int(split.cluster_starts[place + 1])


def _describe_types(split: Split, first: int, stop: int) -> list[str]:
    types = split.rna_type_ids[first:stop]
    nt = np.bincount(types, weights=split.lengths_nt[first:stop], minlength=len(split.rna_types))
    records = np.bincount(types, minlength=len(split.rna_types))
    order = [int(i) for i in np.argsort(-nt, kind="stable") if records[i]]
    rows = [("RNA type", "records", "nt")]
    rows += [(split.rna_types[i], f"{records[i]:,}", f"{int(nt[i]):,}") for i in order[:10]]
    rest = [f"and {len(order) - 10} more types"] if len(order) > 10 else []
    return [*_align(rows, right={1, 2}), *rest]


def _describe_lengths(lengths: np.ndarray) -> str:
    return f"{lengths.min():,} to {lengths.max():,} nt, median {np.median(lengths):,.0f}"


def _suggest(name: str, known: Sequence[str] | dict[str, Any]) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, n=MAX_CLOSE, cutoff=0.5)
    inside = [other for other in names if name.casefold() in other.casefold()][:MAX_CLOSE]
    if near := list(dict.fromkeys([*inside, *close]))[:MAX_CLOSE]:
        return f"did you mean {', '.join(near)}?"
    return f"there are {_list(names)}"


def _wrap(sequence: str) -> Iterator[str]:
    """Yield lines of 60 letters in groups of 10, with the number of each line's first letter."""
    for start in range(0, len(sequence), LINE_NT):
        line = sequence[start : start + LINE_NT]
        groups = [line[i : i + GROUP_NT] for i in range(0, len(line), GROUP_NT)]
        yield f"{start + 1:>8}  {' '.join(groups)}"


def _align(rows: Sequence[Sequence[str]], *, right: set[int]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _list(names: Sequence[str]) -> str:
    rest = f" and {len(names) - 10:,} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + rest
