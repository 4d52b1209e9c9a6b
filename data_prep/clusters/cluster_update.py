"""Clusters of a new release: old clusters keep their names and members, new sequences join them.

A cluster is named by the key of the sequence that represented it when it was founded. That name
outlives its founder: where the representative is gone, the longest member left takes its place.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
from numpy.typing import NDArray

from ..mmseqs import ClusterConfig
from .clustering import Clusterer, Sequences, check, join_short, open_clusterer, write_sequences
from .sequence_file import SequenceFile
from .strands import split_antisense

MAX_SEQS = 20
"""Representatives aligned to a new sequence at most, the best by shared k-mers first."""


@dataclass(frozen=True, kw_only=True)
class OldClusters:
    """The clusters of an earlier release, in the order of its unique sequences."""

    keys: NDArray[np.uint8]
    """Of the unique sequences, in order: sequences, 16. Equal sequences have equal keys, and so do
    both strands of one where they count as one."""
    representatives: NDArray[np.int64]
    """Positions, one per sequence."""
    names: NDArray[np.uint8]
    """Keys of founders, one per cluster in the order of representatives: clusters, 16."""

    def __post_init__(self) -> None:
        clusters = len(np.unique(self.representatives))
        if len(self.keys) != len(self.representatives) or len(self.names) != clusters:
            raise ValueError(
                f"the old clusters do not fit together: {len(self.keys)} keys, "
                f"{len(self.representatives)} representatives, {len(self.names)} names of "
                f"{clusters} clusters; prepare the old folder again"
            )


def name_clusters(keys: NDArray[np.uint8], representatives: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the names of clusters that nothing came before."""
    return keys[np.unique(representatives)]


def update_clusters(
    sequences: Iterable[bytes],
    keys: NDArray[np.uint8],
    folder: Path,
    config: ClusterConfig,
    old: OldClusters,
) -> tuple[NDArray[np.int64], NDArray[np.uint8], dict[str, Any]]:
    """Cluster a new release onto the old clusters: representatives, clusters' names, a report.

    New sequences are searched among the old representatives; those that match none cluster among
    themselves. `keys` are of `sequences`, in their order.
    """
    with open_clusterer(folder, config) as clusterer:
        return _update(sequences, keys, clusterer, old)


def _update(
    sequences: Iterable[bytes],
    keys: NDArray[np.uint8],
    clusterer: Clusterer,
    old: OldClusters,
) -> tuple[NDArray[np.int64], NDArray[np.uint8], dict[str, Any]]:
    config = clusterer.config
    parts = write_sequences(sequences, clusterer.scratch, config)
    assert len(parts) == len(keys)
    places = find_rows(keys, old.keys)
    representatives, names, counts = _carry_over(places, _list_lengths(parts), old)
    # A founder that is back goes to the cluster of its name: two must not be called the same.
    heads = np.flatnonzero(representatives == np.arange(len(representatives)))
    founders = find_rows(keys, names[heads])
    is_back = (founders >= 0) & (representatives[founders] < 0)
    representatives[founders[is_back]] = heads[is_back]
    is_settled = representatives >= 0
    representatives[~is_settled] = np.flatnonzero(~is_settled)
    local, report = _cluster_new(clusterer, parts, representatives, is_settled)
    report |= join_short(parts, representatives, config, is_settled)
    heads = np.unique(representatives)
    is_new = ~is_settled[heads]
    names[heads[is_new]] = keys[heads[is_new]]
    has_joined = ~is_settled & is_settled[representatives]
    report |= counts | {
        "kept_sequences": int(np.count_nonzero(is_settled)),
        "new_sequences": int(np.count_nonzero(~is_settled)),
        "joined_old_clusters": int(np.count_nonzero(has_joined)),
        "new_clusters": int(np.count_nonzero(is_new)),
    }
    return representatives, names[heads], report | check(clusterer, parts, local)


