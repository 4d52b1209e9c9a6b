"""The scorecard in words: two tables, what they were measured on, and the signature line."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

from ....data_prep.audits.audit_lines import find_audit_line
from ....data_prep.shards import hash_manifest
from ..scores.signature import build_signature as join_facts
from ..scores.signature import describe_decoder
from ..scores.summary import (
    MEAN_OF_FAMILIES,
    MEAN_OF_SEQUENCES,
    POOLED_PAIRS,
    SCORINGS,
    Cell,
    Gain,
    Scoring,
    compare_systems,
    summarise,
)
from ..scoring import EMPTY_POLICY, TRUTH_POLICY
from ..structure_folds.fit_overlap import FitOverlap, find_fit_overlap
from ..structure_folds.fold_results import FoldResult, build_key
from ..structure_folds.folds import Benchmark, StructureTask
from ..structure_folds.structure_config import LABELS, StructureConfig

TITLES: dict[Scoring, str] = {
    "relaxed": "Relaxed F1: a pair one step off at one end counts",
    "strict": "Strict F1: exact pairs only",
}
CAVEATS: dict[StructureTask, tuple[str, ...]] = {
    "families": (
        "Held out: no structure of the family was used to fit the head or to tune the threshold.",
        "Not held out: the encoder may have seen the family's sequences in pretraining.",
    ),
    "intra-family": (
        "Held out: no tested structure was used to fit the head or to tune the threshold; others "
        "of the same family were.",
        "Not held out: the encoder may have seen the sequences in pretraining.",
    ),
    "out-of-family": (
        "Held out: no tested structure was used to fit the head or to tune the threshold; whether "
        "others of the family were is up to the sets.",
        "Not held out: the encoder may have seen the sequences in pretraining.",
    ),
}
SUFFIXES: dict[StructureTask, str] = {
    "families": "fam",
    "intra-family": "intra",
    "out-of-family": "out",
}
"""What the signature calls a task."""


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


def build_signature(card: Scorecard) -> str:
    """All that has to be equal for two tables to be comparable; `config` hashes every setting."""
    config, fit = card.config, card.config.fit
    settings = asdict(replace(config, workers=0, device="auto"))
    schedule = f"{fit.head_steps}x{fit.rnas_per_step}@{fit.peak_lr:g}"
    if config.regime.regime != "frozen":
        schedule = f"{config.regime.epochs}epochs@{config.regime.peak_lr:g}"
    facts = {
        "benchmark": _clean(f"{card.benchmark.name}-{SUFFIXES[card.benchmark.task]}"),
        "data": card.benchmark.sha256[:8],
        "folds": _clean("+".join(card.families))
        if card.benchmark.is_partial
        else len(card.families),
        "test": f"{config.max_test_per_part or 'all'}/part,<={config.max_length_nt}nt",
        "preset": config.preset,
        "fit": f"{schedule},{fit.max_fit_sequences or 'all'},<={fit.max_fit_length_nt}nt",
        **describe_decoder(config.decoder),
        "regime": config.regime.regime,
        "threshold": f"val-relaxed-f1,{fit.max_validation_sequences or 'all'}",
        "truth": TRUTH_POLICY.replace(" ", "-"),
        "empty": EMPTY_POLICY,
        "bs": config.bootstrap.num_resamples,
        "seed": config.seed,
        "config": build_key(settings)[:8],
        "ckpt": card.checkpoint["sha256"][:8],
        "v": version("openrinalmo"),
    }
    return join_facts(facts)


def _clean(name: str) -> str:
    """A name of a user's without the mark that separates a signature's facts."""
    return name.replace("|", "/")


def find_audit(card: Scorecard) -> str:
    """The corpus audit's signature for this benchmark, or why there is none.

    The corpus is the folder that the checkpoint's run was given, if it still holds that data.
    """
    config = json.loads(card.checkpoint.get("run_config", "{}"))
    folder = Path(config.get("data", ""))
    manifest = card.checkpoint.get("manifest_sha256")
    if not manifest or not folder.name:
        return "none: the weights do not say which corpus they were trained on"
    try:
        is_it = hash_manifest(folder) == manifest
    except FileNotFoundError:
        is_it = False
    if not is_it:
        return f"none: {folder}, the corpus of this checkpoint, is not there"
    sources = card.benchmark.sources
    lines = {name: find_audit_line(folder, sha256) for name, sha256 in sources.items()}
    found = [line for line in lines.values() if line]
    if found and len(found) < len(lines):
        absent = ", ".join(name for name, line in lines.items() if not line)
        found.append(f"none of {absent}")
    return "; ".join(found) or (
        "none of this benchmark against the pretraining corpus; "
        f"`make audit CORPUS={folder} BENCHMARKS=…` makes one"
    )


def describe_folds(card: Scorecard) -> list[str]:
    """What is held out, what was tested and left out, and what fit and test still share."""
    config, folds = card.config, card.benchmark.folds
    lines = [*CAVEATS[card.benchmark.task], *card.benchmark.notes]
    lines.append(
        f"Tested: at most {config.max_test_per_part or 'all'} RNAs of a part and "
        f"{config.max_length_nt} nt."
    )
    if card.benchmark.task == "families":
        lines.append(
            "Left out of the fit, summed over folds: "
            f"{sum(fold.num_shared for fold in folds)} RNAs whose sequence is in the held-out "
            f"family, {sum(fold.num_repeats for fold in folds)} repeats."
        )
    shared = [
        f"{fold.part} {overlap.num_exact} + {overlap.num_near - overlap.num_exact} "
        f"of {len(fold.test)}"
        for fold, overlap in zip(folds, card.overlaps, strict=True)
        if overlap.num_near
    ]
    lines.append(
        "Tested RNAs that the fit holds exactly + nearly (8-mers say at least "
        f"{config.near_identity:.0%} identity): {'; '.join(shared) or 'none'}."
    )
    return lines


def format_text(card: Scorecard) -> str:
    """The scorecard for a terminal."""
    num_means = len(card.scopes) - len(card.families)
    parts = [
        f"{TITLES[scoring]}\n{_align(build_rows(card, scoring), num_means)}" for scoring in SCORINGS
    ]
    return "\n\n".join([*parts, _describe(card), build_signature(card)])


def format_markdown(card: Scorecard, *, picture: str) -> str:
    """The scorecard as Markdown; `picture` is the chart's file name."""
    parts = [f"# {card.benchmark.name}: {card.benchmark.title}", f"![F1 of each part]({picture})"]
    for scoring in SCORINGS:
        header, *rows = build_rows(card, scoring)
        lines = [header, ["---"] * len(header), *rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        parts += [f"## {TITLES[scoring]}", table]
    return "\n\n".join([*parts, _describe(card), f"`{build_signature(card)}`"]) + "\n"


def build_rows(card: Scorecard, scoring: Scoring) -> list[list[str]]:
    """Header and lines of one table: families and summaries down, systems across."""
    rows = [
        [
            "family" if card.benchmark.task == "families" else "test set",
            "n",
            *(LABELS[system] for system in card.systems),
        ]
    ]
    for scope in card.scopes:
        cells = [card.find(system, scope, scoring) for system in card.systems]
        count = str(cells[0].num_sequences)
        if scope == MEAN_OF_FAMILIES:
            count = f"{len(card.families)} fam."
        rows.append([scope, count, *map(_format_cell, cells)])
    return rows


def _format_cell(cell: Cell) -> str:
    if cell.f1_low is None or cell.f1_high is None:
        return f"{cell.f1:.3f}"
    return f"{cell.f1:.3f} [{cell.f1_low:.2f} {cell.f1_high:.2f}]"


def _align(rows: Sequence[Sequence[str]], num_means: int) -> str:
    """Columns of equal width, with a rule under the header and over the last lines, the means."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    first_mean = len(lines) - num_means
    means = [rule, *lines[first_mean:]] if num_means else []
    return "\n".join([lines[0], rule, *lines[1:first_mean], *means])


def _describe(card: Scorecard) -> str:
    config = card.config
    level = round(100 * config.bootstrap.level)
    # The rest of the header, such as the run's settings, is in the JSON.
    shown = ("run", "step", "file", "sha256", "manifest_sha256")
    known = {key: card.checkpoint[key] for key in shown if key in card.checkpoint}
    return "\n".join(
        [
            f"In brackets the {level} % bootstrap interval over RNAs, for the mean of families "
            "over families.",
            *(_format_gain(gain, card) for gain in card.gains),
            *describe_folds(card),
            "Thresholds, tuned on validation RNAs: "
            + "; ".join(
                f"{LABELS[system]} {_format_thresholds(card, system)}"
                for system in card.systems
                if any(one.rule for one in card.results if one.system == system)
            ),
            f"Audit: {find_audit(card)}",
            "Checkpoint: " + ", ".join(f"{key} {value}" for key, value in known.items()),
        ]
    )


def _format_gain(gain: Gain, card: Scorecard) -> str:
    estimates = [(gain.over_sequences, "RNAs")]
    if card.benchmark.task == "families":
        estimates.append((gain.over_families, "families"))
    spans = [
        f"{estimate.mean:+.3f} [{estimate.low:+.3f} {estimate.high:+.3f}] over {unit}"
        for estimate, unit in estimates
    ]
    return f"{LABELS[gain.system]} less {LABELS[gain.baseline]}, relaxed F1: {', '.join(spans)}"


def _format_thresholds(card: Scorecard, system: str) -> str:
    values = [result.threshold for result in card.results if result.system == system]
    return " ".join(f"{value:.2f}" for value in values if value is not None)
