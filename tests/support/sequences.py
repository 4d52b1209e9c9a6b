"""Random RNA sequences and their relatives, drawn from a generator."""

import random


def draw_sequence(rng: random.Random, length: int) -> str:
    """Draw a sequence over A, C, G and U."""
    return "".join(rng.choices("ACGU", k=length))


def mutate(rng: random.Random, sequence: str, *, identity: float) -> str:
    """Substitute letters, at random places, down to the given identity."""
    letters = list(sequence)
    for place in rng.sample(range(len(letters)), round(len(letters) * (1 - identity))):
        letters[place] = rng.choice([letter for letter in "ACGU" if letter != letters[place]])
    return "".join(letters)


def format_fasta(records: list[tuple[str, str]]) -> str:
    """Return FASTA text of headers and sequences."""
    return "".join(f">{header}\n{sequence}\n" for header, sequence in records)
