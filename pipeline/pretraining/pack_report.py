"""What is in a pack, where a record is shown, and what a checkpoint makes of a pack: for debugging.

Shape suffixes: B sequences, M predicted tokens, V vocabulary.
"""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ...data_prep.shards import Split, hash_manifest
from ...model import alphabet
from ...model.masked_lm import MaskedLM
from ..overrides import describe
from .batches import PackedBatch, PackStream
from .config import PretrainConfig
from .sampling import Samples

_LINE_NT = 100
_SYMBOLS = "<.>?_" + "".join(alphabet.TOKENS[5:]).replace("T", "U")
"""One character a token: `<` and `>` for the ends, `_` for what is masked."""
_WORST_SEQUENCES = 10
_DECIDE_PACKS = ("seed", "batches.micro_batch_tokens", "sampling.", "masking.")


def describe_pack(split: Split, stream: PackStream, number: int, *, letters: bool) -> str:
    """A pack's place, fill and sequences; with `letters`, what is shown over what is true."""
    pack, samples = stream.pack(number), stream.samples(number)
    epoch, index = stream.locate(number)
    counts_B = _count_by_sequence(pack)
    num_nt = int(samples.lengths_nt.sum())
    lines = [
        f"pack {number}: epoch {epoch}, pack {index} of {stream.num_packs(epoch)}",
        f"{len(samples.records)} sequences, {pack.num_tokens} of {stream.pack_tokens} tokens "
        f"(fill {pack.num_tokens / stream.pack_tokens:.4f}), "
        f"{len(pack.labels_M)} of {num_nt} nt selected ({len(pack.labels_M) / num_nt:.4f})",
        "",
    ]
    ids_T = pack.ids_T.numpy()
    truth_T = np.full(len(ids_T), " ")
    truth_T[pack.predicted_rows_M] = [_SYMBOLS[label] for label in pack.labels_M.tolist()]
    shown = "".join(_SYMBOLS[token] for token in ids_T.tolist())
    cu_seqlens = pack.cu_seqlens.tolist()
    for place, selected in enumerate(counts_B.tolist()):
        lines.append(f"{_name_sequence(split, samples, place)}, {selected} selected")
        if letters:
            first, end = cu_seqlens[place], cu_seqlens[place + 1]
            for start in range(first, end, _LINE_NT):
                stop = min(start + _LINE_NT, end)
                truth = "".join(truth_T[start:stop]).rstrip()
                lines += [f"    shown {shown[start:stop]}", f"    truth {truth}".rstrip()]
    return "\n".join(lines) + "\n"


def find_record(split: Split, stream: PackStream, identifier: str, *, epoch: int) -> str:
    """Which packs of an epoch show a record, or which members of its cluster are shown instead."""
    record = split.find(identifier)
    if record is None:
        raise ValueError(
            f"no record {identifier!r} in the {split.split} split of {split.folder}: give an id "
            "as in the FASTA's header; a duplicate is kept under the first one's id"
        )
    starts = split.cluster_starts
    cluster = int(np.searchsorted(starts, record, side="right")) - 1
    records = stream.epochs.plan(epoch).records
    shown = np.flatnonzero((records >= starts[cluster]) & (records < starts[cluster + 1]))
    if own := shown[records[shown] == record].tolist():
        places = " and ".join(_name_place(split, stream, epoch, position) for position in own)
        return f"epoch {epoch}: {identifier} is in {places}\n"
    if not len(shown):
        return (
            f"epoch {epoch}: {identifier} is not shown, and no other of its cluster: the weights "
            "of RNA types leave it to another epoch\n"
        )
    size = int(starts[cluster + 1] - starts[cluster])
    others = " and ".join(
        f"{split.id(int(records[position]))}, in {_name_place(split, stream, epoch, position)}"
        for position in shown.tolist()
    )
    return (
        f"epoch {epoch}: {identifier} is not shown; of its cluster's {size} members this epoch "
        f"takes {others}\n"
    )


