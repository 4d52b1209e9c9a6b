"""Entry of `make audit`: what benchmarks share with a prepared corpus, in tables and one page."""

import argparse
import hashlib
import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

try:
    from openrinalmo.data_prep.audits.audit_lines import write_audit
except ModuleNotFoundError as error:
    sys.exit(f"cannot import {error.name}: install this checkout first, with `make install`")
from openrinalmo.data_prep.audits.audit_page import format_page
from openrinalmo.data_prep.audits.audit_report import (
    ALL,
    THRESHOLDS,
    Audited,
    format_families,
    format_text,
    iter_neighbour_lines,
    summarise,
)
from openrinalmo.data_prep.audits.benchmark_tables import ColumnsConfig
from openrinalmo.data_prep.audits.benchmarks import NO_FAMILY, BenchmarkFile, read_benchmarks
from openrinalmo.data_prep.audits.cmsearch import label_families
from openrinalmo.data_prep.audits.leakage import Corpus, find_neighbours, judge
from openrinalmo.data_prep.audits.searching import SearchConfig
from openrinalmo.data_prep.mmseqs import find_mmseqs, read_version
from openrinalmo.data_prep.shards import hash_file, hash_manifest
from openrinalmo.data_prep.steps import exclusive, explained_disk, unwind_on_signals

