"""The folders are one namespace: every package is shipped, nothing is imported by a bare name."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("data_prep", "ds_configs", "kernels", "model", "pipeline")
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def test_every_folder_with_code_is_a_listed_package():
    folders = {path.parent.relative_to(ROOT) for path in SOURCES}
    expected = {".".join(("openrinalmo", *folder.parts)) for folder in folders}
    assert set(SETTINGS["packages"]) == expected


def test_every_data_file_is_shipped():
    shipped = {
        file.relative_to(ROOT)
        for package, patterns in SETTINGS["package-data"].items()
        for pattern in patterns
        for file in ROOT.joinpath(*package.split(".")[1:]).glob(pattern)
    }
    data = {
        path.relative_to(ROOT)
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert shipped == data


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_imported_by_a_bare_folder_name(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        else:
            continue
        for name in names:
            assert name.split(".")[0] not in FOLDERS, f"{path}:{node.lineno} imports bare {name}"
