"""FASTA as it may be, and files as they break; every draw is its generator's."""

import random
from collections.abc import Callable


def draw_fasta(rng: random.Random, *, max_records: int = 8) -> bytes:
    """Draw legal FASTA with the oddities that files have."""
    end = rng.choice([b"\n", b"\n", b"\r\n"])
    lines = [b""] * rng.choice([0, 0, 0, 1, 2])
    for number in range(rng.randint(1, max_records)):
        header = rng.choice([b"r%d", b"r%d some words", b"r%d rna_type=tRNA", b" r%d", b"%d>x"])
        lines.append(b">" + rng.choice([header % number, header % number, b""]))
        letters = bytes(rng.choices(b"ACGU", k=rng.choice([0, 1, 15, 16, 17, 40, 90, 200])))
        letters = rng.choice(ODDITIES)(rng, letters)
        width = rng.choice([7, 60, 80, 10_000])
        lines.extend(letters[i : i + width] for i in range(0, len(letters), width))
        lines.extend([b""] * rng.choice([0, 0, 0, 1]))
    return end.join(lines) + rng.choice([end, end, b"", end * 3])


def _scatter(rng: random.Random, letters: bytes, extra: bytes, share: float) -> bytes:
    return b"".join(
        bytes([letter, rng.choice(extra)]) if rng.random() < share else bytes([letter])
        for letter in letters
    )


ODDITIES: list[Callable[[random.Random, bytes], bytes]] = [
    lambda _, letters: letters,
    lambda _, letters: letters.lower(),
    lambda _, letters: letters.replace(b"U", b"T"),
    lambda rng, letters: _scatter(rng, letters, b"-. \t", 0.2),
    lambda rng, letters: _scatter(rng, letters, b"NRYKMSWBDHVI", 0.09),
    lambda rng, letters: _scatter(rng, letters, b"Xx*>;12\xc3\xff", 0.02),
    lambda _, letters: letters + b"*",
    lambda _, letters: letters + b"**",
    lambda rng, letters: letters * rng.choice([1, 30, 60]),
]


def mutate_text(rng: random.Random, text: bytes) -> bytes:
    """Break FASTA text as editors, scripts and disks do."""
    place = rng.randrange(len(text) + 1)
    before, after = text[:place], text[place:]
    return rng.choice(
        [
            lambda: text.replace(b"\n", b"\r\n"),
            lambda: text.replace(b"\n", b"\r"),
            lambda: text.rstrip(b"\n"),
            lambda: before + b">" + after,
            lambda: before + b"\n>\n" + after,
            lambda: before + b"\n>" * rng.randint(1, 50) + b"\n" + after,
            lambda: before + b"\0" + after,
            lambda: before + rng.randbytes(rng.randint(1, 8)) + after,
            lambda: before + "é\u00a0\u2028☃\ufeff".encode() + after,
            lambda: before + bytes(rng.choices(b"ACGU", k=rng.choice([9_000, 300_000]))) + after,
            lambda: before + b"\n" * rng.randint(1, 2_000) + after,
            lambda: before + b"-" * 100_000 + after,
            lambda: b"\xef\xbb\xbf" + text,
            lambda: b";comment\n" + text,
            lambda: b" \t\r\n" + text,
            text.swapcase,
            lambda: after + before,
            lambda: text * rng.randint(2, 5),
            lambda: b">" + b"h" * 100_000 + b"\n" + text,
        ]
    )()


def mutate_bytes(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Break any file: bits, cuts, holes, repeats, other files before, within and behind."""
    first, last = sorted(rng.choices(range(len(data) + 1), k=2))
    changed = bytearray(data)
    for place in rng.choices(range(len(data)), k=rng.choice([1, 1, 1, 3, 20])):
        changed[place] ^= 1 << rng.randrange(8)
    return rng.choice(
        [
            lambda: bytes(changed),
            lambda: bytes(changed),
            lambda: data[:last],
            lambda: data[first:],
            lambda: data[:first] + data[last:],
            lambda: data[:last] + data[first:],
            lambda: data[:first] + data[first:last] * rng.randint(2, 9) + data[last:],
            lambda: data[:first] + bytes(last - first) + data[last:],
            lambda: data[:first] + rng.randbytes(rng.randint(1, 64)) + data[first:],
            lambda: data + rng.randbytes(rng.randint(1, 64)),
            lambda: data + bytes(rng.randint(1, 64)),
            lambda: data + other,
            lambda: data[:last] + other,
            lambda: data[:first] + other + data[last:],
        ]
    )()
