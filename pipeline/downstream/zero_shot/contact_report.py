"""From scores of every pair of letters to rows of RNAs, and to a report's scores, gains, cases.

Shape suffixes: L letters of one RNA, P base pairs.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from ....model.contacts import compute_auc, compute_precision
from ..scores.bootstrap import BootstrapConfig
from ..scoring import score_pairs
from ..structure import build_contact_map, rank_pairs
from ..structures.dot_bracket import write_structure
from ..structures.records import StructureRecord
from ..task_report import PairedGain, Score, StructureCase
from .contact_scores import Scores
from .masked_models import PRETRAINED
from .unit_scores import build_gains, build_scores

JACOBIAN, BEST_MAP, PROBE = "zero-shot: Jacobian", "zero-shot: one map", "attention probe"
WITHOUT_MODEL = "none"
METRICS = ("precision at N", "AUC", "F1 strict", "F1 relaxed")
NOTES = (
    f"`{JACOBIAN}` uses no label but for the threshold of F1; `{BEST_MAP}` chooses one "
    f"attention map and `{PROBE}` fits a logistic regression on RNAs of other families.",
    "precision at N: share of known pairs among the N best scored, N being their number.",
)

Row = dict[str, Any]
"""One RNA: its `index` in the records, its `predicted` structure and a value of each metric."""
Results = Mapping[tuple[str, str], Mapping[str, list[Row]]]
"""Rows by system and way of reading, then by family."""


def score_contacts(index: int, record: StructureRecord, scores_LL: Scores, threshold: float) -> Row:
    """The row of one RNA; pairs are predicted greedily among scores above the threshold."""
    found_P2 = rank_pairs(scores_LL, record.sequence, threshold).pairs_P2
    is_paired_LL = torch.from_numpy(build_contact_map(record.pairs_P2, len(scores_LL)) > 0)
    scores = torch.from_numpy(scores_LL)
    values = (
        compute_precision(scores, is_paired_LL),
        compute_auc(scores, is_paired_LL),
        score_pairs(record.pairs_P2, found_P2, relaxed=False).f1,
        score_pairs(record.pairs_P2, found_P2, relaxed=True).f1,
    )
    return {
        "index": index,
        "predicted": write_structure(found_P2, len(record.sequence)),
        **dict(zip(METRICS, values, strict=True)),
    }


def build_contact_scores(results: Results, config: BootstrapConfig) -> Iterator[Score]:
    """Scores of every system read in every way, metric by metric."""
    for (system, method), by_family in results.items():
        for metric in METRICS:
            yield from build_scores(
                _take(by_family, metric),
                config,
                system=system,
                regime=method,
                metric=metric,
                is_primary=metric == METRICS[0] and method in (JACOBIAN, WITHOUT_MODEL),
            )


def build_contact_gains(results: Results, config: BootstrapConfig) -> Iterator[PairedGain]:
    """The pretrained model less each other row: read in the same way, or without a model."""
    for (system, method), own in results.items():
        if system != PRETRAINED:
            continue
        for (baseline, other_method), theirs in results.items():
            if baseline == PRETRAINED or other_method not in (method, WITHOUT_MODEL):
                continue
            for metric in METRICS:
                yield from build_gains(
                    _take(own, metric),
                    _take(theirs, metric),
                    config,
                    system=f"{system} ({method})",
                    baseline=baseline
                    if other_method == WITHOUT_MODEL
                    else f"{baseline} ({method})",
                    metric=metric,
                )


def choose_contact_cases(
    results: Results, records: Sequence[StructureRecord]
) -> Iterator[StructureCase]:
    """Best, median and worst RNA of the pretrained model's Jacobian."""
    by_family = results.get((PRETRAINED, JACOBIAN), {})
    rows = sorted((row for rows in by_family.values() for row in rows), key=_order_of_row)
    chosen = {"best": -1, "median": len(rows) // 2, "worst": 0}
    for label, place in chosen.items() if len(rows) > 2 else ():
        record = records[rows[place]["index"]]
        yield StructureCase(
            id=record.id,
            part=record.family,
            system=f"{PRETRAINED}, {JACOBIAN}",
            label=label,
            sequence=record.sequence,
            known=write_structure(record.pairs_P2, len(record.sequence)),
            predicted=rows[place]["predicted"],
            metric="F1 strict",
            f1=rows[place]["F1 strict"],
        )


def iter_contact_rows(results: Results, records: Sequence[StructureRecord]) -> Iterator[Row]:
    """Rows of the table of single RNAs."""
    for (system, method), by_family in results.items():
        for family, rows in by_family.items():
            for row in rows:
                record = records[row["index"]]
                yield {
                    "system": system,
                    "regime": method,
                    "part": family,
                    "id": record.id,
                    **{metric: row[metric] for metric in METRICS},
                    "predicted": row["predicted"],
                }


def _take(by_family: Mapping[str, list[Row]], metric: str) -> dict[str, list[float]]:
    return {family: [row[metric] for row in rows] for family, rows in by_family.items()}


def _order_of_row(row: Row) -> tuple[float, int]:
    return row["F1 strict"], row["index"]
