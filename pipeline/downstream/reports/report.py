"""Write a scorecard: text, Markdown with its picture, CSV and JSON, each signed."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..scores.unit_table import TABLE, write_table
from ..structure_folds.structure_config import LABELS
from .chart import draw_parts
from .corpus_audit import find_audit
from .scorecard import Scorecard
from .scorecard_text import format_markdown, format_text
from .structure_signature import build_signature


def write_report(card: Scorecard, folder: Path) -> list[Path]:
    """Write every form of the scorecard into `folder`, named after the task; returns the files.

    A task report has the same name, so it belongs into another folder.
    """
    task = card.benchmark.task
    folder.mkdir(parents=True, exist_ok=True)
    text, markdown, picture = (folder / f"{task}.{suffix}" for suffix in ("txt", "md", "svg"))
    scores, sequences = folder / f"{task}.csv", folder / TABLE
    facts = folder / f"{task}.json"
    _write_text(text, format_text(card) + "\n")
    _write_text(markdown, format_markdown(card, picture=picture.name))
    _write_text(picture, draw_parts(card))
    _write_text(facts, json.dumps(_build_facts(card), indent=1) + "\n")
    write_table(scores, _iter_score_rows(card))
    write_table(sequences, _iter_sequence_rows(card))
    return [text, markdown, picture, facts, scores, sequences]


def _build_facts(card: Scorecard) -> dict[str, Any]:
    """What was measured, on what and how, without the single sequences."""
    return {
        "signature": build_signature(card),
        "benchmark": {"name": card.benchmark.name, "sources": dict(card.benchmark.sources)},
        "checkpoint": card.checkpoint,
        "audit": find_audit(card.checkpoint, card.benchmark.sources),
        "config": asdict(card.config),
        "threshold_from": "best mean relaxed F1 on validation RNAs",
        "folds": [
            {
                "part": fold.part,
                "num_test": len(fold.test),
                "num_train": len(fold.train),
                "num_validation": len(fold.validation),
                "num_shared": fold.num_shared,
                "num_repeats": fold.num_repeats,
                "num_test_repeats": fold.num_test_repeats,
            }
            for fold in card.benchmark.folds
        ],
        "fits": [
            {
                key: value
                for key, value in asdict(replace(result, sequences=(), histogram=None)).items()
                if key not in ("sequences", "histogram")
            }
            for result in card.results
        ],
        "scores": [asdict(cell) for cell in card.cells],
        "gains": [asdict(gain) for gain in card.gains],
    }


def _iter_score_rows(card: Scorecard) -> Iterator[dict[str, Any]]:
    """One row per system, family or summary, and scoring."""
    signature = build_signature(card)
    result_of = {(result.system, result.part): result for result in card.results}
    fold_of = {fold.part: fold for fold in card.benchmark.folds}
    for cell in card.cells:
        result = result_of.get((cell.system, cell.scope))
        fold = fold_of.get(cell.scope)
        yield {
            **asdict(cell),
            "threshold": result and result.threshold,
            "validation_f1": result and result.validation_f1,
            "num_train": result and result.num_train,
            "num_validation": result and result.num_validation,
            "num_shared": fold and fold.num_shared,
            "num_repeats": fold and fold.num_repeats,
            "num_test_repeats": fold and fold.num_test_repeats,
            "signature": signature,
        }


def _iter_sequence_rows(card: Scorecard) -> Iterator[dict[str, Any]]:
    """One row per system and tested RNA, with the predicted structure."""
    signature = build_signature(card)
    for result in card.results:
        for one in result.sequences:
            scores = {"strict": one.strict.score(), "relaxed": one.relaxed.score()}
            yield {
                "system": LABELS[result.system],
                "part": result.part,
                "id": one.id,
                "length_nt": one.length_nt,
                "threshold": result.threshold,
                **{
                    f"{scoring}_{metric}": round(value, 6)
                    for scoring, score in scores.items()
                    for metric, value in score._asdict().items()
                },
                "predicted": one.predicted,
                "signature": signature,
            }


def _write_text(path: Path, text: str) -> None:
    scratch = path.with_name(path.name + ".partial")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(path)
