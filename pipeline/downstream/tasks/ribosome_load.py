"""Mean ribosome load of 5' UTRs (Sample et al. 2019), one number a sequence.

Shape suffixes: N sequences, O outputs, F features.
"""

import math
from collections import Counter, defaultdict
from pathlib import Path
from typing import Literal

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ....model.sequence_heads import RibosomeLoadHead
from ..fitting.regime_config import RegimeConfig
from ..fitting.unfreezing import UnfreezingConfig
from ..sequence_tasks.overlapping import group_overlapping
from ..sequence_tasks.sequence_metrics import score_regression
from ..sequence_tasks.splits import NotedSplit, draw_groups, keep_apart, list_groups
from ..sequence_tasks.task_files import (
    describe_lack,
    find_file,
    find_files,
    hash_each,
    iter_rows,
    read_sequence,
)
from ..task_report import PublishedScore
from .task import Example, Kind, Split, TaskData

VALIDATION_FRACTION = 0.1
RANDOM, HUMAN = "Random7600", "Human7600"
FITTED_SETS = ("MPA_U_test20000", "MPA_H_25000")
"""Our protocol fits on these 50-mers: held-out random ones and designed or human ones."""
LENGTHS_NT = range(25, 101)
MIN_SHARED_NT = 20
"""UTRs that share so many letters in a row are one group: half the 16-mers of the shortest UTR."""
TESTED_PER_LENGTH = 100
MIN_READS = 10
SAMPLE_FILE = "mrl_sample2019.tsv*"
PUBLISHED_FILE = "GSM4084997_varying_length_25to100.csv*"
PUBLISHED_FIT = RegimeConfig(
    optimizer="adam",
    peak_lr=1e-4,
    decay_steps=5000,
    batch_sequences=64,
    epochs=50,
    unfreezing=UnfreezingConfig(schedule="ribosome-load", every_epochs=5),
)

_SOURCE = "RiNALMo, Nature Communications 2025, supplement; fitted on 76,319 random UTRs, {regime}"

ProtocolName = Literal["separate", "published"]


class RibosomeLoadTask:
    """Ribosome load, tested on Random7600 and Human7600.

    The protocol `separate` validates on a tenth of the training UTRs. `published` validates on
    Random7600, which is also reported, as the published script does.
    """

    kind: Kind = "regression"
    reads: Literal["cls", "tokens"] = "tokens"
    primary_metric = "R2"
    published_fit = PUBLISHED_FIT
    encode_one_hot = None
    """The head itself reads the letters: a stronger baseline than a linear map of them."""

    def __init__(self, protocol: ProtocolName = "separate") -> None:
        self.protocol: ProtocolName = protocol
        self.name = "ribosome-load" + ("" if protocol == "separate" else "-published")
        self.title = "Mean ribosome load"
        self.published = _list_published_scores()

    def describe_lack(self, data: Path) -> str:
        """Say which files are not there."""
        return describe_lack(data, "mrl", SAMPLE_FILE, PUBLISHED_FILE)

    def read(self, data: Path | None) -> TaskData:
        """Read the published file where `data` has it, else the 50-mers; no sample."""
        if data is None:
            raise ValueError(
                f"{self.name} needs --data FOLDER: the embedded sample has no ribosome loads"
            )
        if find_files(data, "mrl", PUBLISHED_FILE):
            path = find_file(data, "mrl", PUBLISHED_FILE)
            examples, notes = read_published(path)
            name = "gse114002"
        else:
            path = find_file(data, "mrl", SAMPLE_FILE)
            examples, notes = read_sample2019(path)
            name = "sample2019-50mers"
        return TaskData(name=name, sources=hash_each([path]), examples=examples, notes=tuple(notes))

    def split(self, data: TaskData, *, seed: int) -> list[Split]:
        """One split with both test sets; `separate` fits on nothing they hold, wholly or nearly."""
        parts: dict[str, list[int]] = defaultdict(list)
        for index, example in enumerate(data.examples):
            parts[example.id.partition(":")[0]].append(index)
        tests = {name: tuple(parts[name]) for name in (RANDOM, HUMAN)}
        if self.protocol == "published":
            return [
                NotedSplit(
                    name="published",
                    train=tuple(parts["fit"]),
                    validation=tests[RANDOM],
                    tests=tests,
                    notes=("validated on Random7600, which is reported too, as published",),
                )
            ]
        examples = group_overlapping(
            data.examples, range(len(data.examples)), min_shared_nt=MIN_SHARED_NT
        )
        clean = keep_apart(examples, parts["fit"], [*tests[RANDOM], *tests[HUMAN]])
        validation = draw_groups(
            examples, clean.kept, VALIDATION_FRACTION, seed=seed, by_target=False
        )
        rest = sorted(set(clean.kept) - set(validation))
        apart = keep_apart(examples, rest, validation)
        return [
            NotedSplit(
                name="separate",
                train=apart.kept,
                validation=validation,
                tests=tests,
                groups=list_groups(examples),
                notes=(
                    f"UTRs that share {MIN_SHARED_NT} letters in a row are one group",
                    clean.describe("fit and validation", "a test set"),
                    apart.describe("the fit", "the validation set"),
                ),
            )
        ]

    def build_head(self, embed_dim: int, data: TaskData) -> nn.Module:
        """The published convolutional head, without its dependence on padding."""
        return RibosomeLoadHead(embed_dim)

    def compute_loss(self, outputs_NO: Tensor, targets_N: Tensor) -> Tensor:
        """Mean squared error, of standardised targets as they come."""
        return F.mse_loss(outputs_NO[:, 0], targets_N.to(outputs_NO))

    def score(
        self, outputs_NO: NDArray[np.floating], targets_N: NDArray[np.floating]
    ) -> dict[str, float]:
        """Metrics in the units of the loads; a predicted one is 0 at least, as published."""
        return score_regression(np.maximum(outputs_NO[:, 0], 0), targets_N)


