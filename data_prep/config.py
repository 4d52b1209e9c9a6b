"""What one preparation of data is made of: inputs, output, the parameters of each step."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .audits.exclusion import ExclusionConfig
from .composition import TypeWeights
from .dedup import DedupConfig
from .engine import EngineConfig
from .filters import FilterConfig
from .inputs.arrow_input import FormatConfig
from .inputs.stdin import STDIN
from .metadata import MetadataConfig
from .mmseqs import ClusterConfig
from .rna_types import AnnotationConfig
from .shards import DEFAULT_MAX_SHARD_NT
from .split import SplitConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """The root: each part stands above the code that consumes it."""

    inputs: tuple[Path, ...]
    """Files of any format that `formats.py` reads, folders of prepared data, or `-`."""
    out: Path
    formats: FormatConfig = field(default_factory=FormatConfig)
    metadata: MetadataConfig | None = None
    annotations: AnnotationConfig = field(default_factory=AnnotationConfig)
    fetched: tuple[dict[str, Any], ...] = ()
    """What is known of inputs that were fetched: names, releases, licences; for the manifest."""
    filter: FilterConfig = field(default_factory=FilterConfig)
    dedup: DedupConfig = field(default_factory=DedupConfig)
    exclude: ExclusionConfig = field(default_factory=ExclusionConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    update: Path | None = None
    """An earlier data folder whose clusters stay."""
    split: SplitConfig = field(default_factory=SplitConfig)
    weights: TypeWeights = field(default_factory=TypeWeights)
    """Recommended to training; recorded in the manifest."""
    max_shard_nt: int = DEFAULT_MAX_SHARD_NT
    """Letters in one shard, which is also what is held in memory while it is written."""

    engine: EngineConfig = field(default_factory=EngineConfig)
    """Changes no product and no fingerprint."""

    def __post_init__(self) -> None:
        if not self.inputs:
            raise ValueError("inputs must name at least one file of sequences")
        if self.inputs.count(STDIN) > 1:
            raise ValueError("inputs name standard input (-) twice: it can be read once")
        for path in self.inputs:
            if path != STDIN and not path.exists():
                raise ValueError(f"{path} is not a file: check its name")
        for path in self.tables:
            if not path.is_file():
                raise ValueError(f"{path} is not a file: check its name")
        if self.max_shard_nt < 1:
            raise ValueError(f"max_shard_nt must be at least 1, got {self.max_shard_nt}")

    @property
    def absolute(self) -> "DataConfig":
        """The same with absolute paths of inputs and output: workers stand in other folders."""
        inputs = tuple(path if path == STDIN else path.absolute() for path in self.inputs)
        return replace(self, inputs=inputs, out=self.out.absolute())

    @property
    def tables(self) -> list[Path]:
        """Files that give RNA types."""
        paths = (
            self.metadata and self.metadata.path,
            self.annotations.id_mapping,
            self.annotations.rfam_annotations,
            self.annotations.family,
        )
        return [path for path in paths if path]

    @property
    def has_annotations(self) -> bool:
        """Whether any file of RNA types as RNAcentral and Rfam publish them is given."""
        return bool(self.annotations.id_mapping or self.annotations.family)

    @property
    def source_names(self) -> list[str]:
        """The inputs' names as the shards record them; a repeated name gets a number."""
        names = [path.name for path in self.inputs]
        repeats = [names[:index].count(name) for index, name in enumerate(names)]
        return [f"{n}#{r + 1}" if r else n for n, r in zip(names, repeats, strict=True)]
