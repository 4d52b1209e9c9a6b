import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from openrinalmo.pipeline.pretraining.tally import Tally

TYPES = ("rRNA", "snRNA", "tRNA")


def make_pack(gen: torch.Generator, size: int, types: list[int]) -> tuple[torch.Tensor, Any]:
    logits = torch.randn(size, 22, generator=gen)
    pack = SimpleNamespace(
        labels_M=torch.randint(0, 22, (size,), generator=gen),
        rna_type_ids_M=torch.tensor(types)[torch.randint(0, len(types), (size,), generator=gen)],
    )
    return logits, pack


def test_means_are_over_all_tokens_not_over_packs():
    gen = torch.Generator().manual_seed(0)
    packs = [make_pack(gen, size, [0, 2]) for size in (1, 7, 40)]
    tally = Tally(TYPES, torch.device("cpu"))
    for logits, pack in packs:
        tally.add(logits, pack)
    found = tally.take()

    rows = [
        (int(kind), -float(scores.double().log_softmax(0)[label]), int(scores.argmax()) == label)
        for logits, pack in packs
        for scores, label, kind in zip(
            logits, pack.labels_M.tolist(), pack.rna_type_ids_M.tolist(), strict=True
        )
    ]
    loss = sum(row[1] for row in rows) / 48
    assert found["masked_tokens"] == 48
    assert found["loss"] == pytest.approx(loss, rel=1e-6)
    assert found["perplexity"] == pytest.approx(math.exp(loss), rel=1e-6)
    assert found["accuracy"] == sum(row[2] for row in rows) / 48
    assert set(found["loss_per_rna_type"]) == {"rRNA", "tRNA"}
    for kind, name in ((0, "rRNA"), (2, "tRNA")):
        of_kind = [row for row in rows if row[0] == kind]
        mean = sum(row[1] for row in of_kind) / len(of_kind)
        assert found["loss_per_rna_type"][name] == pytest.approx(mean, rel=1e-6)
        assert found["accuracy_per_rna_type"][name] == sum(r[2] for r in of_kind) / len(of_kind)


def test_taking_begins_anew():
    gen = torch.Generator().manual_seed(1)
    tally = Tally(TYPES, torch.device("cpu"))
    tally.add(*make_pack(gen, 5, [0]))
    tally.take()
    assert tally.take() == {"masked_tokens": 0}
    logits, pack = make_pack(gen, 3, [1])
    tally.add(logits, pack)
    assert set(tally.take()["loss_per_rna_type"]) == {"snRNA"}


def test_a_hopeless_loss_has_no_finite_perplexity():
    tally = Tally(TYPES, torch.device("cpu"))
    logits = torch.zeros(1, 22)
    logits[0, 3] = 2000.0
    labels, types = torch.tensor([4]), torch.tensor([0])
    pack: Any = SimpleNamespace(labels_M=labels, rna_type_ids_M=types)
    tally.add(logits, pack)
    assert tally.take()["perplexity"] == math.inf
