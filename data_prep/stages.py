"""The steps between `unique` and shards: each function makes its product from those before it.

A record's position is its place among the unique records in the order of their digests; clusters
are numbered in the order of their representatives' positions.
"""

from pathlib import Path
from typing import Any

import numpy as np

from .clusters.cluster_update import OldClusters, name_clusters, update_clusters
from .clusters.clustering import cluster_sequences
from .dedup import DIGEST_BYTES, DedupConfig
from .mmseqs import ClusterConfig
from .products import iter_sequences, load_product, open_records, save_product, view_digests
from .shards import gather
from .split import SplitConfig, choose_validation
from .unique import EXACT_DUPLICATES, read_keys


def build_clusters(
    folder: Path,
    steps: Path,
    config: ClusterConfig,
    *,
    dedup: DedupConfig = EXACT_DUPLICATES,
    update: Path | None = None,
) -> dict[str, Any]:
    """Save the position of each unique record's representative, and each cluster's name.

    A name is the key of the record that founded the cluster. `update` is an earlier data folder
    whose clusters stay: new records join them or found their own.
    """
    sequences = iter_sequences(open_records(steps), load_product(steps, "unique"))
    keys = read_keys(steps, dedup)
    if update is None:
        representatives, report = cluster_sequences(sequences, folder, config)
        names = name_clusters(keys, representatives)
    else:
        old = read_old_clusters(update / "steps", dedup)
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


def read_old_clusters(steps: Path, config: DedupConfig = EXACT_DUPLICATES) -> OldClusters:
    """Read the clusters of an earlier data folder's steps."""
    return OldClusters(
        keys=read_keys(steps, config),
        representatives=load_product(steps, "clusters"),
        names=np.load(steps / "clusters" / "names.npy"),
    )


def build_split(folder: Path, steps: Path, config: SplitConfig) -> dict[str, Any]:
    """Save which clusters are for validation; a cluster's type is its representative's."""
    representatives = np.unique(load_product(steps, "clusters"))
    indices = load_product(steps, "unique")[representatives]
    chosen = gather(open_records(steps).select(["digest", "rna_type"]), indices).to_batches()[0]
    is_validation = choose_validation(
        view_digests(chosen).reshape(-1, DIGEST_BYTES),
        chosen.column("rna_type").to_numpy(),
        config,
    )
    return {
        "train_clusters": int(np.count_nonzero(~is_validation)),
        "validation_clusters": int(np.count_nonzero(is_validation)),
        "sha256": save_product(folder, "split", is_validation),
    }
