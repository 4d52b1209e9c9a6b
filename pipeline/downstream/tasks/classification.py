"""Which family, or which type, is this ncRNA of? Random splits, and one without shared families.

Shape suffixes: N sequences, C classes, O outputs, F features.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ....data_prep.sample import SAMPLE_FASTA
from ....model.sequence_heads import ClassHead
from ..baselines import encode_one_hot
from ..fitting.regime_config import RegimeConfig
from ..sequence_tasks.near_duplicates import find_holders, find_near
from ..sequence_tasks.sequence_metrics import score_classes
from ..sequence_tasks.splits import NotedSplit, draw_groups, keep_apart
from ..sequence_tasks.task_files import describe_lack, find_file, hash_each
from ..task_report import PublishedScore
from .classification_files import (
    MIN_MEMBERS,
    drop_copies,
    drop_small,
    read_nrc,
    read_rfam,
    read_riboswitches,
    read_sample,
)
from .task import Example, Kind, Split, TaskData

Source = Literal["sample", "nrc13", "riboswitch32", "rfam-family", "rfam-type"]

HELD_OUT_FRACTION = 0.1
"""Share of validation, and of test where the source has none."""
END_NT = 60
"""One-hot features are of so many letters from either end."""
PUBLISHED_FIT = RegimeConfig(
    optimizer="adamw",
    peak_lr=8e-6,
    weight_decay=0.01,
    lr_schedule="constant",
    batch_sequences=64,
    choose="best-validation",
)
TITLES: dict[Source, str] = {
    "sample": "Families of the embedded sample",
    "nrc13": "ncRNA classes (13)",
    "riboswitch32": "Riboswitch families (32)",
    "rfam-family": "Rfam families",
    "rfam-type": "Rfam RNA types",
}
FILES: dict[Source, tuple[str, str]] = {
    "nrc13": ("classification", "nrc_13class*.tsv*"),
    "riboswitch32": ("classification", "riboswitch32*.tsv*"),
    "rfam-family": ("structure", "rfam*seed*.tsv*"),
    "rfam-type": ("structure", "rfam*seed*.tsv*"),
}
"""Folder and file of each source that is not embedded."""
NO_NEAR = "without near copies"


class ClassificationTask:
    """One class a sequence.

    `sample`, `nrc13`, `riboswitch32` and `rfam-family` predict a class that the fit has members
    of. `rfam-type` predicts a family's RNA type, on a random split, where families are known, and
    on one where the tested families are not in the fit.
    """

    kind: Kind = "multiclass"
    reads: Literal["cls", "tokens"] = "cls"
    primary_metric = "accuracy"
    published: tuple[PublishedScore, ...] = ()
    published_fit = PUBLISHED_FIT

    def __init__(self, source: Source) -> None:
        if source not in TITLES:
            raise ValueError(f"classification source must be of {', '.join(TITLES)}; got {source}")
        self.source: Source = source
        self.name = f"classification-{source}"
        self.title = TITLES[source]

    def describe_lack(self, data: Path) -> str:
        """Say which file is not there."""
        return "" if self.source == "sample" else describe_lack(data, *FILES[self.source])

    def read(self, data: Path | None) -> TaskData:
        """Read the source below `data`; `sample` is embedded and needs none."""
        if self.source == "sample":
            path, rows = SAMPLE_FASTA, read_sample(SAMPLE_FASTA)
        elif data is None:
            raise ValueError(f"{self.name} needs --data FOLDER; classification-sample needs none")
        else:
            path = find_file(data, *FILES[self.source])
            if self.source == "nrc13":
                rows = read_nrc(path)
            elif self.source == "riboswitch32":
                rows = read_riboswitches(path)
            else:
                rows = read_rfam(path, by_type=self.source == "rfam-type")
        # The published 13 classes come with their copies; elsewhere a copy says nothing new.
        kept, notes = (rows, []) if self.source == "nrc13" else drop_copies(rows)
        kept, more = drop_small(kept, by_group=self.source == "rfam-type")
        if len({row.label for row in kept}) < 2:
            raise ValueError(f"{path} has fewer than two classes of {MIN_MEMBERS} or more")
        classes = tuple(sorted({row.label for row in kept}))
        number_of = {label: float(number) for number, label in enumerate(classes)}
        return TaskData(
            name=self.source,
            sources=hash_each([path]),
            examples=[
                Example(
                    id=f"{row.part}:{row.id}" if row.part else row.id,
                    sequence=row.sequence,
                    target=number_of[row.label],
                    group=row.group,
                )
                for row in kept
            ],
            classes=classes,
            notes=(*notes, *more),
        )

    def split(self, data: TaskData, *, seed: int) -> list[Split]:
        """The published split, or a random one; for types also one by family."""
        if self.source == "nrc13":
            return [_split_published(data, seed)]
        random = _split_random(data, seed)
        return [random, _split_families(data, seed)] if self.source == "rfam-type" else [random]

    def build_head(self, embed_dim: int, data: TaskData) -> nn.Module:
        """The published head on `<cls>`."""
        return ClassHead(embed_dim, len(data.classes))

    def compute_loss(self, outputs_NO: Tensor, targets_N: Tensor) -> Tensor:
        """Cross-entropy."""
        return F.cross_entropy(outputs_NO, targets_N.long())

    def score(
        self, outputs_NO: NDArray[np.floating], targets_N: NDArray[np.floating]
    ) -> dict[str, float]:
        """Metrics of the most probable class, the first among equals."""
        if not np.isfinite(outputs_NO).all():
            raise ValueError("logits hold nan or infinity: the fit has diverged; lower its rate")
        return score_classes(outputs_NO.argmax(axis=1), targets_N.astype(np.int64))

    def encode_one_hot(self, sequences: Sequence[str]) -> NDArray[np.float32]:
        """Features_NF: 60 letters from the 5' end, 60 from the 3' end, and the log length."""
        blank = "-" * END_NT
        ends = [(one + blank)[:END_NT] + (blank + one)[-END_NT:] for one in sequences]
        lengths = np.log([len(one) for one in sequences])[:, None]
        one_hot = encode_one_hot(ends).reshape(len(sequences), -1)
        return np.concatenate([one_hot, lengths], axis=1).astype(np.float32)


def _split_random(data: TaskData, seed: int) -> NotedSplit:
    """Tenths of each class to test and to validate, whatever family or copy they are near to."""
    ungrouped = [Example(id=e.id, sequence=e.sequence, target=e.target) for e in data.examples]
    everything = range(len(ungrouped))
    test = draw_groups(ungrouped, everything, HELD_OUT_FRACTION, seed=seed, by_target=True)
    rest = sorted(set(everything) - set(test))
    share = HELD_OUT_FRACTION / (1 - HELD_OUT_FRACTION)
    validation = draw_groups(ungrouped, rest, share, seed=seed + 1, by_target=True)
    train = tuple(sorted(set(rest) - set(validation)))
    return NotedSplit(
        name="random",
        train=train,
        validation=validation,
        tests=_add_clean(data, "random", test, (*train, *validation)),
    )


def _split_families(data: TaskData, seed: int) -> NotedSplit:
    """Tenths of each type's families to test and to validate: none of them is in the fit."""
    everything = range(len(data.examples))
    test = draw_groups(data.examples, everything, HELD_OUT_FRACTION, seed=seed, by_target=True)
    clean = keep_apart(data.examples, sorted(set(everything) - set(test)), test)
    share = HELD_OUT_FRACTION / (1 - HELD_OUT_FRACTION)
    validation = draw_groups(data.examples, clean.kept, share, seed=seed + 1, by_target=True)
    rest = sorted(set(clean.kept) - set(validation))
    apart = keep_apart(data.examples, rest, validation)
    return NotedSplit(
        name="family-disjoint",
        train=apart.kept,
        validation=validation,
        tests={"family-disjoint": test},
        notes=(
            clean.describe("fit and validation", "a held-out family"),
            apart.describe("the fit", "a validation family"),
        ),
    )


