"""All that the report of a base-pair task says, before it is written as anything."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..scores.summary import (
    MEAN_OF_FAMILIES,
    MEAN_OF_SEQUENCES,
    POOLED_PAIRS,
    Cell,
    Gain,
    Scoring,
    compare_systems,
    summarise,
)
from ..structure_folds.fit_overlap import FitOverlap, find_fit_overlap
from ..structure_folds.fold_results import FoldResult
from ..structure_folds.folds import Benchmark
from ..structure_folds.structure_config import StructureConfig


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scorecard:
    """Everything the report says."""

    benchmark: Benchmark
    checkpoint: dict[str, str]
    """Metadata of the weights: file, sha256, and what their run wrote."""
    config: StructureConfig
    results: Sequence[FoldResult]
    cells: Sequence[Cell]
    gains: Sequence[Gain]
    overlaps: Sequence[FitOverlap]
    """What the fit and the test of each fold share, in the order of the folds."""

    @property
    def systems(self) -> list[str]:
        """Systems that ran, in the order of the table."""
        return list(dict.fromkeys(cell.system for cell in self.cells))

    @property
    def families(self) -> list[str]:
        """Held-out families, in order of name, or test sets."""
        return self.benchmark.parts

    @property
    def scopes(self) -> list[str]:
        """Lines of a table: the parts, and the means over them where they are families."""
        if self.benchmark.task != "families":
            return self.families
        return [*self.families, MEAN_OF_FAMILIES, MEAN_OF_SEQUENCES, POOLED_PAIRS]

    def find(self, system: str, scope: str, scoring: Scoring) -> Cell:
        """The cell of one system on one family or summary."""
        return next(
            cell
            for cell in self.cells
            if (cell.system, cell.scope, cell.scoring) == (system, scope, scoring)
        )


def build_scorecard(
    benchmark: Benchmark,
    checkpoint: dict[str, str],
    config: StructureConfig,
    results: Sequence[FoldResult],
) -> Scorecard:
    """Summarise fold results."""
    if not results:
        raise ValueError("no system ran: name one that can in systems=")
    return Scorecard(
        benchmark=benchmark,
        checkpoint=checkpoint,
        config=config,
        results=results,
        cells=summarise(results, config.bootstrap),
        gains=compare_systems(results, "pretrained", config.bootstrap),
        overlaps=[
            find_fit_overlap(fold, benchmark.records, min_identity=config.near_identity)
            for fold in benchmark.folds
        ],
    )
