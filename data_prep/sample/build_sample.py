"""Build the embedded sample from the Stockholm alignments of the Infernal 1.1.4 source release.

    python data_prep/sample/build_sample.py infernal_1.1.4.orig.tar.gz [--out FOLDER]

The consensus structure line is projected on each member: a pair of which a partner is gapped, or
whose loop would close over fewer than three letters, is dropped; non-canonical pairs stay, as in
Rfam's own projections. README.md beside this file says what each alignment is.
"""

import argparse
import lzma
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median

ALIGNMENTS = (  # file, number of the alignment inside it, family; the first to hold a sequence wins
    ("testsuite/tRNA.sto", 0, "tRNA"),
    ("testsuite/tRNA1415G.sto", 0, "tRNA"),
    ("tutorial/5S_rRNA.sto", 0, "5S_rRNA"),
    ("tutorial/Cobalamin.sto", 0, "Cobalamin"),
    ("testsuite/rnaseP-eubact.sto", 0, "RNaseP_bact_a"),
    ("testsuite/RNaseP.sto", 0, "RNaseP_bact_a"),
    ("testsuite/3.4.12.rf.stk", 0, "U1"),
    ("testsuite/3.4.12.rf.stk", 1, "U2"),
    ("testsuite/3.4.12.rf.stk", 2, "U3"),
    ("testsuite/Plant_SRP.sto", 0, "SRP"),
    ("testsuite/srp-euk.sto", 0, "SRP"),
    ("testsuite/Vault.sto", 0, "Vault"),
    ("testsuite/snR75.sto", 0, "snR75"),
    ("testsuite/bug-i15.sto", 0, "SSU_rRNA_bacteria"),
    ("testsuite/ssu.sto", 0, "SSU_rRNA_bacteria"),
)
RNA_TYPES = {
    "tRNA": "tRNA",
    "5S_rRNA": "rRNA",
    "Cobalamin": "riboswitch",
    "RNaseP_bact_a": "RNase_P_RNA",
    "U1": "snRNA",
    "U2": "snRNA",
    "U3": "snoRNA",
    "SRP": "SRP_RNA",
    "Vault": "vault_RNA",
    "snR75": "snoRNA",
    "SSU_rRNA_bacteria": "rRNA",
}
GAPS = ".-_~"
TO_RNA = str.maketrans("TX", "UN")  # eleven RNase P sequences write an unknown letter as X
OPENING = {">": "<", ")": "(", "]": "[", "}": "{"}
BRACKETS = {"A": "[]", "B": "{}", "C": "<>"}  # WUSS pseudoknot letters; every other pair is ()
MIN_LOOP_NT = 3

Record = tuple[str, str, str, str]
"""Identifier, family, sequence, dot-bracket structure."""


def main() -> None:
    """Read the alignments, write both products, print the counts that README.md quotes."""
    parser = argparse.ArgumentParser(description="Build the embedded sample.")
    parser.add_argument("source", type=Path, help="Infernal 1.1.4 source: folder or tarball")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write")
    arguments = parser.parse_args()
    records, report = collect_records(arguments.source)
    structured = select_structured(records)
    fasta = "".join(
        f">{id_} family={family} rna_type={RNA_TYPES[family]}\n{sequence}\n"
        for id_, family, sequence, _ in records
    )
    rows = ["id\tfamily\tsequence\tstructure", *("\t".join(record) for record in structured)]
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_xz(arguments.out / "families.fasta.xz", fasta)
    write_xz(arguments.out / "structures.tsv.xz", "\n".join(rows) + "\n")
    sys.stdout.write("\n".join([*report, *count_families(records, structured)]) + "\n")


def collect_records(source: Path) -> tuple[list[Record], list[str]]:
    """Return the non-redundant records of all alignments, and one line of counts per alignment."""
    family_of: dict[str, str] = {}
    ids: Counter[str] = Counter()
    records: list[Record] = []
    report = ["file\talignment\tfamily\tsequences\tnew"]
    for file, number, family in ALIGNMENTS:
        rows, consensus = read_stockholm(read_source(source, file))[number]
        pairs = parse_wuss(consensus)
        before = len(records)
        for name, row in rows.items():
            sequence, structure = project(row, pairs)
            if family_of.setdefault(sequence, family) != family:
                raise ValueError(f"{file}: {name} is also in family {family_of[sequence]}")
            if len(family_of) > len(records):
                ids[name] += 1
                id_ = name if ids[name] == 1 else f"{name}.{ids[name]}"
                records.append((id_, family, sequence, structure))
        report.append(f"{file}\t{number}\t{family}\t{len(rows)}\t{len(records) - before}")
    return records, report