def _name_place(split: Split, stream: PackStream, epoch: int, position: int) -> str:
    """The pack that holds this sample of an epoch, and the sample in it."""
    boundaries = stream.epochs.plan(epoch).boundaries
    index = int(np.searchsorted(boundaries, position, side="right")) - 1
    number = stream.epochs.first_pack(epoch) + index
    place = position - int(boundaries[index])
    return f"pack {number} ({_name_sequence(split, stream.samples(number), place)})"


def replay_pack(
    split: Split, stream: PackStream, number: int, model: MaskedLM, device: torch.device
) -> str:
    """The loss of a pack without dropout: overall, per RNA type, and its worst sequences."""
    pack, samples = stream.pack(number), stream.samples(number)
    moved, model = pack.to(device), model.to(device)
    with torch.no_grad():
        logits_MV = model(
            moved.ids_T,
            moved.cu_seqlens,
            moved.max_seqlen,
            predicted_rows_M=moved.predicted_rows_M,
        ).logits_TV.float()
    losses_M = F.cross_entropy(logits_MV, moved.labels_M, reduction="none").cpu().numpy()
    types_M = pack.rna_type_ids_M.numpy()
    lines = [f"pack {number}: loss {losses_M.mean():.4f} over {len(losses_M)} masked tokens", ""]
    by_type = [(losses_M[types_M == i], split.rna_types[i]) for i in np.unique(types_M)]
    for losses, name in sorted(by_type, key=lambda pair: -pair[0].sum()):
        share = losses.sum() / losses_M.sum()
        mean = losses.mean()
        lines.append(f"loss {mean:.4f}, {share:6.1%} of the sum, {len(losses)} tokens: {name}")
    counts_B = _count_by_sequence(pack)
    sums_B = np.bincount(
        np.repeat(np.arange(len(counts_B)), counts_B), losses_M, minlength=len(counts_B)
    )
    means_B = sums_B / np.maximum(counts_B, 1)
    lines += ["", "highest loss:"]
    for place in np.argsort(-means_B)[:_WORST_SEQUENCES].tolist():
        name = _name_sequence(split, samples, place)
        lines.append(f"loss {means_B[place]:.4f} over {counts_B[place]} tokens: {name}")
    return "\n".join(lines) + "\n"


def refuse_other_settings(config: PretrainConfig, run: Path) -> None:
    """Raise `ValueError` naming what makes a run's packs others than those of these settings.

    A weights file alone says nothing about its run, so nothing is compared.
    """
    path = run / "config.json"
    if not path.is_file():
        return
    stored = json.loads(path.read_text())
    before, now = stored["config"], describe(config)
    differing = [
        f"{name}={before.get(name)}"
        for name, value in now.items()
        if name.startswith(_DECIDE_PACKS) and before.get(name) != value
    ]
    if differing:
        raise ValueError(
            f"{run} was trained with other packs: give its settings, {' '.join(differing)}"
        )
    if stored["manifest_hash"] != hash_manifest(config.data):
        raise ValueError(f"{run} was trained on other data than {config.data}: give data=…")


def _count_by_sequence(pack: PackedBatch) -> np.ndarray:
    """Selected tokens of each sequence."""
    return np.diff(np.searchsorted(pack.predicted_rows_M.numpy(), pack.cu_seqlens.numpy()))


def _name_sequence(split: Split, samples: Samples, place: int) -> str:
    record = int(samples.records[place])
    first, length = int(samples.starts_nt[place]), int(samples.lengths_nt[place])
    total = int(split.lengths_nt[record])
    window = f"{total} nt" if length == total else f"{first + 1}-{first + length} of {total} nt"
    rna_type = split.rna_types[int(split.rna_type_ids[record])]
    return f"{place}: record {record} {split.id(record)}, {rna_type}, {window}"
