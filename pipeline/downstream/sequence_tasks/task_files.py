"""Files of a task below a folder: found by name, their rows read, hashed together."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..structures.records import hash_file
from ..structures.text_files import open_text


def find_files(data: Path, folder: str, pattern: str) -> list[Path]:
    """Files that match `pattern` in `data` itself or in `folder` inside it, by name."""
    if not data.is_dir():
        raise FileNotFoundError(f"no data folder {data}: give one with {folder}/{pattern}")
    return sorted([*data.glob(pattern), *(data / folder).glob(pattern)])


def describe_lack(data: Path, folder: str, *patterns: str) -> str:
    """What `data` lacks: a file of one of the `patterns`; empty where there is one."""
    if data.is_dir() and any(find_files(data, folder, pattern) for pattern in patterns):
        return ""
    return f"{data} holds no {' or '.join(patterns)}, in it or in {folder}/"


def find_file(data: Path, folder: str, pattern: str) -> Path:
    """The one file that matches `pattern`."""
    found = find_files(data, folder, pattern)
    if len(found) != 1:
        names = ", ".join(map(str, found)) or "none"
        raise FileNotFoundError(
            f"{data} must hold one {pattern}, in it or in {folder}/, found {names}"
        )
    return found[0]


def iter_rows(
    path: Path, columns: Sequence[str], *, separator: str = "\t"
) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and the values of `columns` of each row, by name; others are passed over."""
    with open_text(path) as lines:
        header = [name.strip().strip('"') for name in lines.readline().split(separator)]
        if missing := [name for name in columns if name not in header]:
            raise ValueError(
                f"{path}:1 has no column {', '.join(missing)}; it has {', '.join(header)}"
            )
        places = {name: header.index(name) for name in columns}
        for number, line in enumerate(lines, start=2):
            values = line.rstrip("\r\n").split(separator)
            if values == [""]:
                continue
            if len(values) != len(header):
                raise ValueError(f"{path}:{number} has {len(values)} columns, not {len(header)}")
            yield number, {name: values[place].strip('"') for name, place in places.items()}


def read_sequence(letters: str, where: str) -> str:
    """Upper case, U for T; what is no letter is an error that says `where`."""
    sequence = letters.strip().upper().replace("T", "U")
    if not sequence.isascii() or not sequence.isalpha():
        raise ValueError(f"{where} must hold a sequence of letters, got {letters[:40]!r}")
    return sequence


def hash_each(paths: Sequence[Path]) -> dict[str, str]:
    """sha256 of each file by its name; by its path where several have one name."""
    names = [path.name for path in paths]
    return {
        path.name if names.count(path.name) == 1 else str(path): hash_file(path) for path in paths
    }
