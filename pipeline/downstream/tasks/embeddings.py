"""Embeddings: do mean-pooled representations of RNAs group by family, and better than k-mers?

Nothing is fitted. Neighbours are left-one-out, clusters k-means, and the map is for looking.

Shape suffixes: N RNAs, D width of a vector.
"""

import itertools
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from ....model.encoder import Encoder
from ....model.weights import LoadedModel
from ..kmers import MAX_K, encode_kmer_counts
from ..representations.embed import EmbedConfig, embed_sequences
from ..scores.bootstrap import BootstrapConfig
from ..scores.signature import build_signature, describe_bootstrap, hash_settings
from ..scores.unit_table import TABLE, write_table
from ..structures.records import find_structures, hash_structures
from ..task_report import Curve, PairedGain, Score, TaskReport
from ..zero_shot.cached_results import load_or_compute, load_or_compute_array
from ..zero_shot.family_members import FamilyMember, choose_members, read_members
from ..zero_shot.masked_models import (
    PRETRAINED,
    DeviceName,
    MaskedSystem,
    build_masked_systems,
    choose_device,
)
from ..zero_shot.neighbours import (
    cluster_points,
    compute_adjusted_rand,
    compute_normalised_information,
    compute_silhouettes,
    estimate_agreement,
    predict_left_out,
    prepare_points,
)
from ..zero_shot.projection import (
    MIN_POINTS,
    ProjectionName,
    find_projection_problem,
    project_points,
)
from ..zero_shot.unit_scores import ByFamily, build_gains, build_scores

logger = logging.getLogger(__name__)

TASK = "embeddings"
VERSION_OF_NUMBERS = 1
"""Raised when a change of code changes scores: results of an earlier one are not reused."""
KMER = "k-mer"
ACCURACY, SILHOUETTE, RAND, INFORMATION = "kNN accuracy", "silhouette", "ARI", "NMI"
ALL_FAMILIES = "all families"
_CHUNK = 256

