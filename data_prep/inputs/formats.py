"""Which inputs a command names, and which reader takes each: told by its content, not its name."""

import glob
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..shards import MANIFEST_NAME
from .archives import ArchiveError, open_unpacked
from .arrow_input import (
    FormatConfig,
    iter_arrow_blocks,
    iter_parquet_blocks,
)
from .blocks import BlockReader, RecordBlock, Source
from .fasta import iter_fasta_blocks
from .fastq import iter_fastq_blocks
from .prepared import iter_prepared_blocks
from .stdin import STDIN

SNIFFED_BYTES = 1 << 16
PARQUET, ARROW_FILE, FEATHER_1, ARROW_STREAM = b"PAR1", b"ARROW1", b"FEA1", b"\xff\xff\xff\xff"
READ = "FASTA, FASTQ, Parquet, Arrow IPC or a folder of prepared data"


def iter_blocks(
    source: Source,
    on_read: Callable[[int], object] = int,
    /,
    *,
    config: FormatConfig | None = None,
) -> Iterator[RecordBlock]:
    """Yield the records of one input, whatever its format; see each reader for what stops it.

    A record that is not usable is a block's record like any other: the filters say why they
    reject it. `on_read` hears of the bytes of the file read so far, of which there are its size.
    """
    if not isinstance(source, Path):
        stream = open_unpacked(source, on_read)
        read = _choose_text_reader("the input stream", stream.peek(SNIFFED_BYTES))
        yield from read(stream, int)
        return
    if source.is_dir():
        yield from iter_prepared_blocks(source, on_read)
        return
    start, packed = _sniff(source)
    if start.startswith((PARQUET, ARROW_FILE, ARROW_STREAM)) and packed:
        raise ValueError(
            f"{source}: holds a packed Parquet or Arrow table, which cannot be read from its "
            "middle: unpack it first (those formats compress by themselves)"
        )
    if start.startswith(PARQUET):
        yield from iter_parquet_blocks(source, on_read, config=config)
    elif start.startswith((ARROW_FILE, ARROW_STREAM)):
        yield from iter_arrow_blocks(source, on_read, config=config)
    else:
        yield from _choose_text_reader(str(source), start)(source, on_read)


def _choose_text_reader(name: str, start: bytes) -> BlockReader:
    text = start.lstrip()
    if start.startswith(FEATHER_1):
        raise ValueError(f"{name}: Feather version 1 is not read: write it as version 2 or Parquet")
    if text.startswith(b"@"):
        return iter_fastq_blocks
    if text and not text.startswith(b">"):
        line = start[: len(start) - len(text)].count(b"\n") + 1
        raise ValueError(
            f"{name}, line {line}: not {READ}: it begins with {text[:20]!r}; give one of "
            "those, packed with gzip, bzip2, xz or zstd or not"
        )
    return iter_fasta_blocks  # which says what is wrong with an empty one


def _sniff(path: Path) -> tuple[bytes, bool]:
    """Return the first unpacked bytes, and whether they were packed."""
    try:
        with path.open("rb") as file, open_unpacked(file) as unpacked:
            start = unpacked.read1(SNIFFED_BYTES)
            file.seek(0)
            return start, file.read(8) != start[:8]
    except ArchiveError as error:
        raise ValueError(f"{path}, record 0, line 0 (unpacked): {error}") from error


def expand_inputs(patterns: Sequence[str | Path]) -> list[Path]:
    """Return the files that a command line means, in its order; a pattern's are sorted by name.

    `-` is the standard input and stays `STDIN`; a folder is one input if it is prepared data, and
    refused otherwise, because what is meant of it would be a guess: named or found by a pattern.
    """
    paths: list[Path] = []
    for pattern in map(str, patterns):
        path = Path(pattern)
        if pattern == str(STDIN):
            if STDIN in paths:
                raise ValueError("`-` is given twice: the standard input can be read only once")
            paths.append(STDIN)
        elif path.exists() or not glob.has_magic(pattern):
            paths.append(_check_input(path))
        else:
            names = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207, absolute ones too
            if not names:
                raise ValueError(f"{pattern} matches no file: check it, and put it in quotes")
            paths += [_check_input(Path(name)) for name in names]
    if not paths:
        raise ValueError("no input is named: give files, patterns in quotes, or `-`")
    return paths


def _check_input(path: Path) -> Path:
    """Return a file or a folder of prepared data; refuse anything else with what to do."""
    if path.is_dir() and not (path / MANIFEST_NAME).is_file():
        raise ValueError(
            f"{path} is a folder, and not one of prepared data: name the files in it, as in "
            f"'{path}/*.fa.gz', or give a pattern that leaves it out"
        )
    if path.is_file() or path.is_dir():
        return path
    if path.exists():
        raise ValueError(f"{path} is a pipe or a device: pipe its content into `-` instead")
    if path.is_symlink():
        raise ValueError(f"{path} is a link to {path.readlink()}, which is not there: remove it")
    raise ValueError(f"{path} is not a file: check its name")
