"""How well points group by their labels: nearest neighbours, k-means, ARI, NMI, silhouette.

Shape suffixes: N points, D their width, K clusters or neighbours.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..scores.bootstrap import BootstrapConfig, Estimate, iter_resamples

Points = NDArray[np.floating]
Labels = NDArray[np.integer]

MAX_ITERATIONS = 300
NUM_STARTS = 10
_ROWS_AT_ONCE = 1024


def prepare_points(rows_ND: Points) -> NDArray[np.float64]:
    """Centre the rows and give each length 1, so that distance is the angle seen from the mean.

    Uses no label. A row that is the mean itself stays zero.
    """
    centred_ND = np.asarray(rows_ND, np.float64) - np.mean(rows_ND, axis=0, dtype=np.float64)
    lengths_N = np.linalg.norm(centred_ND, axis=1)
    # Rounding of the mean must not be blown up to a direction.
    tiny = 1e-9 * max(float(np.abs(rows_ND).max(initial=0)), 1e-300)
    return np.where(lengths_N[:, None] > tiny, centred_ND / np.maximum(lengths_N, tiny)[:, None], 0)


def predict_left_out(points_ND: Points, labels_N: Labels, *, neighbours: int) -> NDArray[np.int64]:
    """Label of each point by the majority of its nearest others.

    Of equally distant points the earlier counts as nearer; of labels with equally many votes the
    one with the nearest member wins. With fewer others than `neighbours`, all of them vote.
    """
    if neighbours < 1:
        raise ValueError(f"neighbours must be positive, got {neighbours}")
    if len(points_ND) < 2:
        raise ValueError(f"leaving one out takes two points, got {len(points_ND)}")
    neighbours = min(neighbours, len(points_ND) - 1)
    predicted_N = np.empty(len(points_ND), np.int64)
    for first in range(0, len(points_ND), _ROWS_AT_ONCE):
        rows = np.arange(first, min(first + _ROWS_AT_ONCE, len(points_ND)))
        squared = compute_squared_distances(points_ND[rows], points_ND)
        squared[np.arange(len(rows)), rows] = np.inf
        nearest = np.argsort(squared, axis=1, kind="stable")[:, :neighbours]
        predicted_N[rows] = [_vote(votes) for votes in np.asarray(labels_N)[nearest].tolist()]
    return predicted_N


def _vote(votes: Sequence[int]) -> int:
    return max(votes, key=lambda label: (votes.count(label), -votes.index(label)))


def compute_squared_distances(left_MD: Points, right_ND: Points) -> NDArray[np.float64]:
    """Squared Euclidean distances (M, N), none below zero."""
    left, right = np.asarray(left_MD, np.float64), np.asarray(right_ND, np.float64)
    squares = (left**2).sum(1)[:, None] + (right**2).sum(1)[None, :] - 2 * left @ right.T
    return np.maximum(squares, 0)


def cluster_points(points_ND: Points, num_clusters: int, *, seed: int) -> NDArray[np.int64]:
    """Clusters by Lloyd's k-means with k-means++ starts: the best of ten, by a seed.

    Arthur and Vassilvitskii 2007. A cluster that loses its points takes the worst-placed one.
    """
    if not 1 <= num_clusters <= len(points_ND):
        raise ValueError(f"{len(points_ND)} points cannot make {num_clusters} clusters")
    points_ND = np.asarray(points_ND, np.float64)
    generator = np.random.default_rng(seed)
    runs = [_run_lloyd(points_ND, num_clusters, generator) for _ in range(NUM_STARTS)]
    return min(runs, key=lambda run: run[0])[1]


def _run_lloyd(
    points_ND: NDArray[np.float64], num_clusters: int, generator: np.random.Generator
) -> tuple[float, NDArray[np.int64]]:
    centres_KD = _draw_centres(points_ND, num_clusters, generator)
    clusters_N = np.full(len(points_ND), -1)
    for _ in range(MAX_ITERATIONS):
        squared_NK = compute_squared_distances(points_ND, centres_KD)
        nearest_N = squared_NK.argmin(1)
        own_N = squared_NK[np.arange(len(points_ND)), nearest_N]
        for cluster in np.setdiff1d(np.arange(num_clusters), nearest_N):
            movable_N = np.bincount(nearest_N, minlength=num_clusters)[nearest_N] > 1
            worst = int(np.where(movable_N, own_N, -1).argmax())
            nearest_N[worst], own_N[worst] = cluster, 0
        if np.array_equal(nearest_N, clusters_N):
            break
        clusters_N = nearest_N
        sums_KD = np.zeros_like(centres_KD)
        np.add.at(sums_KD, clusters_N, points_ND)
        centres_KD = sums_KD / np.bincount(clusters_N, minlength=num_clusters)[:, None]
    return float(((points_ND - centres_KD[clusters_N]) ** 2).sum()), clusters_N


def _draw_centres(
    points_ND: NDArray[np.float64], num_clusters: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    chosen = [int(generator.integers(len(points_ND)))]
    squared_N = compute_squared_distances(points_ND, points_ND[chosen])[:, 0]
    for _ in range(num_clusters - 1):
        total = squared_N.sum()
        share = squared_N / total if total > 0 else None  # all at one place: any will do
        chosen.append(int(generator.choice(len(points_ND), p=share)))
        new_N = compute_squared_distances(points_ND, points_ND[chosen[-1:]])[:, 0]
        squared_N = np.minimum(squared_N, new_N)
    return points_ND[chosen]


def count_together(left_N: Labels, right_N: Labels) -> NDArray[np.int64]:
    """Contingency table of two labellings: how many points have each two labels."""
    if len(left_N) != len(right_N) or not len(left_N):
        raise ValueError(f"labellings of {len(left_N)} and {len(right_N)} points do not compare")
    _, left = np.unique(left_N, return_inverse=True)
    _, right = np.unique(right_N, return_inverse=True)
    width = int(right.max()) + 1
    counts = np.bincount(left * width + right, minlength=(int(left.max()) + 1) * width)
    return counts.reshape(-1, width)


def compute_adjusted_rand(left_N: Labels, right_N: Labels) -> float:
    """Pairs of points that two labellings agree on, corrected for chance (Hubert, Arabie 1985).

    1 where both are the same split, also if it is no split at all.
    """
    table = count_together(left_N, right_N).astype(np.float64)
    both, left, right, every = (
        float((counts * (counts - 1)).sum()) / 2
        for counts in (table, table.sum(1), table.sum(0), np.array([len(left_N)], np.float64))
    )
    if every == 0 or left == right in (0, every):
        return 1.0
    chance = left * right / every
    return (both - chance) / ((left + right) / 2 - chance)


def compute_normalised_information(left_N: Labels, right_N: Labels) -> float:
    """Mutual information over the mean of both entropies.

    1 where neither labelling splits the points; 0 where one does not and the other does.
    """
    shares = count_together(left_N, right_N) / len(left_N)
    left, right = shares.sum(1), shares.sum(0)
    if len(left) == len(right) == 1:
        return 1.0
    if 1 in (len(left), len(right)):
        return 0.0
    there = shares > 0
    information = (shares[there] * np.log(shares[there] / np.outer(left, right)[there])).sum()
    entropies = -(left * np.log(left)).sum() - (right * np.log(right)).sum()
    return float(np.clip(2 * information / entropies, 0, 1))


def compute_silhouettes(points_ND: Points, labels_N: Labels) -> NDArray[np.float64]:
    """Silhouette of each point by Euclidean distance (Rousseeuw 1987); 0 where it is alone.

    (b - a) / max(a, b), a being the mean distance to its own label, b to the nearest other one.
    """
    names, places_N = np.unique(labels_N, return_inverse=True)
    if len(names) < 2:
        raise ValueError("a silhouette takes points of two labels")
    counts_K = np.bincount(places_N)
    silhouettes_N = np.zeros(len(points_ND))
    for first in range(0, len(points_ND), _ROWS_AT_ONCE):
        rows = np.arange(first, min(first + _ROWS_AT_ONCE, len(points_ND)))
        distances = np.sqrt(compute_squared_distances(points_ND[rows], points_ND))
        distances[np.arange(len(rows)), rows] = 0
        sums_K = np.stack([distances[:, places_N == k].sum(1) for k in range(len(names))], axis=1)
        at = np.arange(len(rows)), places_N[rows]
        others = counts_K[places_N[rows]] - 1
        own = sums_K[at] / np.maximum(others, 1)
        means_K = sums_K / counts_K
        means_K[at] = np.inf
        nearest = means_K.min(1)
        larger = np.maximum(own, nearest)
        valid = (others > 0) & (larger > 0)
        silhouettes_N[rows[valid]] = ((nearest - own) / np.where(larger > 0, larger, 1))[valid]
    return silhouettes_N


def estimate_agreement(
    compute: Callable[[Labels, Labels], float],
    left_N: Labels,
    right_N: Labels,
    config: BootstrapConfig,
) -> Estimate:
    """An agreement of two labellings with its bootstrap interval over points.

    A point that is drawn twice agrees with itself, which lifts ARI and NMI of resamples. So the
    interval is moved by the value less the resamples' mean.
    """
    value = compute(left_N, right_N)
    resampled = np.array(
        [compute(left_N[drawn], right_N[drawn]) for drawn in iter_resamples(len(left_N), config)]
    )
    tail = (1 - config.level) / 2
    low, high = np.quantile(resampled - resampled.mean() + value, [tail, 1 - tail])
    return Estimate(value, float(low), float(high))
