"""Embeddings: do mean-pooled representations of RNAs group by family, and better than k-mers?

Nothing is fitted. Neighbours are left-one-out, clusters k-means, and the map is for looking.

Shape suffixes: N RNAs, D width of a vector.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....model.weights import LoadedModel
from ..scores.unit_table import TABLE, write_table
from ..structure_folds.folds import draw_evenly
from ..structures.records import find_structures, hash_structures
from ..task_report import Curve, Score, TaskReport
from ..zero_shot.cached_results import load_or_compute, load_or_compute_array
from ..zero_shot.embedding_report import (
    ACCURACY,
    CLUSTER,
    INFORMATION,
    RAND,
    SILHOUETTE,
    Values,
    build_agreement_scores,
    build_embedding_gains,
    build_family_scores,
    group_values,
    iter_member_rows,
)
from ..zero_shot.family_members import FamilyMember, choose_members, read_members
from ..zero_shot.neighbours import (
    cluster_points,
    compute_silhouettes,
    predict_left_out,
    prepare_points,
)
from ..zero_shot.projection import find_projection_problem, project_points
from ..zero_shot.rna_vectors import VectorSource, build_vector_sources
from ..zero_shot.zero_shot_settings import EmbeddingsConfig
from ..zero_shot.zero_shot_signature import build_zero_shot_signature, describe_source

logger = logging.getLogger(__name__)

TASK = "embeddings"
VERSION_OF_NUMBERS = 1
"""Raised when a change of code changes scores: results of an earlier one are not reused."""


class _Run(NamedTuple):
    members: Sequence[FamilyMember]
    labels_N: NDArray[np.int64]
    config: EmbeddingsConfig
    results: Path

    def list_facts(self, source: VectorSource) -> dict[str, Any]:
        """What decides the numbers of a system."""
        return {
            "version": VERSION_OF_NUMBERS,
            "identity": source.identity,
            "members": self.members,
            "neighbours": self.config.neighbours,
            "seed": self.config.seed,
        }


class _Outcome(NamedTuple):
    """Of one system."""

    values: Values
    scores: list[Score]
    curve: Curve | None


def evaluate_embeddings(
    data: Path | None, loaded: LoadedModel, config: EmbeddingsConfig, *, out: Path
) -> TaskReport:
    """Compare how RNAs group by family under the checkpoint, its random twin and k-mers.

    `data` is None for the sample, ArchiveII's folder, or any table with a header, a `sequence` and
    a family (`FAMILY_COLUMNS`), such as Rfam's seeds. Vectors and scores are kept under
    `out/results`; values of single RNAs are written to `out/sequences.csv`.
    """
    start = time.monotonic()
    path = find_structures(data)
    members, notes = choose_members(
        read_members(path),
        min_family_size=config.min_family_size,
        max_families=config.max_families,
        max_per_family=config.max_per_family,
        max_length_nt=config.max_length_nt,
        seed=config.seed,
    )
    notes += _describe_method(config)
    problem = find_projection_problem(config.projection, len(members))
    if problem:
        logger.warning(problem)
        notes.append(problem)
    labels_N = np.unique([one.family for one in members], return_inverse=True)[1]
    run = _Run(members, labels_N, config, out / "results")
    draws_map = config.projection != "none" and not problem
    outcomes, costs = _compare_systems(run, loaded, draws_map=draws_map)
    costs["seconds"] = time.monotonic() - start
    own_facts = {
        "data": describe_source(path, is_sample=data is None),
        "rnas": len(members),
        "families": len({one.family for one in members}),
        "knn": config.neighbours,
    }
    by_system = {name: one.values for name, one in outcomes.items()}
    report = TaskReport(
        task=TASK,
        title="Embeddings: families among mean-pooled representations",
        signature=build_zero_shot_signature(
            TASK, own_facts, config=config, loaded=loaded, numbers=VERSION_OF_NUMBERS
        ),
        scores=tuple(score for one in outcomes.values() for score in one.scores),
        gains=tuple(build_embedding_gains(by_system, config.bootstrap)),
        notes=tuple(notes),
        curves=tuple(one.curve for one in outcomes.values() if one.curve),
        costs=costs,
        settings=asdict(config),
        checkpoint=loaded.metadata,
        sources={path.name: hash_structures(path)},
    )
    write_table(out / TABLE, iter_member_rows(by_system, members))
    return report


def _describe_method(config: EmbeddingsConfig) -> list[str]:
    return [
        f"Vectors are centred and brought to length 1. {ACCURACY}: majority of the "
        f"{config.neighbours} nearest other RNAs. {RAND} and {INFORMATION}: k-means with as many "
        f"clusters as families. {SILHOUETTE}: of the families themselves.",
        "The map keeps neighbourhoods, not distances; no score is computed from it.",
    ]


def _compare_systems(
    run: _Run, loaded: LoadedModel, *, draws_map: bool
) -> tuple[dict[str, _Outcome], dict[str, float]]:
    """What comes of every system, and the seconds each took."""
    outcomes: dict[str, _Outcome] = {}
    costs: dict[str, float] = {}
    for source in build_vector_sources(
        [one.sequence for one in run.members],
        loaded,
        run.config,
        folder=run.results / "vectors",
        version=VERSION_OF_NUMBERS,
    ):
        began = time.monotonic()
        values, scores = _score(run, source)
        curve = _draw_map(run, source) if draws_map else None
        outcomes[source.name] = _Outcome(values, scores, curve)
        costs[f"{source.name}, seconds"] = time.monotonic() - began
    return outcomes, costs


def _score(run: _Run, source: VectorSource) -> tuple[Values, list[Score]]:
    """Values of single RNAs by metric and family, and every row of a system."""
    measured = load_or_compute(
        run.results,
        source.name,
        run.list_facts(source),
        lambda: _measure(prepare_points(source.read()), run.labels_N, run.config),
    )
    values = group_values(measured, run.members)
    clusters_N = np.array(measured[CLUSTER], np.int64)
    intervals = run.config.bootstrap
    return values, [
        *build_family_scores(values, intervals, system=source.name),
        *build_agreement_scores(run.labels_N, clusters_N, intervals, system=source.name),
    ]


def _measure(
    points_ND: NDArray[np.float64], labels_N: NDArray[np.int64], config: EmbeddingsConfig
) -> dict[str, list[float]]:
    """Per RNA: whether its neighbours say its family, its cluster, its silhouette."""
    predicted_N = predict_left_out(points_ND, labels_N, neighbours=config.neighbours)
    num_families = int(labels_N.max()) + 1
    return {
        ACCURACY: (predicted_N == labels_N).astype(float).tolist(),
        CLUSTER: cluster_points(points_ND, num_families, seed=config.seed).tolist(),
        SILHOUETTE: compute_silhouettes(points_ND, labels_N).tolist(),
    }


def _draw_map(run: _Run, source: VectorSource) -> Curve:
    """The first RNA of each family, then the second of each, as far as the map goes."""
    config = run.config
    places: dict[str, list[int]] = defaultdict(list)
    for place, member in enumerate(run.members):
        places[member.family].append(place)
    shown = sorted(draw_evenly(places, config.max_map_points))
    facts = {"projection": config.projection, "points": config.max_map_points}
    plane_N2 = load_or_compute_array(
        run.results,
        f"{source.name}.map",
        {**run.list_facts(source), **facts},
        lambda: project_points(
            prepare_points(source.read())[shown], config.projection, seed=config.seed
        ),
    )
    return Curve(
        kind="scatter",
        system=source.name,
        part=config.projection,
        x=tuple(plane_N2[:, 0].tolist()),
        y=tuple(plane_N2[:, 1].tolist()),
        labels=tuple(run.members[place].family for place in shown),
    )
