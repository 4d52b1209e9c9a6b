"""What a base-pair task hands to the report: scores, gains, cases, curves, costs, notes."""

from collections.abc import Iterator
from functools import partial

from ..reports.scorecard import Scorecard
from ..reports.scorecard_text import describe_folds
from ..reports.structure_signature import build_signature, list_settings
from ..scores.pair_curves import PairHistogram, build_precision_recall, build_reliability
from ..scores.pair_scores import compute_values, group_by_family
from ..scores.paired import build_family_gain, build_gain
from ..scores.summary import MEAN_OF_FAMILIES, MEAN_OF_SEQUENCES, POOLED_PAIRS
from ..structures.dot_bracket import write_structure
from ..task_report import Curve, PairedGain, StructureCase, TaskReport
from .published_structure import describe_omitted, list_published
from .structure_config import LABELS
from .structure_scores import TestedRNA, iter_scores, list_tested

SUBJECT = "pretrained"
GAIN_METRICS = ("F1 relaxed", "F1 strict")


def build_structure_report(card: Scorecard) -> TaskReport:
    """Everything that is known of one task; scores are ordered by system, then part."""
    benchmark = card.benchmark
    return TaskReport(
        task=benchmark.task,
        title=benchmark.title,
        signature=build_signature(card),
        scores=tuple(iter_scores(card)),
        gains=tuple(_iter_gains(card)),
        published=list_published(benchmark),
        notes=(*describe_folds(card), *describe_omitted(benchmark)),
        cases=tuple(_iter_cases(card)),
        curves=tuple(_iter_curves(card)),
        costs=_build_costs(card),
        settings=list_settings(card),
        sources=dict(benchmark.sources),
        checkpoint=card.checkpoint,
    )


def _iter_gains(card: Scorecard) -> Iterator[PairedGain]:
    """The pretrained encoder against every other system: each part, and the means over families."""
    if SUBJECT not in card.systems:
        return
    own = [one.scored for one in list_tested(card, SUBJECT)]
    for system in card.systems:
        if system == SUBJECT:
            continue
        theirs = [one.scored for one in list_tested(card, system)]
        names = (LABELS[SUBJECT], LABELS[system])
        for metric in GAIN_METRICS:
            mine, other = compute_values(own, metric), compute_values(theirs, metric)
            my_parts, other_parts = group_by_family(own, mine), group_by_family(theirs, other)
            build = partial(build_gain, config=card.config.bootstrap, names=names, metric=metric)
            for part in my_parts:
                yield build(my_parts[part], other_parts[part], part=part)
            if card.benchmark.task == "families":
                yield build_family_gain(
                    my_parts,
                    other_parts,
                    card.config.bootstrap,
                    names=names,
                    part=MEAN_OF_FAMILIES,
                    metric=metric,
                )
                yield build(mine, other, part=MEAN_OF_SEQUENCES)


def _iter_cases(card: Scorecard) -> Iterator[StructureCase]:
    """Best, median and worst RNA of each part, each once, of the first system, by relaxed F1."""
    tested = list_tested(card, card.systems[0])
    for part in card.benchmark.parts:
        # Where no pair is known every prediction scores 0: nothing to look at.
        known = [one for one in tested if one.part == part and len(one.record.pairs_P2)]
        ranked = sorted(known, key=lambda one: -one.result.relaxed.score().f1)
        if not ranked:
            continue
        chosen = {len(ranked) // 2: "median", len(ranked) - 1: "worst", 0: "best"}
        for place in sorted(chosen):
            yield _build_case(ranked[place], LABELS[card.systems[0]], chosen[place])


def _build_case(tested: TestedRNA, system: str, label: str) -> StructureCase:
    record = tested.record
    return StructureCase(
        id=record.id,
        part=tested.part,
        system=system,
        label=label,
        sequence=record.sequence,
        known=write_structure(record.pairs_P2, len(record.sequence)),
        predicted=tested.result.predicted,
        metric="F1 relaxed",
        f1=tested.result.relaxed.score().f1,
    )


def _iter_curves(card: Scorecard) -> Iterator[Curve]:
    """Reliability, and precision against recall: over all families, or of each test set."""
    is_families = card.benchmark.task == "families"
    histograms: dict[tuple[str, str], PairHistogram] = {}
    for result in card.results:
        if result.histogram is not None:
            key = (result.system, POOLED_PAIRS if is_families else result.part)
            histograms[key] = histograms.get(key, PairHistogram()) + result.histogram
    for (system, part), histogram in histograms.items():
        yield build_reliability(histogram, system=LABELS[system], part=part)
        yield build_precision_recall(histogram, system=LABELS[system], part=part)


def _build_costs(card: Scorecard) -> dict[str, float]:
    """RNAs and nucleotides of each part, and seconds of each phase of each system on it."""
    costs: dict[str, float] = {}
    for fold in card.benchmark.folds:
        tested = [card.benchmark.records[index] for index in fold.test]
        costs[f"{fold.part}: tested RNAs"] = len(tested)
        costs[f"{fold.part}: tested nt"] = sum(len(record.sequence) for record in tested)
    for result in card.results:
        name = f"{result.part}: {LABELS[result.system]}"
        if result.rule:
            costs[f"{name}, fit seconds"] = round(result.fit_seconds, 3)
            costs[f"{name}, tune seconds"] = round(result.tune_seconds, 3)
        costs[f"{name}, test seconds"] = round(result.test_seconds, 3)
    return costs