def read_sample2019(path: Path) -> tuple[list[Example], list[str]]:
    """The 50-mers to fit on and the two test sets, of a file with set, utr, rl, split_name."""
    rows = defaultdict(list)
    for number, row in iter_rows(path, ("utr", "rl", "split_name")):
        where = f"{path}:{number}"
        rows[row["split_name"]].append(
            (number, read_sequence(row["utr"], where), _read_load(row["rl"], where))
        )
    if absent := [name for name in (RANDOM, HUMAN, *FITTED_SETS) if not rows[name]]:
        raise ValueError(f"{path} has no row with split_name {', '.join(absent)}")
    tested = {utr for name in (RANDOM, HUMAN) for _, utr, _ in rows[name]}
    fitted = [row for name in FITTED_SETS for row in rows[name]]
    novel = [row for row in fitted if row[1] not in tested]
    examples = [
        Example(id=f"{part}:{number}", sequence=utr, target=load)
        for part, listed in (("fit", novel), (RANDOM, rows[RANDOM]), (HUMAN, rows[HUMAN]))
        for number, utr, load in listed
    ]
    return examples, [
        f"our protocol: fitted on 50-mers of other libraries ({', '.join(FITTED_SETS)}), "
        "whose loads have another spread, so R2 is lower than the squared Pearson correlation",
        f"{len(fitted) - len(novel)} UTRs to fit on are in a test set and left out",
    ]


def read_published(path: Path) -> tuple[list[Example], list[str]]:
    """The file of GEO GSE114002 with its published filter and test sets.

    Kept are rows with a load, of set random or human, with 10 reads or more, whose UTR occurs once
    among those. Of each length from 25 to 100 nt the 100 best covered are tested; the other random
    ones are fitted on, the other human ones not used.
    """
    columns = ("utr", "len", "total_reads", "set", "rl")
    kept: list[tuple[int, str, float, float, str]] = []
    for number, row in iter_rows(path, columns, separator=","):
        where = f"{path}:{number}"
        is_blank = row["rl"].strip().lower() in ("", "nan", "na")
        if is_blank or row["set"] not in ("random", "human"):
            continue
        reads = _read_number(row["total_reads"], f"{where} total_reads")
        if reads >= MIN_READS:
            utr = read_sequence(row["utr"], where)
            if _read_number(row["len"], f"{where} len") != len(utr):
                raise ValueError(f"{where} len is {row['len']} but the UTR has {len(utr)} nt")
            kept.append((number, utr, _read_load(row["rl"], where), reads, row["set"]))
    occurrences = Counter(utr for _, utr, *_ in kept)
    unique = [one for one in kept if occurrences[one[1]] == 1]
    by_length: dict[tuple[str, int], list[tuple[int, str, float, float, str]]] = defaultdict(list)
    for one in unique:
        by_length[one[4], len(one[1])].append(one)
    examples: list[Example] = []
    for (origin, length), listed in sorted(by_length.items()):
        # The earlier row among equally covered ones: the sort is stable.
        best_first = sorted(listed, key=lambda one: -one[3])
        num_tested = TESTED_PER_LENGTH if length in LENGTHS_NT else 0
        for place, (number, utr, load, *_) in enumerate(best_first):
            part = {"random": RANDOM, "human": HUMAN}[origin]
            if place >= num_tested:
                if origin == "human":
                    break
                part = "fit"
            examples.append(Example(id=f"{part}:{number}", sequence=utr, target=load))
    counts = Counter(example.id.partition(":")[0] for example in examples)
    if absent := [part for part in ("fit", RANDOM, HUMAN) if not counts[part]]:
        raise ValueError(f"{path} leaves nothing for {', '.join(absent)} after its filter")
    return examples, [
        f"{len(kept) - len(unique):,} rows of repeated UTRs left out, all of each, as published"
    ]


def _read_load(text: str, where: str) -> float:
    return _read_number(text, f"{where} rl")


def _read_number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{where} must be a number, got {text!r}")
    return value


def _list_published_scores() -> tuple[PublishedScore, ...]:
    rows = (
        ("RiNALMo giga", "fine-tuned", 0.925),
        ("RiNALMo giga", "frozen", 0.610),
        ("RiNALMo mega", "fine-tuned", 0.908),
        ("RiNALMo micro", "fine-tuned", 0.884),
        ("RNA-FM", "fine-tuned", 0.842),
    )
    return tuple(
        PublishedScore(
            system=f"{system}, {regime}",
            part=RANDOM,
            metric="R2",
            value=value,
            source=_SOURCE.format(regime=regime) + ", validated on the same set",
        )
        for system, regime, value in rows
    )
