"""The command line of `prepare.py`: flags in the words of the settings and of MMseqs2."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .audits.exclusion import ExclusionConfig
from .audits.searching import SearchConfig
from .clusters.short_rnas import ShortConfig
from .composition import TypeWeights
from .config import DataConfig
from .dedup import DedupConfig
from .downloads.fetched import read_fetched
from .engine import EngineConfig
from .filters import FilterConfig
from .inputs.arrow_input import FormatConfig
from .inputs.formats import expand_inputs
from .metadata import MetadataConfig
from .mmseqs import ClusterConfig
from .rna_types import AnnotationConfig
from .sample import SAMPLE_FASTA
from .shards import DEFAULT_MAX_SHARD_NT
from .split import SplitConfig


def parse_arguments(argv: Sequence[str] | None = None) -> DataConfig:
    """Return the configuration that the command line asks for."""
    filters, cluster, split = FilterConfig(), ClusterConfig(), SplitConfig()
    exclude, short = ExclusionConfig(), cluster.short
    weights, formats = TypeWeights(), FormatConfig()
    parser = argparse.ArgumentParser(
        prog="prepare.py",
        description="Prepare pretraining data: FASTA to clustered, split, memory-mapped shards.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add(
        "inputs",
        nargs="*",
        metavar="FILE",
        help="FASTA, FASTQ, Parquet, Arrow, prepared folders, patterns in quotes, - for standard "
        "input; without any, the embedded sample",
    )
    add("--out", type=Path, required=True, metavar="FOLDER", help="where the data goes")
    add("--fetched", type=Path, metavar="FOLDER", help="sources that fetch.py brought")
    add("--sequence-column", default=formats.sequence_column, metavar="NAME", help="of tables")
    add("--id-column", metavar="NAME", help="of tables: id, where there is one")
    add("--type-column", metavar="NAME", help="of tables: rna_type, where there is one")
    add("--metadata", type=Path, metavar="TSV", help="table with the RNA type of each identifier")
    add("--metadata-id-column", default="id", metavar="NAME", help="its column of identifiers")
    add("--metadata-type-column", metavar="NAME", help="its column of types: rna_type, else type")
    add("--id-mapping", type=Path, metavar="TSV", help="RNAcentral's id_mapping.tsv.gz: RNA types")
    add(
        "--rfam-annotations",
        type=Path,
        metavar="TSV",
        help="RNAcentral's rfam_annotations.tsv.gz: for sequences without a telling type",
    )
    add(
        "--family-table", type=Path, metavar="TXT", help="Rfam's family.txt.gz: its families' types"
    )
    add("--min-length-nt", type=int, default=filters.min_length_nt, help="shorter is rejected")
    add("--max-length-nt", type=int, default=filters.max_length_nt, help="longer is rejected")
    add("--max-ambiguous", type=float, default=filters.max_ambiguous, help="share of non-ACGU")
    add(
        "--reverse-complement",
        action="store_true",
        help="a sequence and its reverse complement count as one",
    )
    add(
        "--exclude",
        action="append",
        type=Path,
        default=[],
        metavar="FILE",
        help="leave out what is near the sequences of this file; may be given again",
    )
    add(
        "--exclude-family",
        action="append",
        default=[],
        metavar="NAME",
        help="leave out this RNA type or family; may be given again",
    )
    add("--exclude-identity", type=float, default=exclude.identity, help="that makes it near")
    add("--exclude-coverage", type=float, default=exclude.coverage, help="of the file's sequence")
    add(
        "--exclude-min-ungapped-score",
        type=int,
        default=exclude.min_ungapped_score,
        help="of sequences of 100 nt or more, before they are aligned; 0 takes three times as long",
    )
    add("--min-seq-id", type=float, default=cluster.min_seq_id, help="identity in a cluster")
    add("--coverage", type=float, default=cluster.coverage, help="aligned share in a cluster")
    add("--cov-mode", type=int, default=cluster.cov_mode, help="MMseqs2's; 0: share of both")
    add("--cluster-method", default=cluster.method, help="linclust, or cluster: the cascade")
    add("--cluster-mode", type=int, help="MMseqs2's; without, what it takes by itself")
    add("--kmer-per-seq", type=int, default=cluster.kmer_per_seq, help="MMseqs2's, of linclust")
    add("--sensitivity", type=float, default=cluster.sensitivity, help="MMseqs2's -s, of cluster")
    add("--cluster-k", type=int, default=cluster.k, help="MMseqs2's -k; 0 takes its default")
    add("--strand", default=cluster.strand, help="forward: antisense members go; both: they stay")
    add("--short-max-nt", type=int, default=short.max_nt, help="shorter is clustered past MMseqs2")
    add("--short-max-mismatches", type=int, default=short.max_mismatches, help="of short RNAs")
    add("--check-sample", type=int, default=cluster.sample, help="members aligned to check")
    add("--update", type=Path, metavar="FOLDER", help="earlier data whose clusters stay")
    add("--threads", type=int, default=cluster.threads, help="of MMseqs2")
    add("--split-memory-limit", default=cluster.split_memory_limit, help="of MMseqs2, as in 16G")
    add(
        "--mpi-runner",
        default=cluster.mpi_runner,
        metavar="COMMAND",
        help="starts MMseqs2's modules, as in 'mpirun -np 4'; needs an MMseqs2 built with MPI",
    )
    add("--validation-fraction", type=float, default=split.validation_fraction, help="of clusters")
    add("--seed", type=int, default=split.seed, help="of the split")
    add(
        "--type-temperature",
        type=float,
        default=weights.type_temperature,
        help="1: training shows every cluster once an epoch; 0: every RNA type equally often",
    )
    add(
        "--type-caps",
        default=weights.type_caps,
        metavar="TYPE=SHARE,…",
        help="highest shares of an epoch's nucleotides, as in rRNA=0.2",
    )
    add(
        "--max-repeats",
        type=int,
        default=weights.max_repeats,
        help="times a cluster is shown in an epoch at most",
    )
    add("--max-shard-nt", type=int, default=DEFAULT_MAX_SHARD_NT, help="letters in one shard")
    add("--engine", default="local", help="local, or ray: records go through a Ray cluster")
    add("--address", metavar="HOST:PORT", help="of the cluster; or auto, or local: one for the run")
    arguments = parser.parse_args(argv)
    fetched = read_fetched(arguments.fetched) if arguments.fetched else None
    named = expand_inputs(arguments.inputs) if arguments.inputs else []
    inputs = (*(fetched.inputs if fetched else ()), *named)
    return DataConfig(
        inputs=inputs or _take_sample(arguments),
        out=arguments.out,
        formats=FormatConfig(
            sequence_column=arguments.sequence_column,
            id_column=arguments.id_column,
            rna_type_column=arguments.type_column,
        ),
        annotations=_choose_annotations(
            fetched.annotations if fetched else AnnotationConfig(), arguments
        ),
        fetched=tuple(fetched.facts) if fetched else (),
        metadata=arguments.metadata
        and MetadataConfig(
            path=arguments.metadata,
            id_column=arguments.metadata_id_column,
            type_column=arguments.metadata_type_column,
        ),
        filter=FilterConfig(
            min_length_nt=arguments.min_length_nt,
            max_length_nt=arguments.max_length_nt,
            max_ambiguous=arguments.max_ambiguous,
        ),
        dedup=DedupConfig(reverse_complement=arguments.reverse_complement),
        exclude=ExclusionConfig(
            benchmarks=tuple(arguments.exclude),
            families=tuple(arguments.exclude_family),
            identity=arguments.exclude_identity,
            coverage=arguments.exclude_coverage,
            min_ungapped_score=arguments.exclude_min_ungapped_score,
            search=SearchConfig(
                threads=arguments.threads, split_memory_limit=arguments.split_memory_limit
            ),
        ),
        cluster=ClusterConfig(
            min_seq_id=arguments.min_seq_id,
            coverage=arguments.coverage,
            cov_mode=arguments.cov_mode,
            method=arguments.cluster_method,
            cluster_mode=arguments.cluster_mode,
            kmer_per_seq=arguments.kmer_per_seq,
            sensitivity=arguments.sensitivity,
            k=arguments.cluster_k,
            strand=arguments.strand,
            short=ShortConfig(
                max_nt=arguments.short_max_nt, max_mismatches=arguments.short_max_mismatches
            ),
            sample=arguments.check_sample,
            threads=arguments.threads,
            split_memory_limit=arguments.split_memory_limit,
            mpi_runner=arguments.mpi_runner,
        ),
        update=arguments.update,
        split=SplitConfig(validation_fraction=arguments.validation_fraction, seed=arguments.seed),
        weights=TypeWeights(
            type_temperature=arguments.type_temperature,
            type_caps=arguments.type_caps,
            max_repeats=arguments.max_repeats,
        ),
        max_shard_nt=arguments.max_shard_nt,
        engine=EngineConfig(name=arguments.engine, address=arguments.address),
    )


def _take_sample(arguments: argparse.Namespace) -> tuple[Path]:
    """Return the embedded sample; refused where flags ask for files that stand beside others."""
    for flag, values in (("--exclude", arguments.exclude), ("--update", arguments.update)):
        if values:
            raise ValueError(
                f"{flag} without a FILE to prepare: name your sequences, or the embedded sample, "
                f"{SAMPLE_FASTA}"
            )
    return (SAMPLE_FASTA,)


def _choose_annotations(
    fetched: AnnotationConfig, arguments: argparse.Namespace
) -> AnnotationConfig:
    """Return the files of RNA types: those that are named instead of those that were fetched."""
    named = {
        "id_mapping": arguments.id_mapping,
        "rfam_annotations": arguments.rfam_annotations,
        "family": arguments.family_table,
    }
    return replace(fetched, **{name: path for name, path in named.items() if path})