SystemName = Literal["pretrained", "random encoder", "k-mer"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingsConfig:
    """Which RNAs, and how they are compared."""

    preset: str = "full"
    systems: tuple[SystemName, ...] = ("pretrained", "random encoder", "k-mer")
    min_family_size: int = 10
    """Families with fewer distinct RNAs are left out."""
    max_families: int = 0
    """The largest families, by name among equals; 0 takes all."""
    max_per_family: int = 200
    """RNAs of a family, drawn by `seed`: without a limit the largest decides; 0 takes all."""
    max_length_nt: int = 1024
    """Longer RNAs are left out."""
    neighbours: int = 5
    """How many of the nearest other RNAs vote."""
    kmer_nt: int = 4
    """Letters of a k-mer."""
    projection: ProjectionName = "t-SNE"
    max_map_points: int = 3000
    """RNAs on the map: the first of each family, then the second, and so on."""
    seed: int = 0
    """Decides the draw of RNAs, k-means' starts, the map, and the random encoder."""
    device: DeviceName = "auto"
    embed: EmbedConfig = field(default_factory=EmbedConfig)
    bootstrap: BootstrapConfig = field(default_factory=BootstrapConfig)

    def __post_init__(self) -> None:
        if not self.systems or len(set(self.systems)) != len(self.systems):
            raise ValueError(f"systems must name each row once, got {','.join(self.systems)!r}")
        if self.max_map_points < MIN_POINTS:
            raise ValueError(
                f"max_map_points must be {MIN_POINTS} or more, got {self.max_map_points}; "
                "projection=none draws no map"
            )
        for name in ("min_family_size", "max_length_nt", "neighbours"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("max_families", "max_per_family", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not 1 <= self.kmer_nt <= MAX_K:
            raise ValueError(f"kmer_nt must be between 1 and {MAX_K}, got {self.kmer_nt}")


PRESETS = {
    "quick": EmbeddingsConfig(
        preset="quick", max_per_family=30, max_families=20, max_length_nt=512
    ),
    "budget": EmbeddingsConfig(
        preset="budget", max_per_family=100, max_families=100, max_length_nt=512
    ),
    "full": EmbeddingsConfig(),
}


def build_embeddings_config(preset: str) -> EmbeddingsConfig:
    """Settings of a named preset."""
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}; got {preset!r}")
    return PRESETS[preset]


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
    notes += [
        f"Vectors are centred and brought to length 1. {ACCURACY}: majority of the "
        f"{config.neighbours} nearest other RNAs. {RAND} and {INFORMATION}: k-means with as many "
        f"clusters as families. {SILHOUETTE}: of the families themselves.",
        "The map keeps neighbourhoods, not distances; no score is computed from it.",
    ]
    labels_N = np.unique([one.family for one in members], return_inverse=True)[1]
    scores: list[Score] = []
    curves: list[Curve] = []
    by_system: dict[str, dict[str, dict[str, list[float]]]] = {}
    costs: dict[str, float] = {}
    problem = find_projection_problem(config.projection, len(members))
    if problem:
        logger.warning(problem)
        notes.append(problem)
    for name, identity, read_vectors in _build_readers(members, loaded, config, out / "results"):
        began = time.monotonic()
        facts = {
            "version": VERSION_OF_NUMBERS,
            "identity": identity,
            "members": members,
            "neighbours": config.neighbours,
            "seed": config.seed,
        }
        measured = load_or_compute(
            out / "results",
            name,
            facts,
            lambda read=read_vectors: _measure(prepare_points(read()), labels_N, config),
        )
        values, rows = _build_system_scores(name, members, labels_N, measured, config)
        by_system[name] = values
        scores += rows
        if config.projection != "none" and not problem:
            facts = {**facts, "projection": config.projection, "points": config.max_map_points}
            curves.append(_draw_map(name, facts, members, read_vectors, config, out / "results"))
        costs[f"{name}, seconds"] = time.monotonic() - began
    costs["seconds"] = time.monotonic() - start
    report = TaskReport(
        task=TASK,
        title="Embeddings: families among mean-pooled representations",
        signature=_build_signature(path, data, members, config, loaded),
        scores=tuple(scores),
        gains=tuple(_build_all_gains(by_system, config)),
        notes=tuple(notes),
        curves=tuple(curves),
        costs=costs,
        settings=asdict(config),
        checkpoint=loaded.metadata,
        sources={path.name: hash_structures(path)},
    )
    write_table(out / TABLE, _iter_rows(by_system, members))
    return report


def _iter_rows(
    by_system: Mapping[str, Mapping[str, ByFamily]], members: Sequence[FamilyMember]
) -> Iterator[dict[str, object]]:
    """Values of single RNAs; an RNA is named by its sequence, for its table may give no other."""
    places: dict[str, list[FamilyMember]] = defaultdict(list)
    for member in members:
        places[member.family].append(member)
    for system, values in by_system.items():
        for family, some in places.items():
            for place, member in enumerate(some):
                yield {
                    "system": system,
                    "regime": name_regime(system),
                    "part": family,
                    "id": member.sequence,
                    **{metric: by_family[family][place] for metric, by_family in values.items()},
                }


def name_regime(system: str) -> str:
    """How a system's vectors come about, as the table names it."""
    return "none" if system == KMER else "zero-shot"


def count_kmers(sequences: Sequence[str], kmer_nt: int) -> NDArray[np.floating]:
    """Shares (N, 4**kmer_nt) of the k-mers of one size.

    Shorter ones have the larger shares and would drown them: with 1- to 4-mers side by side the
    sample's kNN accuracy is 0.77, with 4-mers alone 0.91, and the row is there to be beaten.
    """
    return encode_kmer_counts(sequences, kmer_nt)[:, -(4**kmer_nt) :]


def pool_means(
    encoder: Encoder, sequences: Sequence[str], config: EmbedConfig, *, device: torch.device
) -> NDArray[np.float32]:
    """Mean over the letters of each sequence's representation, (N, D)."""
    rows_TD = embed_sequences(encoder, sequences, config, device=device)
    ends = np.cumsum([len(sequence) for sequence in sequences])[:-1]
    means = [part_LD.mean(0, dtype=np.float64) for part_LD in np.split(rows_TD, ends)]
    return np.asarray(means, np.float32)


def _build_readers(
    members: Sequence[FamilyMember], loaded: LoadedModel, config: EmbeddingsConfig, results: Path
) -> Iterator[tuple[str, dict[str, object], Callable[[], NDArray[np.floating]]]]:
    """Each system's name, what its numbers depend on, and how to get its vectors_ND."""
    sequences = [one.sequence for one in members]
    device = choose_device(config.device)
    systems = {
        system.name: system
        for system in build_masked_systems(loaded, config.systems, seed=config.seed)
    }
    for name in config.systems:
        if name == KMER:
            identity: dict[str, object] = {"k-mers of": config.kmer_nt}
            yield name, identity, lambda: count_kmers(sequences, config.kmer_nt)
            continue
        system = systems[name]
        identity = {**system.identity, "held_as": config.embed.dtype}

        def read(
            system: MaskedSystem = system,
            identity: dict[str, object] = identity,
        ) -> NDArray:
            """In chunks, each in its file: rows of every letter would fill the memory."""
            chunks: list[NDArray] = []
            starts = range(0, len(sequences), _CHUNK)
            for first in tqdm(starts, desc=f"{TASK}, {system.name}", disable=None):
                chunk = sequences[first : first + _CHUNK]
                facts = {"version": VERSION_OF_NUMBERS, "model": identity, "sequences": chunk}
                chunks.append(
                    load_or_compute_array(
                        results / "vectors",
                        system.name,
                        facts,
                        lambda chunk=chunk: pool_means(
                            system.model.encoder, chunk, config.embed, device=device
                        ),
                    )
                )
            return np.concatenate(chunks)

        yield name, identity, read


def _measure(
    points_ND: NDArray[np.float64], labels_N: NDArray[np.int64], config: EmbeddingsConfig
) -> dict[str, list[float]]:
    """Per RNA: whether its neighbours say its family, its cluster, its silhouette."""
    predicted_N = predict_left_out(points_ND, labels_N, neighbours=config.neighbours)
    num_families = int(labels_N.max()) + 1
    return {
        ACCURACY: (predicted_N == labels_N).astype(float).tolist(),
        "cluster": cluster_points(points_ND, num_families, seed=config.seed).tolist(),
        SILHOUETTE: compute_silhouettes(points_ND, labels_N).tolist(),
    }


def _build_system_scores(
    system: str,
    members: Sequence[FamilyMember],
    labels_N: NDArray[np.int64],
    measured: Mapping[str, list[float]],
    config: EmbeddingsConfig,
) -> tuple[dict[str, dict[str, list[float]]], list[Score]]:
    """Values of single RNAs by metric and family, and every row of a system."""
    values: dict[str, dict[str, list[float]]] = {}
    rows: list[Score] = []
    for metric in (ACCURACY, SILHOUETTE):
        by_family: dict[str, list[float]] = defaultdict(list)
        for member, value in zip(members, measured[metric], strict=True):
            by_family[member.family].append(value)
        values[metric] = by_family
        rows += build_scores(
            by_family,
            config.bootstrap,
            system=system,
            regime=name_regime(system),
            metric=metric,
            is_primary=metric == ACCURACY,
        )
    clusters_N = np.array(measured["cluster"], np.int64)
    for metric, compute in (
        (RAND, compute_adjusted_rand),
        (INFORMATION, compute_normalised_information),
    ):
        estimate = estimate_agreement(compute, labels_N, clusters_N, config.bootstrap)
        rows.append(
            Score(
                system=system,
                regime=name_regime(system),
                part=ALL_FAMILIES,
                metric=metric,
                value=estimate.mean,
                low=estimate.low,
                high=estimate.high,
                units=len(members),
            )
        )
    return values, rows


def _build_all_gains(
    by_system: Mapping[str, Mapping[str, ByFamily]], config: EmbeddingsConfig
) -> Iterator[PairedGain]:
    for baseline in by_system:
        if baseline == PRETRAINED or PRETRAINED not in by_system:
            continue
        for metric in (ACCURACY, SILHOUETTE):
            yield from build_gains(
                by_system[PRETRAINED][metric],
                by_system[baseline][metric],
                config.bootstrap,
                system=PRETRAINED,
                baseline=baseline,
                metric=metric,
            )


def _draw_map(
    system: str,
    facts: Mapping[str, Any],
    members: Sequence[FamilyMember],
    read_vectors: Callable[[], NDArray[np.floating]],
    config: EmbeddingsConfig,
    results: Path,
) -> Curve:
    places: dict[str, list[int]] = defaultdict(list)
    for place, member in enumerate(members):
        places[member.family].append(place)
    rounds = itertools.chain.from_iterable(itertools.zip_longest(*places.values()))
    shown = sorted(
        itertools.islice((place for place in rounds if place is not None), config.max_map_points)
    )
    plane_N2 = load_or_compute_array(
        results,
        f"{system}.map",
        facts,
        lambda: project_points(
            prepare_points(read_vectors())[shown], config.projection, seed=config.seed
        ),
    )
    return Curve(
        kind="scatter",
        system=system,
        part=config.projection,
        x=tuple(plane_N2[:, 0].tolist()),
        y=tuple(plane_N2[:, 1].tolist()),
        labels=tuple(members[place].family for place in shown),
    )


def _build_signature(
    path: Path,
    data: Path | None,
    members: Sequence[FamilyMember],
    config: EmbeddingsConfig,
    loaded: LoadedModel,
) -> str:
    name = "sample" if data is None else path.name.partition(".")[0].lower()
    return build_signature(
        {
            "task": TASK,
            "data": f"{name}-{hash_structures(path)[:8]}",
            "rnas": len(members),
            "families": len({one.family for one in members}),
            "knn": config.neighbours,
            "config": hash_settings(asdict(config)),
            **describe_bootstrap(config.bootstrap),
            "seed": config.seed,
            "ckpt": loaded.metadata["sha256"][:8],
            "numbers": VERSION_OF_NUMBERS,
        }
    )
