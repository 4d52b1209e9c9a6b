"""Families of sequences by Infernal's `cmsearch`: each one's best-scoring covariance model."""

import os
import re
import shlex
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..programs import run_program, scratch_folder
from .searching import write_numbered


def find_cmsearch() -> Path:
    """Return the binary of PATH."""
    if found := shutil.which("cmsearch"):
        return Path(found)
    raise FileNotFoundError(
        "no `cmsearch` on PATH: install Infernal (Debian: `apt-get install infernal`), or leave "
        "--cm away and take the families of the files"
    )


def label_families(
    sequences: Sequence[bytes], models: Path, folder: Path, *, threads: int
) -> list[str | None]:
    """Return each sequence's family, None where no model of the file `models` is significant.

    If all models have gathering thresholds, as Rfam's do, they are held to them, else to an
    e-value of 0.001.
    """
    bound = ["--cut_ga"] if have_thresholds(models) else ["-E", "0.001"]
    with scratch_folder(folder) as scratch:
        fasta, table = scratch / "sequences.fasta", scratch / "hits.tbl"
        write_numbered(fasta, sequences, range(len(sequences)))
        command = [str(find_cmsearch()), "--noali", "--cpu", str(threads), *bound]
        command += ["--tblout", str(table), str(models), str(fasta)]
        run_program(
            command,
            "cmsearch",
            log=folder / "cmsearch.log",
            said=shlex.join(command),
            environment=os.environ,
        )
        return read_best_models(table.read_text(), len(sequences))


def have_thresholds(models: Path) -> bool:
    """Say whether each model of a file states a gathering threshold."""
    with models.open("rb") as file:
        starts = Counter(line.split(maxsplit=1)[0] for line in file if line[:2] in (b"GA", b"IN"))
    return starts[b"GA"] == starts[b"INFERNAL1/a"] > 0


def read_best_models(table: str, count: int) -> list[str | None]:
    """Return the best-scoring model of each numbered sequence in a table of `--tblout`."""
    best: dict[int, tuple[float, str]] = {}
    for line in table.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        fields = re.split(r"\s+", line, maxsplit=17)
        name, accession, score = fields[2], fields[3], float(fields[14])
        family = name if accession == "-" else accession
        number = int(fields[0])
        if number not in best or score > best[number][0]:
            best[number] = score, family
    return [best[number][1] if number in best else None for number in range(count)]
