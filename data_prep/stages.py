"""The steps between `unique` and shards: each function makes its product from those before it.

A record's position is its place among the unique records in the order of their digests; clusters
are numbered in the order of their representatives' positions.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .clusters.cluster_update import find_rows, name_clusters, update_clusters
from .clusters.clustering import cluster_sequences
from .dedup import DedupConfig
from .earlier import EarlierData, read_names
from .mmseqs import ClusterConfig
from .products import iter_sequences, load_product, open_records, save_product
from .shards import gather
from .split import NEW, SplitConfig, choose_validation
from .unique import EXACT_DUPLICATES, read_keys


def build_clusters(
    folder: Path,
    steps: Path,
    config: ClusterConfig,
    *,
    dedup: DedupConfig = EXACT_DUPLICATES,
    earlier: EarlierData | None = None,
) -> dict[str, Any]:
    """Save the position of each unique record's representative, and each cluster's name.

    A name is the key of the record that founded the cluster. The clusters of `earlier` data stay:
    new records join them or found their own.
    """
    sequences = iter_sequences(open_records(steps), load_product(steps, "unique"))
    keys = read_keys(steps, dedup)
    if earlier is None:
        representatives, report = cluster_sequences(sequences, folder, config)
        names = name_clusters(keys, representatives)
    else:
        old = earlier.read_clusters(dedup)
        representatives, names, report = update_clusters(sequences, keys, folder, config, old)
    assert np.array_equal(representatives[representatives], representatives)
    sizes = np.bincount(np.unique(representatives, return_inverse=True)[1])
    return {
        "clusters": len(sizes),
        "singletons": int(np.count_nonzero(sizes == 1)),
        "largest_cluster": int(sizes.max()),
        **report,
        "names_sha256": save_product(folder, "names", names),
        "sha256": save_product(folder, "clusters", representatives),
    }


def build_split(
    folder: Path, steps: Path, config: SplitConfig, *, earlier: EarlierData | None = None
) -> dict[str, Any]:
    """Save which clusters are for validation; a cluster's type is its representative's.

    The clusters of `earlier` data stay on their side.
    """
    indices = load_product(steps, "unique")[np.unique(load_product(steps, "clusters"))]
    chosen = gather(open_records(steps).select(["rna_type"]), indices)
    names = read_names(steps)
    is_validation = choose_validation(
        names,
        chosen.column("rna_type").to_numpy(),
        config,
        old_sides=earlier and find_sides(names, *earlier.read_sides()),
    )
    return {
        "train_clusters": int(np.count_nonzero(~is_validation)),
        "validation_clusters": int(np.count_nonzero(is_validation)),
        "sha256": save_product(folder, "split", is_validation),
    }


def find_sides(
    names: NDArray[np.uint8], old_names: NDArray[np.uint8], is_validation: NDArray[np.bool_]
) -> NDArray[np.int8]:
    """Return the old side of each named cluster, for `choose_validation`."""
    places = find_rows(old_names, names)
    return np.where(places < 0, NEW, is_validation[places]).astype(np.int8)