def _split_published(data: TaskData, seed: int) -> NotedSplit:
    """The 13 classes' own partitions, a tenth of the training one to validate."""
    examples = data.examples
    parts: dict[str, list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        parts[example.id.partition(":")[0]].append(index)
    if parts.keys() != {"train6320", "test2600"}:
        raise ValueError(f"partitions must be train6320 and test2600, got {', '.join(parts)}")
    train, test = parts["train6320"], tuple(parts["test2600"])
    validation = draw_groups(examples, train, HELD_OUT_FRACTION, seed=seed, by_target=True)
    apart = keep_apart(examples, sorted(set(train) - set(validation)), validation)
    known = {examples[index].sequence for index in train}
    tests = _add_clean(data, "test2600", test, train)
    tests["test2600 without copies"] = tuple(i for i in test if examples[i].sequence not in known)
    return NotedSplit(
        name="published",
        train=apart.kept,
        validation=validation,
        tests=tests,
        notes=(
            f"{len(test) - len(tests['test2600 without copies'])} tested sequences are copies of "
            "training ones in the published partitions",
            apart.describe("the fit", "the validation set"),
        ),
    )


def _add_clean(
    data: TaskData, name: str, test: tuple[int, ...], fit: Sequence[int]
) -> dict[str, tuple[int, ...]]:
    """The test set, and beside it what of it the fit has no near copy of, if anything is left.

    Nor does what is left hold half the 16-mers of a fitted sequence.
    """
    tested, fitted = ([data.examples[i].sequence for i in some] for some in (test, fit))
    is_near = find_near(tested, fitted) | find_holders(tested, fitted)
    clean = tuple(index for index, near in zip(test, is_near, strict=True) if not near)
    return {name: test} | ({f"{name} {NO_NEAR}": clean} if 0 < len(clean) < len(test) else {})
