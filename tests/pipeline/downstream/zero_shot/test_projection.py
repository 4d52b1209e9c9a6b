"""Maps of points: separate groups stay apart, seeds decide, what is missing is said."""

import importlib.util

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.zero_shot import projection
from openrinalmo.pipeline.downstream.zero_shot.projection import (
    find_projection_problem,
    project_points,
)

NAMES = [
    "PCA",
    pytest.param(
        "t-SNE",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("sklearn") is None, reason="needs scikit-learn"
        ),
    ),
    pytest.param(
        "UMAP",
        marks=[
            pytest.mark.slow,
            pytest.mark.skipif(importlib.util.find_spec("umap") is None, reason="needs umap-learn"),
        ],
    ),
]


def draw_groups():
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 15)
    return 20 * np.eye(6)[labels] + generator.normal(size=(45, 6)), labels


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", NAMES)
def test_groups_stay_apart_and_a_seed_decides(name):
    points, labels = draw_groups()
    plane = project_points(points, name, seed=4)
    assert plane.shape == (45, 2)
    squared = ((plane[:, None] - plane[None]) ** 2).sum(-1) + np.diag(np.full(45, np.inf))
    assert (labels[squared.argmin(1)] == labels).all()
    assert project_points(points, name, seed=4).tolist() == plane.tolist()


def test_principal_components_are_those_of_the_covariance():
    points, _ = draw_groups()
    plane = project_points(points, "PCA", seed=0)
    largest = np.sort(np.linalg.eigvalsh(np.cov(points.T)))[::-1][:2]
    np.testing.assert_allclose(plane.var(0, ddof=1), largest)
    np.testing.assert_allclose(plane.mean(0), 0, atol=1e-9)


def test_degenerate_points():
    assert project_points(np.ones((4, 3)), "PCA", seed=0).tolist() == [[0, 0]] * 4
    assert project_points(np.arange(4.0)[:, None], "PCA", seed=0)[:, 1].tolist() == [0] * 4
    with pytest.raises(ValueError, match="takes 3 points, got 2"):
        project_points(np.ones((2, 3)), "PCA", seed=0)
    with pytest.raises(ValueError, match="t-SNE, UMAP or PCA"):
        project_points(np.ones((4, 3)), "none", seed=0)


def test_missing_library_is_named_with_the_cure(monkeypatch):
    monkeypatch.setattr(projection.importlib.util, "find_spec", lambda name: None)
    assert "umap-learn is not installed" in (find_projection_problem("UMAP", 9) or "")
    assert "projection=PCA" in (find_projection_problem("t-SNE", 9) or "")
    assert find_projection_problem("PCA", 9) is None
    assert find_projection_problem("none", 2) is None
    assert "there are 2" in (find_projection_problem("PCA", 2) or "")