def select_structured(records: list[Record]) -> list[Record]:
    """Keep records with at least half of their family's median of pairs: no bare fragments."""
    least = {
        family: max(1.0, median(count_pairs(r[3]) for r in records if r[1] == family) / 2)
        for family in RNA_TYPES
    }
    return [record for record in records if count_pairs(record[3]) >= least[record[1]]]


def count_families(records: list[Record], structured: list[Record]) -> Iterator[str]:
    """Yield one line of counts per family, and one for all."""
    yield "family\trna_type\tsequences\tstructures\tshortest\tmedian\tlongest\tpairs\tnon-canonical"
    for family in [*RNA_TYPES, "all"]:
        members = [r for r in records if family in (r[1], "all")]
        with_structure = [r for r in structured if family in (r[1], "all")]
        lengths = [len(sequence) for _, _, sequence, _ in members]
        letters = [letters for record in with_structure for letters in paired_letters(record)]
        odd = sum(pair not in {"AU", "UA", "CG", "GC", "GU", "UG"} for pair in letters)
        yield (
            f"{family}\t{RNA_TYPES.get(family, '')}\t{len(members)}\t{len(with_structure)}\t"
            f"{min(lengths)}\t{median(lengths):.0f}\t{max(lengths)}\t{len(letters)}\t"
            f"{100 * odd / max(1, len(letters)):.1f} %"
        )


def read_source(source: Path, file: str) -> str:
    """Return one text file of the release, from its folder or its tarball."""
    if source.is_dir():
        return (source / file).read_text()
    with tarfile.open(source) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.name.endswith(f"/{file}") else None
            if content and "/".join(member.name.split("/")[1:]) == file:
                return content.read().decode()
    raise ValueError(f"{source} holds no {file}: give the Infernal 1.1.4 source folder or tarball")


def read_stockholm(text: str) -> list[tuple[dict[str, str], str]]:
    """Return each alignment as its rows by name and its SS_cons line, interleaved parts joined."""
    alignments: list[tuple[dict[str, str], str]] = []
    rows: dict[str, str] = {}
    consensus = ""
    for line in text.splitlines():
        fields = line.split()
        if line.startswith("#=GC SS_cons"):
            consensus += fields[2]
        elif line.startswith("//"):
            if any(len(row) != len(consensus) for row in rows.values()):
                raise ValueError(f"alignment {len(alignments)}: rows differ in length from SS_cons")
            alignments.append((rows, consensus))
            rows, consensus = {}, ""
        elif fields and not line.startswith("#"):
            rows[fields[0]] = rows.get(fields[0], "") + fields[1]
    return alignments


def parse_wuss(consensus: str) -> list[tuple[int, int, str]]:
    """Return the pairs of a WUSS line as opening column, closing column and two brackets."""
    open_columns: dict[str, list[int]] = {}
    pairs = []
    for column, symbol in enumerate(consensus):
        if symbol in OPENING.values() or symbol.isupper():
            open_columns.setdefault(symbol, []).append(column)
        elif symbol in OPENING or symbol.islower():
            opening = OPENING.get(symbol, symbol.upper())
            pairs.append((open_columns[opening].pop(), column, BRACKETS.get(opening, "()")))
    if any(open_columns.values()):
        raise ValueError(f"consensus structure is not balanced: {open_columns}")
    return pairs


def project(row: str, pairs: list[tuple[int, int, str]]) -> tuple[str, str]:
    """Degap one aligned row to the RNA alphabet, with the pairs that it has both ends of."""
    columns = [column for column, letter in enumerate(row) if letter not in GAPS]
    position_of = {column: position for position, column in enumerate(columns)}
    structure = ["."] * len(columns)
    for opening, closing, brackets in pairs:
        left, right = position_of.get(opening), position_of.get(closing)
        if left is not None and right is not None and right - left > MIN_LOOP_NT:
            structure[left], structure[right] = brackets
    sequence = "".join(row[column] for column in columns)
    return sequence.upper().translate(TO_RNA), "".join(structure)


def count_pairs(structure: str) -> int:
    """Return the number of base pairs of a dot-bracket structure."""
    return (len(structure) - structure.count(".")) // 2


def paired_letters(record: Record) -> Iterator[str]:
    """Yield the two letters of each base pair."""
    _, _, sequence, structure = record
    open_positions: dict[str, list[int]] = {}
    for position, symbol in enumerate(structure):
        if symbol in OPENING:
            yield sequence[open_positions[OPENING[symbol]].pop()] + sequence[position]
        elif symbol != ".":
            open_positions.setdefault(symbol, []).append(position)


def write_xz(path: Path, text: str) -> None:
    """Write deterministic bytes: xz stores neither a name nor a time."""
    path.write_bytes(lzma.compress(text.encode("ascii"), preset=9 | lzma.PRESET_EXTREME))


if __name__ == "__main__":
    main()