SIGNATURE_IDENTITY = 0.8
SEARCH_SETTINGS = ("kmer_nt", "max_seqs", "min_ungapped_score", "threads", "split_memory_limit")
WITHOUT_INFLUENCE = ("threads", "split_memory_limit")


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditConfig:
    """What is audited against what."""

    corpus: Path
    """A prepared data folder; both its splits are searched."""
    benchmarks: tuple[Path, ...]
    out: Path
    columns: ColumnsConfig = field(default_factory=ColumnsConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    coverage: float = 0.8
    """Lowest share of a sequence that an alignment spans to count in the shares by identity."""
    cm: Path | None = None
    """Covariance models: families by Infernal instead of those of the files."""
    exact_only: bool = False
    """Without MMseqs2: identical records, and short sequences within a record."""

    def __post_init__(self) -> None:
        if not self.benchmarks:
            raise ValueError("--benchmarks must name at least one file or folder")
        if not 0 < self.coverage <= 1:
            raise ValueError(f"--coverage must be in (0, 1], got {self.coverage}")
        if self.cm and not self.cm.is_file():
            raise ValueError(f"--cm: {self.cm} is not a file: check its name")


def main(argv: Sequence[str] | None = None) -> None:
    """Audit what the command line names; write the products and print the table."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    unwind_on_signals("stopped")
    try:
        config = parse_arguments(argv)
        report = audit(config)
    except (ValueError, RuntimeError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped")
    sys.stdout.write(format_text(report))
    sys.stdout.write(
        f"\npage {config.out / 'audit.html'}, neighbours {config.out}/neighbours.tsv\n"
    )


def parse_arguments(argv: Sequence[str] | None = None) -> AuditConfig:
    """Return the configuration that the command line asks for."""
    search = SearchConfig()
    parser = argparse.ArgumentParser(
        prog="audit.py",
        description="Search a prepared corpus for every sequence of the benchmarks.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("corpus", type=Path, metavar="CORPUS", help="a prepared data folder")
    add("--benchmarks", nargs="+", type=Path, required=True, metavar="FILE", help="or folders")
    add("--out", type=Path, required=True, metavar="FOLDER", help="where the tables go")
    for role in ("sequence", "id", "family", "partition"):
        add(f"--{role}-column", metavar="NAME", help="in tables; by default the usual names")
    add("--coverage", type=float, default=0.8, help="share of a sequence that counts as found")
    add("--kmer-nt", type=int, default=search.kmer_nt, help="seed of mmseqs search; 11 is faster")
    add("--max-seqs", type=int, default=search.max_seqs, help="of mmseqs search")
    add("--min-ungapped-score", type=int, default=0, help="of mmseqs search; 36 is faster")
    add("--threads", type=int, default=search.threads, help="of MMseqs2 and Infernal")
    add("--split-memory-limit", default=search.split_memory_limit, help="as of prepare.py")
    add("--cm", type=Path, metavar="FILE", help="label families with Infernal and these models")
    add("--exact-only", action="store_true", help="identical records alone, without MMseqs2")
    given = parser.parse_args(argv)
    return AuditConfig(
        corpus=given.corpus,
        benchmarks=tuple(given.benchmarks),
        out=given.out,
        columns=ColumnsConfig(
            sequence=given.sequence_column,
            id=given.id_column,
            family=given.family_column,
            partition=given.partition_column,
        ),
        search=SearchConfig(**{name: getattr(given, name) for name in SEARCH_SETTINGS}),
        coverage=given.coverage,
        cm=given.cm,
        exact_only=given.exact_only,
    )


def audit(config: AuditConfig) -> dict[str, Any]:
    """Search, write the tables and the page into `out`, return the report.

    The signature of each file is also put beside the corpus, where an evaluation finds it.
    """
    files, folders, skipped = read_benchmarks(config.benchmarks, config.columns)
    corpus, corpus_hash = Corpus(config.corpus), hash_manifest(config.corpus)
    binary = None if config.exact_only else find_mmseqs()
    with exclusive(config.out), explained_disk(config.out):
        sequences = sorted({record.sequence for file in files for record in file.records})
        if config.cm:
            labels = label_families(sequences, config.cm, config.out, threads=config.search.threads)
            families = dict(zip(sequences, labels, strict=True))
            source = f"cmsearch, models {hash_file(config.cm)[:12]}"
            files, folders = (_relabel(part, families, source) for part in (files, folders))
        records = [record for file in files for record in file.records]
        number = {sequence: place for place, sequence in enumerate(sequences)}
        found = find_neighbours(
            sequences,
            corpus,
            config.out,
            config=config.search,
            coverage=config.coverage,
            binary=binary,
        )
        statuses = judge(
            sequences, found, kmer_nt=config.search.kmer_nt, is_aligned=binary is not None
        )
        places = np.array([number[record.sequence] for record in records])
        audited = Audited(records, places, found, np.array(statuses))
        report = {
            "corpus": corpus_hash,
            "corpus_records": corpus.num_records,
            "coverage": config.coverage,
            "search": {
                k: v for k, v in asdict(config.search).items() if k not in WITHOUT_INFLUENCE
            },
            "openrinalmo": version("openrinalmo"),
            "mmseqs": read_version(binary) if binary else None,
            "skipped": skipped,
            "rows": summarise(audited),
        }
        if hash_manifest(config.corpus) != corpus_hash:
            raise RuntimeError(f"{config.corpus} was prepared anew meanwhile: audit it again")
        report["files"] = list(_iter_entries(report, [*files, *folders]))
        _write_products(config.out, report, iter_neighbour_lines(audited, corpus))
        for entry in report["files"]:
            write_audit(config.corpus, entry)
    return report


def _relabel(
    files: list[BenchmarkFile], families: Mapping[bytes, str | None], source: str
) -> list[BenchmarkFile]:
    return [
        file._replace(
            families_from=source,
            records=[r._replace(family=families[r.sequence] or NO_FAMILY) for r in file.records],
        )
        for file in files
    ]


def _iter_entries(report: dict[str, Any], files: list[BenchmarkFile]) -> Iterator[dict[str, Any]]:
    """Yield what is kept of each file: its rows in all, and a signature over everything found."""
    stated = {k: report[k] for k in ("corpus", "coverage", "search", "openrinalmo", "mmseqs")}
    for file in files:
        names = {record.benchmark for record in file.records}
        rows = [row for row in report["rows"] if row["benchmark"] in names]
        total = [row for row in rows if row["family"] == ALL]
        entry = {
            "name": file.name,
            "sha256": file.sha256,
            "families_from": file.families_from,
            **stated,
            "counts": {
                key: sum(row[key] for row in total)
                for key in (
                    *("sequences", "identical", *(f"identity_{t}" for t in THRESHOLDS)),
                    *("antisense", "none", "not_searchable"),
                )
            },
        }
        digest = hashlib.sha256(json.dumps([entry, rows]).encode()).hexdigest()
        yield {**entry, "line": _format_line(entry, digest)}


def _format_line(entry: dict[str, Any], digest: str) -> str:
    counts = entry["counts"]
    near = counts[f"identity_{SIGNATURE_IDENTITY}"] / counts["sequences"]
    if entry["mmseqs"]:
        shared = f"id>={SIGNATURE_IDENTITY}&cov>={entry['coverage']}:{near:.1%}"
    else:
        shared = f"identical:{counts['identical'] / counts['sequences']:.1%}"
    return "|".join(
        [
            f"audit:{digest[:6]}",
            f"corpus:{entry['corpus'][:8]}",
            f"benchmark:{entry['sha256'][:8]}",
            shared,
            f"unsearched:{counts['not_searchable'] / counts['sequences']:.1%}",
            f"k:{entry['search']['kmer_nt']}",
            f"mmseqs:{(entry['mmseqs'] or 'none')[:8]}",
            f"v:{entry['openrinalmo']}",
        ]
    )


def _write_products(out: Path, report: dict[str, Any], neighbours: Iterator[str]) -> None:
    """Write under temporary names and rename; `audit.json`, which names the rest, comes last."""
    products = {
        "neighbours.tsv": neighbours,
        "families.tsv": [format_families(report["rows"])],
        "audit.html": [format_page(report)],
        "audit.json": [json.dumps(report, indent=1, ensure_ascii=False) + "\n"],
    }
    (out / "audit.json").unlink(missing_ok=True)
    for name, lines in products.items():
        scratch = out / f"{name}.partial"
        with scratch.open("w", encoding="utf-8") as file:
            file.writelines(lines)
        scratch.replace(out / name)


if __name__ == "__main__":
    main()
