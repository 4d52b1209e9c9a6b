"""A map of points in the plane to look at: no score is computed from it."""

import importlib.util
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ProjectionName = Literal["t-SNE", "UMAP", "PCA", "none"]
MIN_POINTS = 3
_MODULE_OF = {"t-SNE": "sklearn", "UMAP": "umap"}
_PACKAGE_OF = {"t-SNE": "scikit-learn", "UMAP": "umap-learn"}


def find_projection_problem(name: ProjectionName, num_points: int) -> str | None:
    """Why the map cannot be drawn here, with the cure; None where it can."""
    if name != "none" and num_points < MIN_POINTS:
        return f"no map: it takes {MIN_POINTS} points, there are {num_points}"
    if name in _MODULE_OF and importlib.util.find_spec(_MODULE_OF[name]) is None:
        return (
            f"no {name} map: {_PACKAGE_OF[name]} is not installed; add the extra `maps` "
            "(pip install scikit-learn umap-learn) or set projection=PCA"
        )
    return None


def project_points(
    points_ND: NDArray[np.floating], name: ProjectionName, *, seed: int
) -> NDArray[np.float64]:
    """Points (N, 2), the same for a seed and one version of the library; `none` is no choice here.

    The first two principal components begin the t-SNE, so its wide layout means something.
    """
    if len(points_ND) < MIN_POINTS:
        raise ValueError(f"a map takes {MIN_POINTS} points, got {len(points_ND)}")
    plane_N2 = _project_linearly(points_ND)
    if name == "t-SNE":
        from sklearn.manifold import TSNE  # type: ignore[import-not-found]

        spread = plane_N2[:, 0].std()
        begin_N2 = plane_N2 / spread * 1e-4 if spread > 0 else plane_N2
        perplexity = min(30.0, (len(points_ND) - 1) / 3)
        drawn = TSNE(
            perplexity=perplexity,
            init=np.asarray(begin_N2, np.float32),  # type: ignore[arg-type]
            random_state=seed,
        )
        plane_N2 = drawn.fit_transform(np.asarray(points_ND, np.float32))
    elif name == "UMAP":
        from umap import UMAP  # type: ignore[import-not-found]

        drawn = UMAP(
            n_neighbors=min(15, len(points_ND) - 1), random_state=seed, n_jobs=1, init="pca"
        )
        plane_N2 = drawn.fit_transform(np.asarray(points_ND, np.float32))
    elif name != "PCA":
        raise ValueError(f"projection must be t-SNE, UMAP or PCA to draw a map; got {name!r}")
    return np.asarray(plane_N2, np.float64)


def _project_linearly(points_ND: NDArray[np.floating]) -> NDArray[np.float64]:
    """First two principal components; each turned so that its largest entry is positive."""
    centred_ND = np.asarray(points_ND, np.float64)
    centred_ND = centred_ND - centred_ND.mean(0)
    left, sizes, _ = np.linalg.svd(centred_ND, full_matrices=False)
    plane_N2 = np.zeros((len(points_ND), 2))
    found = left[:, :2] * sizes[:2]
    plane_N2[:, : found.shape[1]] = found
    largest = plane_N2[np.abs(plane_N2).argmax(0), [0, 1]]
    return plane_N2 * np.where(largest < 0, -1, 1)
