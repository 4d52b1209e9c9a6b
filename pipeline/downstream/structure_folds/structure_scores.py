"""Scores of a base-pair task: its parts, the means over them, and slices of its RNAs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..reports.scorecard import Scorecard
from ..scores.pair_scores import (
    ScoreConfig,
    ScoredRNA,
    build_scored_rna,
    score_families,
    score_pooled,
    score_sequences,
)
from ..scores.slices import (
    LENGTH_BINS,
    count_pseudoknot_pairs,
    find_crossing_pairs,
    name_length_bin,
)
from ..scores.summary import MEAN_OF_FAMILIES, MEAN_OF_SEQUENCES, POOLED_PAIRS
from ..scoring import select_truth
from ..structures.dot_bracket import read_structure
from ..structures.records import StructureRecord
from ..task_report import Score
from .fold_results import SequenceResult
from .structure_config import LABELS

NOT_NEAR = "no near duplicates"
CANONICAL = "canonical truth"
"""Known pairs that no decoder may predict are not counted."""
KNOTTED = "RNAs with a pseudoknot"
KNOT_PAIRS = "pseudoknot pairs"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TestedRNA:
    """One tested RNA and what a system predicted of it."""

    part: str
    record: StructureRecord
    is_near: bool
    """Whether the fit holds a near duplicate of it."""
    result: SequenceResult

    @property
    def scored(self) -> ScoredRNA:
        """Its counts, with the part as the family."""
        return ScoredRNA(
            id=self.result.id,
            family=self.part,
            length_nt=self.result.length_nt,
            strict=self.result.strict,
            relaxed=self.result.relaxed,
        )


def list_tested(card: Scorecard, system: str) -> list[TestedRNA]:
    """Every tested RNA in the order of the folds: the same for every system."""
    result_of = {one.part: one for one in card.results if one.system == system}
    tested: list[TestedRNA] = []
    for fold, overlap in zip(card.benchmark.folds, card.overlaps, strict=True):
        sequences = result_of[fold.part].sequences
        for index, is_near, one in zip(fold.test, overlap.is_near, sequences, strict=True):
            record = card.benchmark.records[index]
            assert record.id == one.id, f"{one.id} stands where {record.id} was tested"
            tested.append(
                TestedRNA(part=fold.part, record=record, is_near=bool(is_near), result=one)
            )
    return tested


def iter_scores(card: Scorecard) -> Iterator[Score]:
    """Scores of every system: parts, means, slices."""
    for system in card.systems:
        regime = next(one.regime for one in card.results if one.system == system)
        config = ScoreConfig(
            system=LABELS[system],
            regime=regime,
            bootstrap=card.config.bootstrap,
        )
        tested = list_tested(card, system)
        if card.benchmark.task == "families":
            yield from _iter_families(tested, config)
        else:
            yield from _iter_test_sets(tested, config)


def _iter_families(tested: Sequence[TestedRNA], config: ScoreConfig) -> Iterator[Score]:
    """Families side by side, the three ways to put them together, and slices of all RNAs."""
    rnas = [one.scored for one in tested]
    by_part = _group(tested)
    for part, own in by_part.items():
        yield from score_sequences([one.scored for one in own], config, part=part)
    yield from score_families(rnas, config, is_primary=True)
    yield from score_sequences(rnas, config, part=MEAN_OF_SEQUENCES)
    yield from score_pooled(rnas, config, part=POOLED_PAIRS)
    yield from score_families(
        [_score_canonical(one) for one in tested], config, part=f"{MEAN_OF_FAMILIES}, {CANONICAL}"
    )
    clean = [one.scored for one in tested if not one.is_near]
    if 0 < len(clean) < len(rnas):
        yield from score_families(clean, config, part=f"{MEAN_OF_FAMILIES}, {NOT_NEAR}")
    for part, own in by_part.items():
        clean = [one.scored for one in own if not one.is_near]
        if 0 < len(clean) < len(own):
            yield from score_sequences(clean, config, part=f"{part}, {NOT_NEAR}")
    yield from _iter_slices(tested, config, MEAN_OF_SEQUENCES)


def _iter_test_sets(tested: Sequence[TestedRNA], config: ScoreConfig) -> Iterator[Score]:
    """Each test set with its slices; sets of different fits are not averaged."""
    for part, own in _group(tested).items():
        rnas = [one.scored for one in own]
        yield from score_sequences(rnas, config, part=part, is_primary=True)
        yield from score_pooled(rnas, config, part=f"{part}, {POOLED_PAIRS}")
        yield from _iter_slices(own, config, part)


def _iter_slices(tested: Sequence[TestedRNA], config: ScoreConfig, whole: str) -> Iterator[Score]:
    """Means over the RNAs of each slice that is neither empty nor everything."""
    canonical = [_score_canonical(one) for one in tested]
    yield from score_sequences(canonical, config, part=f"{whole}, {CANONICAL}")
    is_knotted = [bool(find_crossing_pairs(one.record.pairs_P2).any()) for one in tested]
    bins = [name_length_bin(len(one.record.sequence)) for one in tested]
    slices = {NOT_NEAR: [not one.is_near for one in tested], KNOTTED: is_knotted}
    for name in dict.fromkeys(map(name_length_bin, (*LENGTH_BINS, LENGTH_BINS[-1] + 1))):
        slices[name] = [one == name for one in bins]
    for name, is_in in slices.items():
        chosen = [one.scored for one, take in zip(tested, is_in, strict=True) if take]
        if 0 < len(chosen) < len(tested):
            yield from score_sequences(chosen, config, part=f"{whole}, {name}")
    knots = [rna for one in tested if (rna := _score_knots(one)) is not None]
    if any(is_knotted):
        yield from score_pooled(knots, config, part=f"{whole}, {KNOT_PAIRS}")


def _group(tested: Sequence[TestedRNA]) -> dict[str, list[TestedRNA]]:
    groups: dict[str, list[TestedRNA]] = {}
    for one in tested:
        groups.setdefault(one.part, []).append(one)
    return groups


def _score_canonical(tested: TestedRNA) -> ScoredRNA:
    record = tested.record
    return build_scored_rna(
        select_truth(record.pairs_P2, record.sequence, "canonical only"),
        read_structure(tested.result.predicted),
        id=record.id,
        family=tested.part,
        length_nt=len(record.sequence),
    )


def _score_knots(tested: TestedRNA) -> ScoredRNA | None:
    """Counts over pseudoknot pairs alone; None where neither structure has one."""
    known, predicted = tested.record.pairs_P2, read_structure(tested.result.predicted)
    if not (find_crossing_pairs(known).any() or find_crossing_pairs(predicted).any()):
        return None
    return ScoredRNA(
        id=tested.record.id,
        family=tested.part,
        length_nt=len(tested.record.sequence),
        strict=count_pseudoknot_pairs(known, predicted, relaxed=False),
        relaxed=count_pseudoknot_pairs(known, predicted, relaxed=True),
    )
