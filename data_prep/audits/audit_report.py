"""What an audit found, benchmark by benchmark and family by family: rows, tables, printed text."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .benchmarks import BenchmarkRecord
from .leakage import Corpus, Neighbours

THRESHOLDS = (0.7, 0.8, 0.9, 1.0)
ALL = "all"
MAX_PRINTED_FAMILIES = 12
MAX_NAME = 32
NEIGHBOUR_COLUMNS = (
    *("benchmark", "family", "id", "length_nt", "status", "identity", "coverage", "nearness"),
    *("identity_at_coverage", "strand", "record_id", "record_split", "record_rna_type"),
    *("record_length_nt", "record_coverage", "sequence"),
)


class Audited(NamedTuple):
    """The records of the benchmarks, each with its place among the distinct sequences."""

    records: Sequence[BenchmarkRecord]
    places: NDArray[np.int64]
    found: Neighbours
    statuses: NDArray[np.str_]
    """A `leakage.Status` for each distinct sequence."""


def summarise(audited: Audited) -> list[dict[str, Any]]:
    """Return a row for each benchmark (family `all`) and each of its families, largest first."""
    groups: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, record in enumerate(audited.records):
        groups[record.benchmark][record.family].append(number)
    rows = []
    for benchmark, families in groups.items():
        everyone = [number for members in families.values() for number in members]
        rows.append(_summarise_group(audited, benchmark, ALL, everyone))
        for family, members in sorted(families.items(), key=lambda item: (-len(item[1]), item[0])):
            rows.append(_summarise_group(audited, benchmark, family, members))
    return rows


def _summarise_group(
    audited: Audited, benchmark: str, family: str, members: list[int]
) -> dict[str, Any]:
    places, found = audited.places[members], audited.found
    status = audited.statuses[places]
    # What chance offers to a sequence that cannot be searched for is no relative of it.
    identity = np.where(status == "not_searchable", 0, found.covered_identity[places])
    has_record = found.record[places] >= 0
    nearness = np.where(has_record, found.nearness[places], 0)
    grid = np.histogram2d(
        found.identity[places][has_record],
        found.coverage[places][has_record],
        bins=10,
        range=((0, 1), (0, 1)),
    )[0]
    return {
        "benchmark": benchmark,
        "family": family,
        "sequences": len(members),
        "distinct": len(np.unique(places)),
        "identical": int(np.count_nonzero(found.is_identical[places])),
        **{f"identity_{t}": int(np.count_nonzero(identity >= t)) for t in THRESHOLDS},
        "antisense": int(np.count_nonzero(found.is_reverse[places] & (status == "found"))),
        "none": int(np.count_nonzero(status == "none")),
        "not_searchable": int(np.count_nonzero(status == "not_searchable")),
        "median_nearness": round(float(np.median(nearness)), 3),
        "nearness_tenths": np.histogram(nearness, bins=10, range=(0, 1))[0].tolist(),
        "identity_by_coverage_tenths": grid.astype(int).tolist(),
    }


def format_families(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as tab-separated text; counts of identities are at the coverage asked for."""
    text = io.StringIO()
    columns = [key for key in rows[0] if not key.endswith("_tenths")]
    writer = csv.DictWriter(
        text, columns, delimiter="\t", lineterminator="\n", extrasaction="ignore"
    )
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def iter_neighbour_lines(audited: Audited, corpus: Corpus) -> Iterator[str]:
    """Yield a tab-separated line of column names and one for each record of the benchmarks."""
    yield "\t".join(NEIGHBOUR_COLUMNS) + "\n"
    found = audited.found
    for record, place in zip(audited.records, audited.places.tolist(), strict=True):
        number = int(found.record[place])
        nearest = [""] * 10
        if number >= 0:
            split, index = corpus.locate(number)
            nearest = [
                f"{found.identity[place]:.3f}",
                f"{found.coverage[place]:.3f}",
                f"{found.nearness[place]:.3f}",
                f"{found.covered_identity[place]:.3f}",
                "-" if found.is_reverse[place] else "+",
                split.id(index),
                split.split,
                split.rna_types[split.rna_type_ids[index]],
                str(split.lengths_nt[index]),
                f"{found.record_coverage[place]:.3f}",
            ]
        fields = [
            *(record.benchmark, record.family, record.id, str(len(record.sequence))),
            *(str(audited.statuses[place]), *nearest, record.sequence.decode()),
        ]
        yield "\t".join(field.replace("\t", " ") for field in fields) + "\n"


def format_text(report: dict[str, Any]) -> str:
    """Return the table for a terminal, the largest families of each benchmark."""
    return "\n".join([*_iter_text(report), ""])


def _iter_text(report: dict[str, Any]) -> Iterator[str]:
    shares = [f">={t}" for t in THRESHOLDS]
    yield f"share of sequences with a record of that identity over {report['coverage']:.0%} of them"
    if not report["mmseqs"]:
        yield "without MMseqs2: only identical records, and sequences under 25 nt inside a record"
    columns = ["sequences", "identical", *shares, "antisense", "none", "unsearched", "median"]
    hidden = 0
    printed: dict[str, int] = defaultdict(int)
    for row in report["rows"]:
        if row["family"] == ALL:
            yield from [f"  and {hidden} more families, in families.tsv"] if hidden else []
            hidden = 0
            yield ""
            name = row["benchmark"]  # its end tells partitions of a file apart
            name = name if len(name) <= MAX_NAME else f"…{name[1 - MAX_NAME :]}"
            yield f"{name:<34}" + "".join(f"{column:>11}" for column in columns)
        printed[row["benchmark"]] += 1
        if printed[row["benchmark"]] > MAX_PRINTED_FAMILIES + 1:
            hidden += 1
            continue
        total = row["sequences"]
        shown = [row["identical"], *(row[f"identity_{t}"] for t in THRESHOLDS)]
        shown += [row["antisense"], row["none"], row["not_searchable"]]
        yield (
            f"  {row['family'][:30]:<32}{total:>11,}"
            + "".join(f"{count / total:>11.1%}" for count in shown)
            + f"{row['median_nearness']:>11.2f}"
        )
    yield from [f"  and {hidden} more families, in families.tsv"] if hidden else []
    yield ""
    for file in report["files"]:
        yield f"{file['name']}: families from {file['families_from']}"
        yield f"  {file['line']}"
    yield from (f"skipped {reason}" for reason in report["skipped"])
