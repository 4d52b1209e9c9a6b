"""Neighbours, clusters and their scores against scikit-learn and loops, on random and odd cases."""

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.scores.bootstrap import BootstrapConfig
from openrinalmo.pipeline.downstream.zero_shot.neighbours import (
    cluster_points,
    compute_adjusted_rand,
    compute_normalised_information,
    compute_silhouettes,
    compute_squared_distances,
    estimate_agreement,
    predict_left_out,
    prepare_points,
)
from support.intervals import ends_of


def draw_blobs(seed, num_points=60, num_labels=4, spread=0.7):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, num_labels, num_points)
    centres = generator.normal(size=(num_labels, 3)) * 2
    return centres[labels] + spread * generator.normal(size=(num_points, 3)), labels


def draw_labellings(seed=0, count=300):
    generator = np.random.default_rng(seed)
    for _ in range(count):
        size = int(generator.integers(1, 30))
        widths = generator.integers(1, 6, 2)
        yield generator.integers(0, widths[0], size), generator.integers(0, widths[1], size)
    yield np.arange(7), np.arange(7)
    yield np.arange(7), np.zeros(7, int)
    yield np.zeros(7, int), np.zeros(7, int)
    yield np.zeros(1, int), np.ones(1, int)


@pytest.mark.parametrize(
    ("ours", "name"),
    [
        (compute_adjusted_rand, "adjusted_rand_score"),
        (compute_normalised_information, "normalized_mutual_info_score"),
    ],
)
def test_agreement_matches_scikit_learn(ours, name):
    theirs = getattr(pytest.importorskip("sklearn.metrics"), name)
    for left, right in draw_labellings():
        assert ours(left, right) == pytest.approx(theirs(left, right), abs=1e-9), (left, right)


def test_agreement_does_not_see_names():
    left = np.array([0, 0, 1, 1, 2, 2])
    assert compute_adjusted_rand(left, np.array([9, 9, 4, 4, 7, 7])) == 1
    assert compute_normalised_information(left, np.array([9, 9, 4, 4, 7, 7])) == pytest.approx(1)
    with pytest.raises(ValueError, match="6 and 5"):
        compute_adjusted_rand(left, left[:5])


def test_silhouettes_match_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    for seed in range(8):
        points, labels = draw_blobs(seed, spread=0.3 + seed / 4)
        labels[0] = 77  # alone
        expected = metrics.silhouette_samples(points, labels)
        np.testing.assert_allclose(compute_silhouettes(points, labels), expected, atol=1e-6)


def test_silhouettes_of_points_at_one_place_are_zero():
    assert compute_silhouettes(np.ones((4, 2)), np.array([0, 0, 1, 1])).tolist() == [0, 0, 0, 0]
    with pytest.raises(ValueError, match="two labels"):
        compute_silhouettes(np.ones((4, 2)), np.zeros(4, int))


@pytest.mark.parametrize("neighbours", [1, 2, 5, 200])
def test_left_out_prediction_is_that_of_a_loop(neighbours):
    points, labels = draw_blobs(2)
    expected = []
    for own in range(len(points)):
        order = sorted(
            (other for other in range(len(points)) if other != own),
            key=lambda other: (float(((points[own] - points[other]) ** 2).sum()), other),
        )[:neighbours]
        votes = [int(labels[other]) for other in order]
        most = max(votes.count(label) for label in votes)
        expected.append(next(label for label in votes if votes.count(label) == most))
    assert predict_left_out(points, labels, neighbours=neighbours).tolist() == expected


@pytest.mark.parametrize("neighbours", [1, 3])
def test_left_out_prediction_matches_scikit_learn(neighbours):
    """Of two labels and an odd number of neighbours no vote is tied, so there is one answer."""
    neighbors = pytest.importorskip("sklearn.neighbors")
    points, labels = draw_blobs(5, num_labels=2, spread=3)
    expected = []
    for own in range(len(points)):
        others = np.arange(len(points)) != own
        model = neighbors.KNeighborsClassifier(neighbours).fit(points[others], labels[others])
        expected.append(int(model.predict(points[own : own + 1])[0]))
    found = predict_left_out(points, labels, neighbours=neighbours)
    assert found.tolist() == expected
    assert 0.5 < (found == labels).mean() < 1


def test_left_out_prediction_of_equal_points_and_too_few():
    labels = np.array([3, 4, 4])
    assert predict_left_out(np.zeros((3, 2)), labels, neighbours=1).tolist() == [4, 3, 3]
    with pytest.raises(ValueError, match="two points, got 1"):
        predict_left_out(np.zeros((1, 2)), labels[:1], neighbours=1)
    with pytest.raises(ValueError, match="neighbours must be positive"):
        predict_left_out(np.zeros((3, 2)), labels, neighbours=0)


def test_clusters_are_as_good_as_scikit_learn():
    cluster = pytest.importorskip("sklearn.cluster")

    def compute_inertia(points, clusters):
        return sum(
            ((points[clusters == one] - points[clusters == one].mean(0)) ** 2).sum()
            for one in set(clusters.tolist())
        )

    for seed in range(5):
        points, _ = draw_blobs(seed, spread=0.5)
        ours = cluster_points(points, 4, seed=seed)
        theirs = cluster.KMeans(4, n_init=10, random_state=seed).fit(points)
        assert compute_inertia(points, ours) <= theirs.inertia_ * 1.001
        assert cluster_points(points, 4, seed=seed).tolist() == ours.tolist()


def test_clusters_of_points_at_one_place_and_of_one_each():
    assert sorted(set(cluster_points(np.zeros((5, 2)), 3, seed=0).tolist())) == [0, 1, 2]
    assert len(set(cluster_points(np.eye(4), 4, seed=0).tolist())) == 4
    assert cluster_points(np.eye(4), 1, seed=0).tolist() == [0] * 4
    with pytest.raises(ValueError, match="4 points cannot make 5 clusters"):
        cluster_points(np.eye(4), 5, seed=0)


def test_clusters_leave_global_randomness_alone():
    np.random.seed(7)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(7)  # noqa: NPY002
    cluster_points(np.eye(6), 2, seed=1)
    assert np.random.random() == expected  # noqa: NPY002


def test_prepared_points_have_length_one_from_their_mean():
    rows = np.random.default_rng(0).normal(size=(20, 5)) + 100
    points = prepare_points(rows)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1)
    np.testing.assert_allclose(prepare_points(rows * 7 + 3), points, atol=1e-9)
    assert prepare_points(np.full((3, 2), 0.1)).tolist() == [[0, 0]] * 3


def test_squared_distances_are_never_negative():
    rows = np.full((3, 4), 1e8) + np.arange(3)[:, None] * 1e-8
    assert (compute_squared_distances(rows, rows) >= 0).all()


@pytest.mark.parametrize("compute", [compute_adjusted_rand, compute_normalised_information])
def test_agreement_of_chance_has_an_interval_around_it(compute):
    """Plain resamples of unrelated labels agree more than the labels: their repeats do."""
    generator = np.random.default_rng(0)
    left, right = generator.integers(0, 8, (2, 60))
    config = BootstrapConfig(num_resamples=200)
    estimate = estimate_agreement(compute, left, right, config)
    assert estimate.mean == compute(left, right)
    low, high = ends_of(estimate)
    assert low < estimate.mean < high
    assert estimate == estimate_agreement(compute, left, right, config)
    assert estimate_agreement(compute, left, left, config) == pytest.approx((1, 1, 1))
