"""Made-up tables of RNAcentral's identifiers and of Rfam's families and hits."""

import numpy as np


def family_row(name, rna_type, comment="c", rfam_id="id"):
    fields = [
        name,
        rfam_id,
        "2020",
        "description",
        *["x"] * 5,
        comment,
        *["x"] * 8,
        rna_type,
        "y",
        "z",
    ]
    return "\t".join(fields) + "\n"


FAMILIES = (
    family_row("RF00001", "Gene; rRNA;")
    + family_row("RF00005", "Gene; tRNA;", comment="two\\\nlines\\\tand a tab")
    + family_row("RF00012", "Gene; snRNA; snoRNA; CD-box;")
    + family_row("RF00174", "Cis-reg; riboswitch;")
    + family_row("RF01234", "Gene;")
)
MAPPING = [
    ("URS0000000001", "ENA", "GU1.1:1..2:rRNA", "77133", "rRNA", ""),
    ("URS0000000002", "ENA", "x", "9606", "misc_RNA", ""),
    ("URS0000000002", "RFAM", 'RF"00001', "9606", "tRNA", "gene\xe9"),
    ("URS0000000002", "RFAM", "RF00001", "9606", "rRNA", ""),
    ("URS000000000A", "ENA", "x", "1", "lncRNA", ""),
    ("URS000000000A", "ENA", "x", "1", "misc_RNA", ""),
    ("URS000001ABCD", "ENA", "x", "1", "misc_RNA", ""),
    ("URS0000020000", "ENA", "x", "1", "other", ""),
]
RFAM_HITS = "".join(
    f"{urs}\t{family}\t50.1\t1e-9\t1\t20\t1\t20\tsome words\n"
    for urs, family in [
        ("URS000000000A", "RF00005"),
        ("URS000001ABCD", "RF00174"),
        ("URS0000020000", "RF01234"),
        ("URS0000012345", "RF00012"),
        ("URS0000012346", "RF09999"),
    ]
)


def to_table(rows):
    return "".join("\t".join(row) + "\n" for row in rows).encode("latin-1")


def find_types(annotations, source, ids, length_nt=20):
    """Types of identifiers that all have one length."""
    return annotations.find(source, list(ids), np.full(len(ids), length_nt))
