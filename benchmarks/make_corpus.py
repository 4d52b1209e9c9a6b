"""Make a FASTA of any size out of real RNAs: families mutated, cut, copied, of real lengths.

`python benchmarks/make_corpus.py 4000000 corpus.fasta.zst --from core.fasta.xz lncRNA.fasta.xz`

A record is a member of a founder, a founder a changed template, a template a real sequence. Both
changes are substitutions (transitions twice as likely as each transversion); a member also has
up to two short deletions or tandem copies, and some are cut. How many members a founder has falls
off as a power law, and founders grow in number with the records, so that a larger corpus is more
of the same: about as many clusters per record at every size. Relatives lie scattered over the file.

Everything is a hash of the seed and the record's number: nothing is kept but 8 bytes a record, to
count distinct sequences. The truth about the corpus is printed and lies beside it as JSON.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import zstandard
from numpy.typing import NDArray

from openrinalmo.data_prep.metadata import MetadataConfig
from openrinalmo.data_prep.sample import SAMPLE_FASTA
from templates import LETTERS, PADDING, Templates, read_templates

BLOCK_RECORDS = 16_384
INLINE_BYTES = 12
"""Arrow keeps a view as short as this within itself."""
NOISE_LENGTH = 2**22
MIN_FRAGMENT_NT = 16

_COMPLEMENT = bytes.maketrans(b"ACGURYKMBVDH", b"UGCAYRMKVBHD")


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusConfig:
    """What a corpus is like; the defaults give about as many clusters per record as RNAcentral."""

    num_records: int
    seed: int = 0
    duplicates: float = 0.1
    """Share of records that are exact copies of an earlier one."""
    reverse_complements: float = 0.002
    """Share of records that are the other strand of an earlier one."""
    fragments: float = 0.15
    """Share of members that are cut, to 40 to 100 % of their length."""
    records_per_founder: float = 1.5
    """Founders to draw from are fewer than records by this; a third of them is never drawn."""
    max_founder_change: float = 0.6
    """Founders differ from their template in 0 to this share of their letters, evenly spread."""
    max_member_change: float = 0.3
    """Members differ from their founder in 0 to this share, most of them little."""

    def __post_init__(self) -> None:
        if self.num_records < 1:
            raise ValueError(f"num_records must be at least 1, got {self.num_records}")


class _Members(NamedTuple):
    """Where the records of a block come from; three pieces each, around the two indels."""

    template: NDArray[np.int64]
    flipped: NDArray[np.bool_]
    piece_starts: NDArray[np.int64]
    """Within the template: records, 3."""
    piece_lengths: NDArray[np.int64]
    founder_noise: NDArray[np.int64]
    member_noise: NDArray[np.int64]
    counts: dict[str, int]


class Corpus:
    """The records of one corpus, made block by block, each from its number alone."""

    def __init__(self, templates: Templates, config: CorpusConfig) -> None:
        self.templates = templates
        self.config = config

    def iter_blocks(self) -> Iterator[tuple[list[bytes], NDArray[np.int64], dict[str, int]]]:
        """Yield the sequences of consecutive records, their RNA types and what was done to them."""
        for start in range(0, self.config.num_records, BLOCK_RECORDS):
            numbers = np.arange(start, min(start + BLOCK_RECORDS, self.config.num_records))
            members = self._choose(numbers.astype(np.uint64))
            rna_types = self.templates.rna_type_ids[members.template]
            yield self._spell(members), rna_types, members.counts

    def _choose(self, numbers: NDArray[np.uint64]) -> _Members:
        config, templates = self.config, self.templates
        numbers, flipped, counts = self._find_originals(numbers)
        members = max(1, round(config.num_records / config.records_per_founder))
        founder = (members * self._draw(numbers, 1) ** 3).astype(np.uint64)  # few have many members
        template = np.searchsorted(
            templates.cumulative_weights, self._draw(founder, 2), side="right"
        )
        lengths = templates.lengths[template]
        cut = (self._draw(numbers, 3) < config.fragments) & (lengths > MIN_FRAGMENT_NT)
        share = np.where(cut, 0.4 + 0.6 * self._draw(numbers, 4), 1.0)
        kept = np.maximum((share * lengths).astype(np.int64), np.minimum(lengths, MIN_FRAGMENT_NT))
        first = (self._draw(numbers, 5) * (lengths - kept + 1)).astype(np.int64)
        places = np.sort([self._draw(numbers, 6), self._draw(numbers, 7)], axis=0)
        one, two = (places * kept).astype(np.int64)
        skips = [self._draw_indel(numbers, salt, kept) for salt in (8, 9)]
        skip_one = np.clip(skips[0], -one, two - one)
        skip_two = np.clip(skips[1], -two, kept - two)
        starts = np.stack([np.zeros_like(one), one + skip_one, two + skip_two], axis=1)
        ends = np.stack([one, two, kept], axis=1)
        return _Members(
            template,
            flipped,
            starts + first[:, None],
            ends - starts,
            (self._draw(founder, 10) * NOISE_LENGTH).astype(np.int64),
            (self._draw(numbers, 11) * NOISE_LENGTH).astype(np.int64),
            {**counts, "fragments": int(cut.sum())},
        )

    def _find_originals(
        self, numbers: NDArray[np.uint64]
    ) -> tuple[NDArray[np.uint64], NDArray[np.bool_], dict[str, int]]:
        """Follow copies, and copies of copies, to the record that is none."""
        config = self.config
        numbers = numbers.copy()
        flipped = np.zeros(len(numbers), bool)
        counts = {}
        rows = np.arange(len(numbers))
        while len(rows := rows[numbers[rows] > 0]):
            kind = self._draw(numbers[rows], 12)
            is_flip = kind < config.reverse_complements
            is_copy = kind < config.reverse_complements + config.duplicates
            if not counts:
                flips = int(is_flip.sum())
                counts = {"duplicates": int(is_copy.sum()) - flips, "reverse_complements": flips}
            flipped[rows] ^= is_flip
            rows = rows[is_copy]
            numbers[rows] = (self._draw(numbers[rows], 13) * numbers[rows]).astype(np.uint64)
        return numbers, flipped, counts or {"duplicates": 0, "reverse_complements": 0}

    def _draw_indel(
        self, numbers: NDArray[np.uint64], salt: int, lengths: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Letters to skip; negative ones are copied once more; none in 70 % and in small RNAs."""
        draw = self._draw(numbers, salt)
        size = np.rint((draw - 0.85) / 0.15 * 8.5).astype(np.int64)
        return np.where(draw < 0.7, 0, np.clip(size, -(lengths // 20), lengths // 20))

    def _spell(self, members: _Members) -> list[bytes]:
        """Join template, founder's and member's changes into letters."""
        lengths = members.piece_lengths.sum(axis=1)
        flat = members.piece_lengths.ravel()
        starts = self.templates.starts[members.template][:, None] + members.piece_starts
        letters = _gather(self.templates.codes, starts.ravel(), flat)
        letters |= _gather(
            self._founder_noise,
            (members.founder_noise[:, None] + members.piece_starts).ravel(),
            flat,
        )
        letters |= _gather(self._member_noise, members.member_noise, lengths)
        spelled = bytearray(letters).translate(_SPELLING)
        ends = np.concatenate([[0], np.cumsum(lengths)])
        for row in np.flatnonzero(members.flipped):
            part = slice(ends[row], ends[row + 1])
            spelled[part] = spelled[part].translate(_COMPLEMENT)[::-1]
        return [bytes(spelled[first:last]) for first, last in pairwise(ends.tolist())]

    def _draw(self, numbers: NDArray[np.uint64], salt: int) -> NDArray[np.float64]:
        """Return a number in 0..1 for each of `numbers`; another salt gives unrelated ones."""
        mixed = _mix(numbers + np.uint64(((self.config.seed * 64 + salt) * 2**40) % 2**64))
        return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53

    @cached_property
    def _founder_noise(self) -> NDArray[np.uint8]:
        return self._build_noise(14, self.config.max_founder_change, power=1) * np.uint8(4)

    @cached_property
    def _member_noise(self) -> NDArray[np.uint8]:
        return self._build_noise(15, self.config.max_member_change, power=2)

    def _build_noise(self, salt: int, max_change: float, *, power: int) -> NDArray[np.uint8]:
        """Return what to add to letters, 0 for nothing; changes are rare at the start."""
        length = NOISE_LENGTH + 2 * int(self.templates.lengths.max()) + PADDING
        noise = np.empty(length, np.uint8)
        for start in range(0, length, 2**20):
            place = np.arange(start, min(start + 2**20, length), dtype=np.uint64)
            rate = max_change * np.minimum(place / NOISE_LENGTH, 1) ** power
            with np.errstate(divide="ignore", invalid="ignore"):
                part = self._draw(place, salt) / rate  # below 1 in a share `rate` of the places
            noise[start : start + len(part)] = np.select(
                [part < 0.5, part < 0.75, part < 1], [2, 1, 3], 0
            )
        return noise


def write_corpus(path: Path, templates: Templates, config: CorpusConfig) -> dict[str, Any]:
    """Write the corpus as FASTA packed with zstd, and the truth beside it; return the truth."""
    rna_types = [f"rna_type={name}".encode() for name in templates.rna_types]
    hashes = np.empty(config.num_records, np.int64)
    done: dict[str, int] = {}
    records_by_type = np.zeros(len(templates.rna_types), np.int64)
    nt_by_type = np.zeros_like(records_by_type)
    count = 0
    scratch = path.with_name(f"{path.name}.partial")
    packer = zstandard.ZstdCompressor(level=1, threads=1)  # beside this thread
    with scratch.open("wb") as file, packer.stream_writer(file) as out:
        for sequences, type_ids, counts in Corpus(templates, config).iter_blocks():
            named = zip(range(count, count + len(sequences)), type_ids, sequences, strict=True)
            out.write(b"".join([b">SYN%09d %b\n%b\n" % (n, rna_types[i], s) for n, i, s in named]))
            hashes[count : count + len(sequences)] = list(map(hash, sequences))
            lengths = np.fromiter(map(len, sequences), np.int64, len(sequences))
            records_by_type += np.bincount(type_ids, minlength=len(records_by_type))
            nt_by_type += np.bincount(type_ids, lengths, len(nt_by_type)).astype(np.int64)
            done = {name: done.get(name, 0) + value for name, value in counts.items()}
            count += len(sequences)
    hashes.sort()
    truth = {
        "records": count,
        "unique": 1 + int(np.count_nonzero(np.diff(hashes))),
        "nt": int(nt_by_type.sum()),
        "mean_length_nt": round(float(nt_by_type.sum() / count), 1),
        **done,
        "seed": config.seed,
        "rna_types": {
            name: {"records": int(records_by_type[i]), "nt": int(nt_by_type[i])}
            for i, name in enumerate(templates.rna_types)
            if records_by_type[i]
        },
    }
    path.with_name(f"{path.name}.json").write_text(json.dumps(truth, indent=2) + "\n")
    scratch.replace(path)
    return truth


def _gather(
    pool: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Join pieces of `pool` by Arrow's views: a copy a piece, where NumPy would index by letter."""
    views = np.zeros((len(starts), 4), np.int32)  # length; first letters; number of buffer; start
    views[:, 0], views[:, 3] = lengths, starts
    first = np.arange(INLINE_BYTES)
    is_short = lengths <= INLINE_BYTES
    short, long = np.flatnonzero(is_short), np.flatnonzero(~is_short)
    within = pool[starts[short, None] + first]
    within[first >= lengths[short, None]] = 0
    views[short, 1:] = within.view(np.int32)
    views[long, 1] = pool[starts[long, None] + first[:4]].view(np.int32)[:, 0]
    buffers = [None, pa.py_buffer(views), pa.py_buffer(pool)]
    joined = pa.Array.from_buffers(pa.binary_view(), len(starts), buffers).cast(pa.large_binary())
    return np.frombuffer(joined.buffers()[2], np.uint8)[: lengths.sum()].copy()


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser (Steele et al., 2014)."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _build_spelling() -> bytes:
    """Return the letter of each code with the founder's and the member's change in its low bits."""
    return bytes(
        LETTERS[(code + founder + member) % 4] if code < 4 else LETTERS[code]
        for code in range(16)
        for founder in range(4)
        for member in range(4)
    )


_SPELLING = _build_spelling()


def main() -> None:
    """Write the corpus that the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("num_records", type=int)
    add("out", type=Path, metavar="OUT.fasta.zst")
    add("--from", dest="families", nargs="+", type=Path, default=[SAMPLE_FASTA], metavar="FASTA")
    add("--weights", nargs="+", type=float, default=(), help="share of each file in the corpus")
    add("--metadata", type=Path, metavar="TSV", help="table with the RNA type of each identifier")
    add("--metadata-id-column", default="id")
    add("--seed", type=int, default=0)
    arguments = parser.parse_args()
    metadata = arguments.metadata and MetadataConfig(
        path=arguments.metadata, id_column=arguments.metadata_id_column
    )
    templates = read_templates(arguments.families, weights=arguments.weights, metadata=metadata)
    config = CorpusConfig(num_records=arguments.num_records, seed=arguments.seed)
    truth = write_corpus(arguments.out, templates, config)
    sys.stdout.write(json.dumps(truth, indent=2) + "\n")


if __name__ == "__main__":
    main()
