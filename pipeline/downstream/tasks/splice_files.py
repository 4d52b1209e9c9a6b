"""Splice-site windows as others give them: human and Arabidopsis, introns, the published layout.

Every window is cut so that the two letters of the site (GU or AG) are its middle; a longer
window loses as much on either side.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ..sequence_tasks.near_duplicates import find_near
from ..sequence_tasks.task_files import find_files, iter_rows, open_text, read_sequence
from .task import Example

Site = Literal["donor", "acceptor"]

WINDOW_NT = 400
TRAIN = "train"
EIE_SPECIES = {"at": "Arabidopsis EIE", "ce": "worm EIE", "dm": "fly EIE"}
EIE_FLANK_NT = 50
EIE_WINDOW_NT = 2 * EIE_FLANK_NT + 2
EIE_GENES = 3000
"""Genes of each species, drawn by a fixed seed."""
EIE_APART_NT = 10
"""A decoy lies at least this far from the site: nearer ones may be used as alternative sites."""
PUBLISHED_SPECIES = ("Danio", "Fly", "Worm", "Thaliana")
LABELS = {"0": 0.0, "1": 1.0}

_HUMAN_PARTS = {
    ("homo_sapiens", "Train"): TRAIN,
    ("homo_sapiens", "Test"): "human",
    ("arabidopsis_thaliana", "Test"): "Arabidopsis",
}


class Windows(NamedTuple):
    """Examples with the part they belong to before the colon of their id, and what was left out."""

    examples: list[Example]
    notes: list[str]


def cut_window(sequence: str, length: int = WINDOW_NT) -> str:
    """The middle of `sequence`; a shorter one stays as it is."""
    start = max(len(sequence) - length, 0) // 2
    return sequence[start : start + length]


def read_human(path: Path, site: Site) -> Windows:
    """Windows of 602 nt (human, Arabidopsis) and of 140 nt (HS3D), site in the middle."""
    examples: list[Example] = []
    tested_hs3d: list[tuple[str, Example]] = []
    fitted_hs3d: set[str] = set()
    columns = ("species", "partition", "site", "label", "sequence")
    for number, row in iter_rows(path, columns):
        if row["label"] not in LABELS:
            raise ValueError(f"{path}:{number} label must be 0 or 1, got {row['label']!r}")
        sequence = read_sequence(row["sequence"], f"{path}:{number}")
        label, is_site = LABELS[row["label"]], row["site"].lower() == site
        if row["species"] == "hs3d_bal":
            if row["partition"] == "Train":
                fitted_hs3d.add(sequence)
            elif is_site:
                # GU is at 70 of its donors, AG at 68 of its acceptors: two letters off the middle.
                window = sequence[2:] if site == "donor" else sequence[:-2]
                example = Example(id=f"HS3D:{number}", sequence=window, target=label)
                tested_hs3d.append((sequence, example))
            continue
        part = _HUMAN_PARTS.get((row["species"], row["partition"]))
        if part and is_site:
            window = cut_window(sequence)
            examples.append(Example(id=f"{part}:{number}", sequence=window, target=label))
    if not examples:
        raise ValueError(f"{path} has no {site} windows of homo_sapiens or arabidopsis_thaliana")
    novel = [one for sequence, one in tested_hs3d if sequence not in fitted_hs3d]
    train = [one.sequence for one in examples if one.id.startswith(f"{TRAIN}:")]
    is_near = find_near([one.sequence for one in novel], train)
    kept = [one for one, near in zip(novel, is_near, strict=True) if not near]
    note = (
        f"HS3D: {len(tested_hs3d) - len(novel)} tested windows left out that are in its own "
        f"training partition, of either site, and {len(novel) - len(kept)} with half the 16-mers "
        "of the human training windows"
    )
    return Windows([*examples, *kept], [note] if tested_hs3d else [])


def read_introns(path: Path, site: Site) -> Windows:
    """Windows of 102 nt around the sites of introns of 40 to 150 nt, one of each of 3,000 genes.

    Of a gene it is the intron with most reads. Its decoy is another GU (AG) of the same exon,
    intron and exon, drawn by a fixed seed, with 50 nt on both sides and at least 10 nt away;
    genes without any are not drawn from.
    """
    part = EIE_SPECIES[_read_species(path)]
    best: dict[str, tuple[int, int, str, int]] = {}
    with open_text(path) as lines:
        for number, line in enumerate(lines, start=1):
            values = line.split()
            if len(values) != 5 or not values[3].isdigit():
                raise ValueError(
                    f"{path}:{number} must hold exon, intron, exon, count and gene, "
                    f"got {line[:60]!r}"
                )
            *parts, count, gene = values
            left, intron, right = (read_sequence(one, f"{path}:{number}") for one in parts)
            if len(left) != EIE_FLANK_NT or len(right) != EIE_FLANK_NT:
                raise ValueError(
                    f"{path}:{number} must hold exons of {EIE_FLANK_NT} nt, got {len(left)} and "
                    f"{len(right)}"
                )
            if gene not in best or int(count) > best[gene][0]:
                best[gene] = (int(count), number, left + intron + right, len(intron))
    candidates = []
    for gene, (_, number, sequence, intron_nt) in best.items():
        place = EIE_FLANK_NT if site == "donor" else EIE_FLANK_NT + intron_nt - 2
        decoys = list(_iter_decoys(sequence, place, site))
        if decoys:
            candidates.append((gene, number, sequence, place, decoys))
    generator = np.random.default_rng(0)
    chosen = np.sort(generator.permutation(len(candidates))[:EIE_GENES])
    examples: list[Example] = []
    for gene, number, sequence, place, decoys in (candidates[index] for index in chosen):
        for label, start in ((1, place), (0, decoys[int(generator.integers(len(decoys)))])):
            examples.append(
                Example(
                    id=f"{part}:{number}/{label}",
                    sequence=sequence[start - EIE_FLANK_NT : start + 2 + EIE_FLANK_NT],
                    target=float(label),
                    group=gene,
                )
            )
    return Windows(
        examples,
        [
            f"{part}: {len(examples) // 2:,} introns of as many genes, of {len(best):,} genes; "
            f"{len(best) - len(candidates):,} have no decoy"
        ],
    )


def _read_species(path: Path) -> str:
    species = path.name.split(".")[1]
    if species not in EIE_SPECIES:
        raise ValueError(f"{path} must be named korf_eie.<{'|'.join(EIE_SPECIES)}>.txt[.xz]")
    return species


def _iter_decoys(sequence: str, place: int, site: Site) -> Iterator[int]:
    letters = "GU" if site == "donor" else "AG"
    for start in range(EIE_FLANK_NT, len(sequence) - EIE_FLANK_NT - 1):
        if abs(start - place) >= EIE_APART_NT and sequence.startswith(letters, start):
            yield start


def find_published(data: Path) -> Path | None:
    """The folder of the published layout in `data`, if it is there."""
    for folder in (data, data / "spliceator", data / "splice", data / "splice" / "spliceator"):
        if (folder / "Training_data").is_dir() or (folder / "GS_1").is_dir():
            return folder
    return None


def list_published(root: Path, site: Site) -> dict[str, list[tuple[Path, float | None]]]:
    """Files of each part, with their label; None where a column has it.

    `GS_1/db_1` is the published split where it has been made; else all of `Training_data` is
    there to be split. Test species that are absent are no error, all of them absent is.
    """
    parts: dict[str, list[tuple[Path, float | None]]] = defaultdict(list)
    if (root / "GS_1").is_dir():
        for part, name in ((TRAIN, "Train"), ("validation", "Val")):
            parts[part].append((root / "GS_1" / "db_1" / f"{name}_{site}_{WINDOW_NT}.csv", None))
    else:
        folder = root / "Training_data"
        parts[TRAIN] = [
            (folder / "Positive" / "GS" / f"POS_{site}_600.csv", 1.0),
            (folder / "Negative" / "GS" / "GS_1" / f"NEG_600_{site}.csv", 0.0),
        ]
    for species, (name, label) in itertools.product(
        PUBLISHED_SPECIES, (("positive", 1.0), ("negative", 0.0))
    ):
        pattern = f"*/{species}/SA_sequences_{site}_{WINDOW_NT}_Final_3.{name}.txt"
        parts[species] += [(path, label) for path in find_files(root, ".", pattern)[:1]]
    parts = {part: files for part, files in parts.items() if files}
    for part, files in parts.items():
        if absent := [str(path) for path, _ in files if not path.exists()]:
            raise FileNotFoundError(f"{part} of the published splice sites lacks {absent[0]}")
        if part in PUBLISHED_SPECIES and len(files) != 2:
            raise FileNotFoundError(f"{root}: {part} needs its positive and its negative file")
    if not set(parts) & set(PUBLISHED_SPECIES):
        raise FileNotFoundError(
            f"{root} has none of {', '.join(PUBLISHED_SPECIES)} with a file "
            f"SA_sequences_{site}_{WINDOW_NT}_Final_3.positive.txt"
        )
    return parts


def read_published(
    parts: dict[str, list[tuple[Path, float | None]]],
) -> Windows:
    """Windows of semicolon-separated rows: `name;...;sequence` or `group;sequence;label`."""
    examples: list[Example] = []
    for part, files in parts.items():
        for path, label in files:
            rows = _iter_published(path, is_labelled=label is None)
            for number, name, sequence, own in rows:
                examples.append(
                    Example(
                        id=f"{part}:{path.stem}/{number}",
                        sequence=cut_window(sequence),
                        target=own if label is None else label,
                        group=name if label is not None and part == TRAIN else "",
                    )
                )
    return Windows(examples, [])


def _iter_published(path: Path, *, is_labelled: bool) -> Iterable[tuple[int, str, str, float]]:
    with open_text(path) as lines:
        for number, line in enumerate(lines, start=1):
            values = line.strip().split(";")
            if values == [""] or values[0].startswith("ID_uniprot"):
                continue
            # Columns differ from file to file, the sequence is the longest of the first three.
            letters = _pick_sequence(values)
            if len(values) < 2 or len(letters) < 100 or (is_labelled and values[-1] not in LABELS):
                raise ValueError(
                    f"{path}:{number} must hold a name, a sequence of 100 nt or more"
                    f"{' and a label 0 or 1' if is_labelled else ''} between semicolons, "
                    f"got {line[:60]!r}"
                )
            own = LABELS[values[-1]] if is_labelled else 0.0
            yield number, values[0], read_sequence(letters, f"{path}:{number}"), own


def _pick_sequence(values: Sequence[str]) -> str:
    return max(values[1:3], key=len, default="")
