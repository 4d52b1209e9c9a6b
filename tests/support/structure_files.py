"""Structure files of one RNA in the formats, and reading them back."""

from openrinalmo.pipeline.downstream.structures.records import read_structures


def write_ct(sequence, partners, title="an RNA", header="{n} {title}"):
    rows = [header.format(n=len(sequence), title=title)]
    for n, letter in enumerate(sequence, start=1):
        rows.append(
            f"{n:5d} {letter} {n - 1} {(n + 1) % (len(sequence) + 1)} {partners.get(n, 0)} {n}"
        )
    return "\n".join(rows) + "\n"


def write_bpseq(sequence, partners):
    return "".join(
        f"{n} {letter} {partners.get(n, 0)}\n" for n, letter in enumerate(sequence, start=1)
    )


def partners_of(pairs):
    return {a + 1: b + 1 for i, j in pairs for a, b in ((i, j), (j, i))}


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def read_one(folder, name, text):
    (record,) = read_structures(write(folder, name, text))
    return record
