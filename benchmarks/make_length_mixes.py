"""Count the lengths of real ncRNAs for the benchmarks; give it the folder of the sequences' list.

Two mixes, as a model reads them: two tokens more than nucleotides, cropped at 1,024. `rnacentral`
is every sequence of the folder; `short` the tRNAs, miRNAs, snoRNAs, snRNAs, sRNAs, cis-regulatory
elements and riboswitches among them. Only counts are kept, in length_mixes.csv.
"""

import csv
import lzma
import sys
from collections import Counter
from pathlib import Path

MIXES = Path(__file__).parent / "length_mixes.csv"
MAX_TOKENS = 1024
EXTRA_TOKENS = 2
SHORT_TYPES = ("tRNA", "miRNA", "snoRNA", "snRNA", "sRNA", "Cis-reg")


def main() -> None:
    """Read meta.tsv.xz of the folder and write the counts."""
    counts: dict[str, Counter[int]] = {"rnacentral": Counter(), "short": Counter()}
    with lzma.open(Path(sys.argv[1]) / "meta.tsv.xz", "rt") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            num_tokens = min(int(row["len"]) + EXTRA_TOKENS, MAX_TOKENS)
            counts["rnacentral"][num_tokens] += 1
            if any(name in row["type"] for name in SHORT_TYPES):
                counts["short"][num_tokens] += 1
    with MIXES.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["mix", "num_tokens", "sequences"])
        for mix, lengths in counts.items():
            writer.writerows((mix, length, lengths[length]) for length in sorted(lengths))


if __name__ == "__main__":
    main()
