"""A base-pair task in words: two tables, what they were measured on, and the signature line."""

from collections.abc import Sequence

from ..scores.summary import MEAN_OF_FAMILIES, SCORINGS, Cell, Gain, Scoring
from ..structure_folds.folds import StructureTask
from ..structure_folds.structure_config import LABELS
from .corpus_audit import find_audit
from .scorecard import Scorecard
from .scorecard_tables import escape_cell
from .structure_signature import build_signature

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


def format_text(card: Scorecard) -> str:
    """The scorecard for a terminal."""
    num_means = len(card.scopes) - len(card.families)
    parts = [
        f"{TITLES[scoring]}\n{_align(build_rows(card, scoring), num_means)}" for scoring in SCORINGS
    ]
    return "\n\n".join([*parts, _describe(card), build_signature(card)])


def format_markdown(card: Scorecard, *, picture: str) -> str:
    """The scorecard as Markdown; `picture` is the chart's file name."""
    title = escape_cell(f"{card.benchmark.name}: {card.benchmark.title}")
    parts = [f"# {title}", f"![F1 of each part]({picture})"]
    for scoring in SCORINGS:
        header, *rows = build_rows(card, scoring)
        lines = [header, ["---"] * len(header), *rows]
        table = "\n".join(f"| {' | '.join(map(escape_cell, line))} |" for line in lines)
        parts += [f"## {TITLES[scoring]}", table]
    description = "\n".join(map(escape_cell, _describe(card).splitlines()))
    return "\n\n".join([*parts, description, f"`{build_signature(card)}`"]) + "\n"


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
    level = f"{100 * config.bootstrap.level:g}"
    # The rest of the header, such as the run's settings, is in the JSON.
    shown = ("run", "step", "file", "sha256", "manifest_sha256")
    known = {key: card.checkpoint[key] for key in shown if key in card.checkpoint}
    return "\n".join(
        [
            f"In brackets the {level} % bootstrap interval over RNAs, for the mean of families "
            "over families and then their RNAs.",
            *(_format_gain(gain, card) for gain in card.gains),
            *describe_folds(card),
            "Thresholds, tuned on validation RNAs: "
            + "; ".join(
                f"{LABELS[system]} {_format_thresholds(card, system)}"
                for system in card.systems
                if any(one.rule for one in card.results if one.system == system)
            ),
            f"Audit: {find_audit(card.checkpoint, card.benchmark.sources)}",
            "Checkpoint: " + ", ".join(f"{key} {value}" for key, value in known.items()),
        ]
    )


def _format_gain(gain: Gain, card: Scorecard) -> str:
    estimates = [(gain.over_sequences, "RNAs")]
    if card.benchmark.task == "families":
        estimates.append((gain.over_families, "families"))
    spans = []
    for estimate, unit in estimates:
        interval = ""
        if estimate.low is not None and estimate.high is not None:
            interval = f" [{estimate.low:+.3f} {estimate.high:+.3f}]"
        spans.append(f"{estimate.mean:+.3f}{interval} over {unit}")
    return f"{LABELS[gain.system]} less {LABELS[gain.baseline]}, relaxed F1: {', '.join(spans)}"


def _format_thresholds(card: Scorecard, system: str) -> str:
    values = [result.threshold for result in card.results if result.system == system]
    return " ".join(f"{value:g}" for value in values if value is not None)
