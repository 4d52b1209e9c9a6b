"""Splice sites: is the middle of a window a donor (or acceptor)? Fitted on human, tested on others.

Shape suffixes: N sequences, D embed_dim, O outputs, F features.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ....model.sequence_heads import SpliceHead
from ..baselines import encode_one_hot
from ..fitting.regime_config import RegimeConfig
from ..sequence_tasks.overlapping import group_overlapping
from ..sequence_tasks.sequence_metrics import score_binary
from ..sequence_tasks.splits import NotedSplit, draw_groups, keep_apart, list_groups
from ..sequence_tasks.task_files import describe_lack, find_file, find_files, hash_each
from ..task_report import PublishedScore
from .splice_files import (
    EIE_SPECIES,
    EIE_WINDOW_NT,
    PUBLISHED_SPECIES,
    TRAIN,
    Site,
    Windows,
    cut_window,
    find_published,
    list_published,
    read_human,
    read_introns,
    read_published,
)
from .task import Example, Kind, Split, TaskData

HUMAN_FILE = "human_arabidopsis_602nt*.tsv*"
VALIDATION_FRACTION = 0.1
MIN_SHARED_NT = 64
"""Windows that share so many letters in a row are one group.

Of the donor's the largest group has 183 then. Shorter stretches of repeats such as Alu join
what lies in no common gene: 50 letters 289 windows, 32 letters 2,409, 16 letters all.
"""
GROUPS_NOTE = f"windows that share {MIN_SHARED_NT} letters in a row, or a name, are one group"
ONE_HOT_FLANK_NT = 20
SHORT = f", {EIE_WINDOW_NT} nt"
"""What the parts of short windows are named by."""
PUBLISHED_FIT = RegimeConfig(
    optimizer="adamw",
    peak_lr=1e-5,
    weight_decay=1e-6,
    lr_schedule="constant",
    batch_sequences=32,
    epochs=2,
)
"""AdamW at 1e-5 throughout, head and blocks together; batch and epochs of an independent run."""


class SpliceTask:
    """Donor or acceptor sites.

    Our protocol fits on human windows of 400 nt and tests on human and Arabidopsis; fitted again on
    102 nt of the same, it is tested on introns of worm, fly and Arabidopsis too, which are short.
    Where the data folder holds the published layout, its training set and four species are read.
    """

    kind: Kind = "binary"
    reads: Literal["cls", "tokens"] = "cls"
    primary_metric = "F1"
    published: tuple[PublishedScore, ...] = ()
    """Published F1 are means of donor and acceptor: they stand beside neither."""
    published_fit = PUBLISHED_FIT

    def __init__(self, site: Site) -> None:
        self.site: Site = site
        self.name = f"splice-{site}"
        self.title = f"Splice sites: {site}"

    def describe_lack(self, data: Path) -> str:
        """Say which files are not there; the published layout is not looked at closely."""
        return "" if find_published(data) else describe_lack(data, "splice", HUMAN_FILE)

    def read(self, data: Path | None) -> TaskData:
        """Read the windows below `data`; the embedded sample has none."""
        if data is None:
            raise ValueError(
                f"{self.name} needs --data FOLDER: the embedded sample has no splice sites"
            )
        root = find_published(data)
        if root is not None:
            parts = list_published(root, self.site)
            windows = read_published(parts)
            files = [path for listed in parts.values() for path, _ in listed]
            name = "spliceator"
        else:
            human = find_file(data, "splice", HUMAN_FILE)
            introns = find_files(data, "splice", "korf_eie.*.txt*")
            windows = read_human(human, self.site)
            windows = Windows(list(_add_short(windows.examples)), windows.notes)
            for path in introns:
                examples, notes = read_introns(path, self.site)
                windows.examples.extend(examples)
                windows.notes.extend(notes)
            files, name = [human, *introns], "human602"
        return TaskData(
            name=name,
            sources=hash_each(files),
            examples=windows.examples,
            classes=("decoy", self.site),
            notes=(
                *windows.notes,
                "calling every window a site has F1 0.667 where half of them are",
            ),
        )

    def split(self, data: TaskData, *, seed: int) -> list[Split]:
        """Validation is a tenth of the training windows; near copies leave the fit."""
        parts: dict[str, list[int]] = {}
        for index, example in enumerate(data.examples):
            parts.setdefault(example.id.partition(":")[0], []).append(index)
        published = {part: tuple(parts[part]) for part in PUBLISHED_SPECIES if part in parts}
        if "validation" in parts:
            train, validation = tuple(parts[TRAIN]), tuple(parts["validation"])
            return [
                NotedSplit(
                    name="published",
                    train=train,
                    validation=validation,
                    tests=published,
                    notes=(
                        "the published split is taken as it is: homologous windows may straddle",
                    ),
                )
            ]
        if published:
            return [_split_grouped(data, "grouped", parts[TRAIN], published, seed)]
        long = {part: tuple(parts[part]) for part in ("human", "Arabidopsis") if part in parts}
        split = _split_grouped(data, "400 nt", parts[TRAIN], long, seed)
        return [split, _shorten(data, split, parts)]

    def build_head(self, embed_dim: int, data: TaskData) -> nn.Module:
        """The published head on `<cls>`."""
        return SpliceHead(embed_dim)

    def compute_loss(self, outputs_NO: Tensor, targets_N: Tensor) -> Tensor:
        """Binary cross-entropy."""
        return F.binary_cross_entropy_with_logits(outputs_NO[:, 0], targets_N.to(outputs_NO))

    def score(
        self, outputs_NO: NDArray[np.floating], targets_N: NDArray[np.floating]
    ) -> dict[str, float]:
        """Metrics at a logit of 0."""
        return score_binary(outputs_NO[:, 0], targets_N)

    def encode_one_hot(self, sequences: Sequence[str]) -> NDArray[np.float32]:
        """Features_NF: the letters of 20 nt on both sides of the site and its own two."""
        wide = 2 * ONE_HOT_FLANK_NT + 2
        short = [one for one in sequences if len(one) < wide]
        if short:
            raise ValueError(f"a window must have {wide} nt or more, got one of {len(short[0])}")
        middles = []
        for sequence in sequences:
            start = (len(sequence) - wide) // 2
            middles.append(sequence[start : start + wide])
        return encode_one_hot(middles).reshape(len(sequences), -1)


def _add_short(examples: Sequence[Example]) -> Iterator[Example]:
    """The windows, and each once more as long as those of the introns; HS3D's only so."""
    for example in examples:
        part, _, number = example.id.partition(":")
        if part != "HS3D":
            yield example
        short = cut_window(example.sequence, EIE_WINDOW_NT)
        yield replace(example, id=f"{part}{SHORT}:{number}", sequence=short)


