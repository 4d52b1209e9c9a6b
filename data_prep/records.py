"""The first step: FASTA files to one Arrow file of the records that pass the filters."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from tqdm import tqdm

from .config import DataConfig
from .dedup import DIGEST_BYTES, hash_sequence
from .fasta import REJECT_REASONS, find_reject_reason, iter_fasta, normalise, parse_header
from .metadata import read_rna_types
from .shards import UNKNOWN_RNA_TYPE, hash_file

RECORDS_NAME = "records.arrow"
UNKNOWN_NUMBER = 0
BATCH_NT = 32_000_000
BATCH_RECORDS = 131_072
EXAMPLES_PER_REASON = 5

RECORDS_SCHEMA = pa.schema(
    [
        pa.field("sequence", pa.large_binary(), nullable=False),
        pa.field("id", pa.large_string(), nullable=False),
        pa.field("digest", pa.binary(DIGEST_BYTES), nullable=False),
        pa.field("source", pa.int32(), nullable=False),
        pa.field("rna_type", pa.int32(), nullable=False),
    ]
)
"""`source` and `rna_type` are numbers of the report's lists; RNA type 0 is `unknown`."""


class _Row(NamedTuple):
    """One accepted record, in the order of `RECORDS_SCHEMA`."""

    sequence: bytes
    id: str
    digest: bytes
    source: int
    rna_type: int


class _Tally:
    """What the reader counts while it streams."""

    def __init__(self, num_sources: int) -> None:
        self.read = [0] * num_sources
        self.accepted = [0] * num_sources
        self.nt = 0
        self.rejected: Counter[str] = Counter()
        self.examples: defaultdict[str, list[str]] = defaultdict(list)
        self.type_numbers = {UNKNOWN_RNA_TYPE: UNKNOWN_NUMBER}
        self.in_metadata = 0


def build_records(folder: Path, config: DataConfig) -> dict[str, Any]:
    """Write `records.arrow`, duplicates included; return the counts and the lists it refers to."""
    tally = _Tally(len(config.inputs))
    path = folder / RECORDS_NAME
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, RECORDS_SCHEMA) as writer:
        for rows in _iter_batches(_iter_accepted(config, tally)):
            columns = [
                pa.array(column, field.type)
                for column, field in zip(zip(*rows, strict=True), RECORDS_SCHEMA, strict=True)
            ]
            writer.write_batch(pa.record_batch(columns, schema=RECORDS_SCHEMA))
    rejected = {reason: tally.rejected[reason] for reason in REJECT_REASONS}
    if not sum(tally.accepted):
        raise ValueError(
            f"none of the {sum(tally.read)} records of {', '.join(map(str, config.inputs))} "
            f"passed the filters; rejected: {rejected}"
        )
    if config.metadata and not tally.in_metadata:
        raise ValueError(
            f"{config.metadata.path}: column {config.metadata.id_column!r} holds none of the "
            "identifiers of the FASTA headers; name the right one with --metadata-id-column"
        )
    return {
        "read": sum(tally.read),
        "rejected": rejected,
        "rejected_examples": dict(tally.examples),
        "accepted": sum(tally.accepted),
        "accepted_nt": tally.nt,
        "sources": [
            {"source": name, "read": read, "accepted": accepted}
            for name, read, accepted in zip(
                config.source_names, tally.read, tally.accepted, strict=True
            )
        ],
        "rna_types": list(tally.type_numbers),
        "sha256": hash_file(path),
    }


def _iter_accepted(config: DataConfig, tally: _Tally) -> Iterator[_Row]:
    rna_types = read_rna_types(config.metadata) if config.metadata else {}
    for source, (path, name) in enumerate(zip(config.inputs, config.source_names, strict=True)):
        size = path.stat().st_size
        with tqdm(total=size, desc=name, unit="B", unit_scale=True, disable=None) as bar:
            for record in iter_fasta(path, on_read=bar.update):
                tally.read[source] += 1
                sequence = normalise(record.letters)
                identifier, header_type = parse_header(record.header)
                identifier = identifier or f"{name}:{record.number}"
                if reason := find_reject_reason(sequence, config.filter):
                    tally.rejected[reason] += 1
                    if len(tally.examples[reason]) < EXAMPLES_PER_REASON:
                        tally.examples[reason].append(identifier)
                    continue
                tally.accepted[source] += 1
                tally.nt += len(sequence)
                tally.in_metadata += identifier in rna_types
                rna_type = rna_types.get(identifier) or header_type or UNKNOWN_RNA_TYPE
                number = tally.type_numbers.setdefault(rna_type, len(tally.type_numbers))
                yield _Row(sequence, identifier, hash_sequence(sequence), source, number)


def _iter_batches(rows: Iterable[_Row]) -> Iterator[list[_Row]]:
    """Group rows so that a batch is bounded in letters and in records."""
    batch: list[_Row] = []
    nt = 0
    for row in rows:
        batch.append(row)
        nt += len(row.sequence)
        if nt >= BATCH_NT or len(batch) >= BATCH_RECORDS:
            yield batch
            batch, nt = [], 0
    if batch:
        yield batch