def find_rows(rows: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return where each wanted digest is among `rows`, or -1; in any order, of 16 bytes each."""
    high, low = np.ascontiguousarray(rows).view(">u8").astype(np.uint64).reshape(-1, 2).T
    order = np.lexsort((low, high))
    high, low = high[order], low[order]
    keys = np.ascontiguousarray(wanted).view(">u8").astype(np.uint64).reshape(-1, 2)
    place = np.searchsorted(high, keys[:, 0])
    found = np.full(len(keys), -1)
    waiting = np.arange(len(keys))
    while len(waiting):  # once, but where digests share their first half
        here = place[waiting]
        waiting, here = waiting[here < len(high)], here[here < len(high)]
        is_alike = high[here] == keys[waiting, 0]
        waiting, here = waiting[is_alike], here[is_alike]
        is_found = low[here] == keys[waiting, 1]
        found[waiting[is_found]] = order[here[is_found]]
        waiting = waiting[~is_found]
        place[waiting] += 1
    return found


def _list_lengths(parts: Sequences) -> NDArray[np.int64]:
    lengths = np.empty(len(parts), np.int64)
    lengths[parts.long_positions] = parts.long.lengths
    lengths[parts.short_positions] = [len(sequence) for sequence in parts.short]
    return lengths


def _carry_over(
    places: NDArray[np.int64], lengths: NDArray[np.int64], old: OldClusters
) -> tuple[NDArray[np.int64], NDArray[np.uint8], dict[str, int]]:
    """Return representatives (-1: new) and, at those, names, of what is left of the old clusters.

    `places` says where each old sequence is now, or -1.
    """
    _, clusters = np.unique(old.representatives, return_inverse=True)
    is_left = places >= 0
    is_old_head = old.representatives == np.arange(len(old.representatives))
    members, clusters_left = places[is_left], clusters[is_left]
    # Of each cluster the old representative comes first, then the longest, then the earliest.
    order = np.lexsort((members, -lengths[members], ~is_old_head[is_left], clusters_left))
    members, clusters_left = members[order], clusters_left[order]
    left, starts, inverse = np.unique(clusters_left, return_index=True, return_inverse=True)
    representatives = np.full(len(lengths), -1)
    representatives[members] = members[starts][inverse]
    names = np.zeros((len(lengths), 16), np.uint8)
    names[members[starts]] = old.names[left]
    moved = int(np.count_nonzero(~is_old_head[is_left][order][starts]))
    return (
        representatives,
        names,
        {
            "removed_sequences": int(np.count_nonzero(~is_left)),
            "removed_clusters": len(old.names) - len(left),
            "representatives_replaced": moved,
        },
    )


def _cluster_new(
    clusterer: Clusterer,
    parts: Sequences,
    representatives: NDArray[np.int64],
    is_settled: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Fill in the representatives of new long sequences; return those of the long by number."""
    is_new = ~is_settled[parts.long_positions]
    new = np.flatnonzero(is_new)
    is_head = representatives[parts.long_positions] == parts.long_positions
    heads = np.flatnonzero(is_head & ~is_new)
    local_of = np.full(len(representatives), -1)
    local_of[parts.long_positions] = np.arange(len(parts.long))
    local = local_of[representatives[parts.long_positions]]
    # A long sequence can stand in a short one's cluster only where the short length was changed.
    local = np.where(local < 0, np.arange(len(local)), local)
    found = _search_heads(clusterer, parts.long, new, heads)
    local[new[found >= 0]] = found[found >= 0]
    rest = new[found < 0]
    report: dict[str, int] = {}
    if len(rest):
        local[rest] = clusterer.cluster_some(parts.long, rest)
        if clusterer.config.strand == "forward":
            file = parts.long.write_some(clusterer.scratch / "rest.fasta", rest)
            inner = np.searchsorted(rest, local[rest])
            inner, report = split_antisense(
                file,
                inner,
                clusterer.config.criteria,
                lambda numbers: clusterer.cluster_some(file, numbers),
            )
            local[rest] = rest[inner]
    representatives[parts.long_positions[new]] = parts.long_positions[local[new]]
    return local, report


def _search_heads(
    clusterer: Clusterer,
    file: SequenceFile,
    new: NDArray[np.int64],
    heads: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return for each new sequence the first representative that MMseqs2 accepts for it, or -1."""
    found = np.full(len(new), -1)
    if not len(new) or not len(heads):
        return found
    config, scratch = clusterer.config, clusterer.scratch
    queries = clusterer.create_database(file.write_some(scratch / "new.fasta", new), "new")
    targets = clusterer.create_database(file.write_some(scratch / "heads.fasta", heads), "heads")
    hits, table = scratch / "hits", scratch / "hits.tsv"
    letters = int(file.lengths[heads].sum(dtype=np.int64))
    k = min(14, max(11, int(np.ceil(np.log(letters) / np.log(4)))))  # a table of 4**k entries
    # The representative is the target here and the query in a clustering: coverages trade places.
    cov_mode = {1: 2, 2: 1, 3: 4, 4: 3}.get(config.cov_mode, config.cov_mode)
    clusterer.run(
        *["search", queries, targets, hits, scratch / "search", "--search-type", 3],
        *["--strand", 1 if config.strand == "forward" else 2, "-k", k, "--mask", 0],
        *["--min-seq-id", config.min_seq_id, "-c", config.coverage, "--cov-mode", cov_mode],
        *["--max-seqs", MAX_SEQS, "--max-accept", 1, *clusterer.limits],
    )
    clusterer.run(
        *["convertalis", queries, targets, hits, table, "--search-type", 3],
        *["--format-output", "query,target,evalue", "--threads", config.threads],
    )
    if table.stat().st_size:
        pairs = pyarrow.csv.read_csv(
            table,
            read_options=pyarrow.csv.ReadOptions(column_names=["query", "target", "evalue"]),
            parse_options=pyarrow.csv.ParseOptions(delimiter="\t"),
        )
        query = pairs.column("query").to_numpy()
        query, first = np.unique(query, return_index=True)
        found[query] = heads[pairs.column("target").to_numpy()[first]]
    return found
