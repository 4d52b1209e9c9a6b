"""What one preparation of data is made of: inputs, output, the parameters of each step, flags."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .composition import TypeWeights
from .fasta import FilterConfig
from .metadata import MetadataConfig
from .mmseqs import ClusterConfig
from .sample import SAMPLE_FASTA
from .shards import DEFAULT_MAX_SHARD_NT
from .split import SplitConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """The root: each part stands above the code that consumes it."""

    inputs: tuple[Path, ...]
    """FASTA files, plain or packed with gzip, xz or zstd."""
    out: Path
    metadata: MetadataConfig | None = None
    filter: FilterConfig = field(default_factory=FilterConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    weights: TypeWeights = field(default_factory=TypeWeights)
    """Recommended to training; recorded in the manifest."""
    max_shard_nt: int = DEFAULT_MAX_SHARD_NT
    """Letters in one shard, which is also what is held in memory while it is written."""

    def __post_init__(self) -> None:
        if not self.inputs:
            raise ValueError("inputs must name at least one FASTA file")
        for path in (*self.inputs, *([self.metadata.path] if self.metadata else [])):
            if not path.is_file():
                raise ValueError(f"{path} is not a file: check its name")
        if self.max_shard_nt < 1:
            raise ValueError(f"max_shard_nt must be at least 1, got {self.max_shard_nt}")

    @property
    def source_names(self) -> list[str]:
        """The inputs' names as the shards record them; a repeated name gets a number."""
        names = [path.name for path in self.inputs]
        repeats = [names[:index].count(name) for index, name in enumerate(names)]
        return [f"{n}#{r + 1}" if r else n for n, r in zip(names, repeats, strict=True)]


def parse_arguments(argv: Sequence[str] | None = None) -> DataConfig:
    """Return the configuration that the command line asks for."""
    filters, cluster, split = FilterConfig(), ClusterConfig(), SplitConfig()
    weights = TypeWeights()
    parser = argparse.ArgumentParser(
        prog="prepare.py",
        description="Prepare pretraining data: FASTA to clustered, split, memory-mapped shards.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("inputs", nargs="*", type=Path, metavar="FASTA", default=[SAMPLE_FASTA], help="input files")
    add("--out", type=Path, required=True, metavar="FOLDER", help="where the data goes")
    add("--metadata", type=Path, metavar="TSV", help="table with the RNA type of each identifier")
    add("--metadata-id-column", default="id", metavar="NAME", help="its column of identifiers")
    add("--metadata-type-column", metavar="NAME", help="its column of types: rna_type, else type")
    add("--min-length-nt", type=int, default=filters.min_length_nt, help="shorter is rejected")
    add("--max-length-nt", type=int, default=filters.max_length_nt, help="longer is rejected")
    add("--max-ambiguous", type=float, default=filters.max_ambiguous, help="share of non-ACGU")
    add("--min-seq-id", type=float, default=cluster.min_seq_id, help="identity in a cluster")
    add("--coverage", type=float, default=cluster.coverage, help="aligned share in a cluster")
    add("--cov-mode", type=int, default=cluster.cov_mode, help="MMseqs2's; 0: share of both")
    add("--threads", type=int, default=cluster.threads, help="of MMseqs2")
    add("--split-memory-limit", default=cluster.split_memory_limit, help="of MMseqs2, as in 16G")
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
    arguments = parser.parse_args(argv)
    return DataConfig(
        inputs=tuple(arguments.inputs),
        out=arguments.out,
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
        cluster=ClusterConfig(
            min_seq_id=arguments.min_seq_id,
            coverage=arguments.coverage,
            cov_mode=arguments.cov_mode,
            threads=arguments.threads,
            split_memory_limit=arguments.split_memory_limit,
        ),
        split=SplitConfig(validation_fraction=arguments.validation_fraction, seed=arguments.seed),
        weights=TypeWeights(
            type_temperature=arguments.type_temperature,
            type_caps=arguments.type_caps,
            max_repeats=arguments.max_repeats,
        ),
        max_shard_nt=arguments.max_shard_nt,
    )
