"""The embedded sample: RNA families with known structures, the default input of `make data`."""

from pathlib import Path

SAMPLE_FASTA = Path(__file__).with_name("families.fasta.xz")
"""Every sequence, with `family=` and `rna_type=` in the header."""

SAMPLE_STRUCTURES = Path(__file__).with_name("structures.tsv.xz")
"""Dot-bracket structures of those that have one: columns id, family, sequence, structure."""