def _split_grouped(
    data: TaskData,
    name: str,
    windows: Sequence[int],
    tests: Mapping[str, tuple[int, ...]],
    seed: int,
) -> NotedSplit:
    """Fit and validation from `windows`, in whole groups, without near copies of one another."""
    tested = [index for test in tests.values() for index in test]
    examples = group_overlapping(data.examples, [*windows, *tested], min_shared_nt=MIN_SHARED_NT)
    clean = keep_apart(examples, windows, tested)
    validation = draw_groups(examples, clean.kept, VALIDATION_FRACTION, seed=seed, by_target=True)
    rest = sorted(set(clean.kept) - set(validation))
    apart = keep_apart(examples, rest, validation)
    return NotedSplit(
        name=name,
        train=apart.kept,
        validation=validation,
        tests=tests,
        groups=list_groups(examples),
        notes=(
            GROUPS_NOTE,
            clean.describe("fit and validation", "a test set"),
            apart.describe("the fit", "the validation set"),
        ),
    )


def _shorten(data: TaskData, split: Split, parts: Mapping[str, Sequence[int]]) -> NotedSplit:
    """The same fit on short windows, for the sets that have no longer ones.

    A model fitted on 400 nt meets 102 nt as something else altogether: its logits move as a whole,
    and every window is called alike.
    """
    short_of = {data.examples[index].id.partition(":")[2]: index for index in parts[TRAIN + SHORT]}
    train, validation = (
        [short_of[data.examples[index].id.partition(":")[2]] for index in indices]
        for indices in (split.train, split.validation)
    )
    names = ("human", "Arabidopsis", "HS3D")
    order = (*(name + SHORT for name in names), *EIE_SPECIES.values())
    tests = {part: tuple(parts[part]) for part in order if part in parts}
    tested = [index for test in tests.values() for index in test]
    fitted = [*train, *validation]
    examples = group_overlapping(data.examples, [*fitted, *tested], min_shared_nt=MIN_SHARED_NT)
    clean = keep_apart(examples, validation, tested)
    apart = keep_apart(examples, train, [*tested, *clean.kept])
    return NotedSplit(
        name="102 nt",
        train=apart.kept,
        validation=clean.kept,
        tests=tests,
        groups=list_groups(examples),
        notes=(
            GROUPS_NOTE,
            clean.describe("validation", "a test set"),
            apart.describe("the fit", "validation or a test set"),
        ),
    )
