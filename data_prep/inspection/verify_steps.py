"""The steps of a prepared folder checked again: each is there, and so is what it made."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..seals import find_broken_seal
from ..shards import SHARDS_FOLDER, hash_file
from ..steps import STEP_FILE
from .verify_contents import Check

STEPS = ("records", "unique", "clusters", "split", "shards")
UNSEALED_STEP = {"fingerprint", "report", "seconds"}
"""What a step's file held before there were seals."""
CACHE, LOCK = "inputs.json", ".lock"


def check_steps(folder: Path) -> tuple[Check, dict[str, str], set[str]]:
    """Hash what each step made; return the hashes that steps state, by name within the folder.

    Also returns the steps that state none of their files' hashes.
    """
    check = Check(name="steps and what they made")
    listed: dict[str, str] = {}
    loose: set[str] = set()
    steps = folder / "steps"
    if not steps.is_dir():
        check.notes.append("no folder steps: the manifest's counts and inputs cannot be checked")
        return check, listed, loose
    products: dict[str, Any] = {}
    made = {path.name for path in steps.iterdir() if path.is_dir() and path.suffix != ".partial"}
    for path in sorted(steps / name / STEP_FILE for name in made.union(STEPS)):
        check.looked_at += 1
        if not path.is_file():
            check.faults.append(
                f"steps/{path.parent.name}/{STEP_FILE} is missing: copy the folder again, run "
                "`make data`, or delete all of steps/"
            )
            continue
        name = path.parent.name
        step = _read_step(path, check)
        if step is None or "files" not in step:
            loose.add(name)
        if step is None:
            continue
        products[name] = step
        if "files" in step:
            listed.update({f"steps/{name}/{file}": h for file, h in step["files"].items()})
        else:
            check.notes.append(f"steps/{name}/{STEP_FILE} has no seal: only its product is hashed")
            _check_unsealed_product(path.parent, step, check)
    for name, sha256 in listed.items():
        if SHARDS_FOLDER in Path(name).parts[2:-1]:  # moved beside the manifest, checked there
            continue
        check.looked_at += 1
        check.faults += compare(folder / name, sha256, name)
    check.faults += _find_other_products(products)
    check.faults += _find_cache_fault(steps / CACHE)
    return check, listed, loose


def _read_step(path: Path, check: Check) -> dict[str, Any] | None:
    name = f"steps/{path.parent.name}/{STEP_FILE}"
    try:
        step = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        check.faults.append(f"{name} cannot be read as JSON: {error}")
        return None
    if isinstance(step, dict) and step.keys() == UNSEALED_STEP:
        return step
    if fault := find_broken_seal(path):
        check.faults.append(f"{name} {fault}")
        return None
    return step


def _check_unsealed_product(folder: Path, step: dict[str, Any], check: Check) -> None:
    """Find the file that has the hash which the report states."""
    sha256 = step["report"].get("sha256")
    if sha256 is None:
        return
    files = [path for path in sorted(folder.iterdir()) if path.name != STEP_FILE]
    check.looked_at += len(files)
    if sha256 not in map(hash_file, files):
        names = ", ".join(path.name for path in files) or "no file"
        check.faults.append(f"steps/{folder.name}: none of {names} has the hash of the product")


def _find_other_products(steps: dict[str, Any]) -> Iterator[str]:
    """Yield where the last step was made from other products than those that lie there."""
    made_from = steps.get("shards", {}).get("fingerprint", {}).get("products", {})
    for name, sha256 in made_from.items():
        if name in steps and steps[name]["report"].get("sha256") != sha256:
            yield f"steps/{name}: the shards were made from another product than this: run again"


def _find_cache_fault(path: Path) -> Iterator[str]:
    if not path.is_file():
        return
    try:
        cache = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        yield f"steps/{path.name} cannot be read as JSON: {error}"
        return
    is_unsealed = isinstance(cache, dict) and all(
        len(key.split()) >= 3 and isinstance(value, str) and len(value) == 64
        for key, value in cache.items()
    )
    if not is_unsealed and (fault := find_broken_seal(path)):
        yield f"steps/{path.name} {fault}; it is a cache: delete it"


def compare(path: Path, sha256: str, name: str) -> list[str]:
    """Say what is wrong with a file whose hash is known."""
    if not path.is_file():
        return [f"{name} is missing: copy the folder again, or run `make data`"]
    if hash_file(path) != sha256:
        return [f"{name} is damaged: its SHA-256 is not the one that was recorded"]
    return []
