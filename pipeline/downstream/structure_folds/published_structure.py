"""Base-pair scores that others published, each only where our RNAs and metric are theirs."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping

from ..scores.summary import MEAN_OF_FAMILIES, POOLED_PAIRS
from ..structures.records import StructureRecord
from ..task_report import PublishedScore
from .folds import Benchmark

ARCHIVEII_PARTS = ("5s", "srp", "tRNA", "tmRNA", "RNaseP", "grp1", "16s", "telomerase", "23s")
RNAS_OF_PART: Mapping[str, str] = {
    "5s": "9e012e2260a4ebca",
    "srp": "8736823fa2c144f1",
    "tRNA": "676fcad3fdeb74b3",
    "tmRNA": "1a5cf74c98272c88",
    "RNaseP": "feec4d3b359bcd14",
    "grp1": "41ba62da633e82df",
    "16s": "03052ba41edc25cb",
    "telomerase": "2a06ca1834cfbe28",
    "23s": "5ec2257a9cb371d0",
    "TS0": "6ff732819a242ad6",
    "bpRNA-new": "82ea8b45c0ab0a0c",
}
"""`hash_rnas` of the RNAs that published numbers are of: ArchiveII's families up to 512 nt, all of
TS0 and of bpRNA-new. A draw of them, or others under their name, have another."""
_PAPER = "fine-tuned on the other eight families, all RNAs of at most 512 nt"
_PAPER_SOURCE = f"Penić et al., Nat Commun 2025, as AIDO.RNA's tables quote it; {_PAPER}"
_OTHERS_SOURCE = "compared in Penić et al., Nat Commun 2025, as AIDO.RNA's tables quote it"
_AIDO_SOURCE = f"README of genbio-ai/ModelGenerator; {_PAPER}"
_FROZEN_SOURCE = (
    "recomputed from the predictions of sinc-lab, Brief Bioinform 2025; frozen, another head"
)
_RERUN_SOURCE = "an independent run of released weights, not peer reviewed; trained on TR0 or more"

_FAMILIES_RELAXED: Mapping[str, tuple[str, tuple[float, ...]]] = {
    "RiNALMo 650M": (_PAPER_SOURCE, (0.88, 0.70, 0.93, 0.80, 0.80, 0.66, 0.74, 0.12, 0.85, 0.72)),
    "AIDO.RNA 1.6B": (
        _AIDO_SOURCE,
        (0.853, 0.739, 0.945, 0.838, 0.804, 0.644, 0.795, 0.085, 0.896, 0.733),
    ),
    "RNA-FM": (_OTHERS_SOURCE, (0.57, 0.25, 0.79, 0.28, 0.31, 0.16, 0.14, 0.07, 0.19, 0.31)),
    "RNAstructure": (
        _OTHERS_SOURCE + "; nothing fitted",
        (0.63, 0.63, 0.70, 0.43, 0.55, 0.54, 0.57, 0.50, 0.73, 0.59),
    ),
    "CONTRAfold": (
        _OTHERS_SOURCE + "; its own parameters",
        (0.63, 0.55, 0.77, 0.49, 0.63, 0.60, 0.58, 0.54, 0.71, 0.61),
    ),
    "MXfold2": (_OTHERS_SOURCE, (0.54, 0.50, 0.64, 0.46, 0.51, 0.45, 0.55, 0.34, 0.64, 0.51)),
    "UFold": (
        _OTHERS_SOURCE + "; telomerase is out of line with all else and may overlap its training",
        (0.53, 0.26, 0.26, 0.41, 0.41, 0.45, 0.41, 0.80, 0.45, 0.44),
    ),
    "RiNALMo 650M, frozen": (
        _FROZEN_SOURCE,
        (0.816, 0.580, 0.847, 0.697, 0.691, 0.588, 0.483, 0.099, 0.604, 0.601),
    ),
}
_FAMILIES_STRICT: Mapping[str, tuple[str, tuple[float, ...]]] = {
    "RiNALMo 650M, frozen": (
        _FROZEN_SOURCE,
        (0.796, 0.548, 0.845, 0.669, 0.667, 0.566, 0.473, 0.093, 0.596, 0.584),
    ),
    "ERNIE-RNA, frozen": (
        _FROZEN_SOURCE,
        (0.820, 0.610, 0.841, 0.700, 0.687, 0.317, 0.539, 0.151, 0.580, 0.583),
    ),
    "RNA-FM, frozen": (
        _FROZEN_SOURCE,
        (0.555, 0.277, 0.763, 0.293, 0.324, 0.136, 0.152, 0.121, 0.193, 0.313),
    ),
    "one-hot, their head": (
        _FROZEN_SOURCE,
        (0.279, 0.174, 0.452, 0.175, 0.169, 0.149, 0.155, 0.132, 0.188, 0.208),
    ),
}
"""In the order of `ARCHIVEII_PARTS`, then the mean of families."""

_TS0_RELAXED: Mapping[str, tuple[float, float, float]] = {
    "RiNALMo 650M": (0.784, 0.730, 0.747),
    "AIDO.RNA 1.6B": (0.815, 0.769, 0.783),
    "RNA-FM": (0.709, 0.664, 0.676),
    "UFold": (0.607, 0.741, 0.654),
    "RNAErnie": (0.575, 0.678, 0.622),
    "SPOT-RNA": (0.594, 0.693, 0.619),
}
"""Precision, recall, F1; means over sequences."""
_RERUNS: Mapping[tuple[str, str], Mapping[str, float]] = {
    ("TS0", "F1 relaxed"): {
        "RiNALMo 650M, run again": 0.7602,
        "RNAformer 32M": 0.7779,
        "UFold, run again": 0.7807,
        "MXfold2": 0.6102,
        "ViennaRNA, run by others": 0.5665,
    },
    (f"TS0, {POOLED_PAIRS}", "F1 strict"): {"RiNALMo 650M, run again": 0.7210},
    (f"bpRNA-new, {POOLED_PAIRS}", "F1 strict"): {
        "RiNALMo 650M, run again": 0.4489,
        "ViennaRNA centroid, run by others": 0.677,
        "UFold, run again": 0.611,
    },
}


def list_published(benchmark: Benchmark) -> tuple[PublishedScore, ...]:
    """Numbers of the very RNAs that are tested: none of others of their name, nor of a draw."""
    known = {fold.part for fold in benchmark.folds if _is_published(benchmark, fold.part)}
    if benchmark.task == "families":
        parts = {*known, *([MEAN_OF_FAMILIES] if known.issuperset(ARCHIVEII_PARTS) else ())}
        return tuple(one for one in _iter_families() if one.part in parts)
    parts = {*known, *(f"{part}, {POOLED_PAIRS}" for part in known)}
    return tuple(one for one in _iter_bprna() if one.part in parts)


def describe_omitted(benchmark: Benchmark) -> tuple[str, ...]:
    """A sentence on parts that bear a published name and hold other RNAs; nothing where none do."""
    named = [part for part in benchmark.parts if part in RNAS_OF_PART]
    omitted = [part for part in named if not _is_published(benchmark, part)]
    if not omitted:
        return ()
    return (
        f"Published numbers of {', '.join(omitted)} are not shown: the RNAs tested here are not "
        "all and only those that they are of.",
    )


def hash_rnas(records: Iterable[StructureRecord]) -> str:
    """16 hex digits of sequences and pairs, whatever their order, ids and file."""
    lines = sorted(f"{record.sequence} {sorted(record.pairs_P2.tolist())}" for record in records)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _is_published(benchmark: Benchmark, part: str) -> bool:
    (fold,) = (one for one in benchmark.folds if one.part == part)
    return RNAS_OF_PART.get(part) == hash_rnas(benchmark.records[index] for index in fold.test)


def _iter_families() -> Iterator[PublishedScore]:
    parts = (*ARCHIVEII_PARTS, MEAN_OF_FAMILIES)
    for metric, table in (("F1 relaxed", _FAMILIES_RELAXED), ("F1 strict", _FAMILIES_STRICT)):
        for system, (source, values) in table.items():
            for part, value in zip(parts, values, strict=True):
                yield PublishedScore(
                    system=system, part=part, metric=metric, value=value, source=source
                )


def _iter_bprna() -> Iterator[PublishedScore]:
    for system, values in _TS0_RELAXED.items():
        source = "AIDO.RNA's tables" if "AIDO" in system else _OTHERS_SOURCE
        for metric, value in zip(("precision", "recall", "F1"), values, strict=True):
            yield PublishedScore(
                system=system,
                part="TS0",
                metric=f"{metric} relaxed",
                value=value,
                source=f"{source}; trained or fine-tuned on TR0",
            )
    for (part, metric), values in _RERUNS.items():
        for system, value in values.items():
            yield PublishedScore(
                system=system, part=part, metric=metric, value=value, source=_RERUN_SOURCE
            )
