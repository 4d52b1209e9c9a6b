"""Everything in a prepared folder checked again: hashes, who agrees with whom, what shards hold.

Faults are collected, not raised: one damaged file does not hide another. What depends on a damaged
file is not looked into, and says so.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..reports.report import REPORT_FACTS, REPORT_FOLDER
from ..reports.report_numbers import hash_sources
from ..seals import find_broken_seal, read_sealed
from ..shards import FORMAT_VERSION, MANIFEST_NAME, SHARDS_FOLDER, SPLITS, hash_file
from ..steps import STEP_FILE
from .verify_contents import Check, check_contents

UNSEALED_STEP = {"fingerprint", "report", "seconds"}
"""What a step's file held before there were seals."""
CACHE, LOCK = "inputs.json", ".lock"
ENTRY_TYPES = {"file": str, "sha256": str, "bytes": int, "records": int, "clusters": int, "nt": int}


def verify_folder(folder: Path) -> list[Check]:
    """Check a prepared folder: reads all of it, about a minute for 36 million records and more."""
    if not (folder / MANIFEST_NAME).is_file():
        raise FileNotFoundError(
            f"no prepared data in {folder} ({MANIFEST_NAME} is missing): run `make data`"
        )
    steps, listed, loose = _check_steps(folder)
    manifest_check, manifest = _check_manifest(folder, listed)
    checks = [manifest_check, steps, _check_report(folder)]
    if manifest is None:
        manifest_check.notes.append("shards were not looked into")
        return checks
    shards = _check_shards(folder, manifest)
    checks.append(shards)
    if shards.faults or manifest_check.faults:
        shards.notes.append("records and clusters were not looked into")
    else:
        checks += check_contents(folder, manifest, are_steps_whole=not steps.faults)
    checks.append(_list_strangers(folder, manifest, {*listed}, loose))
    return checks


def format_checks(checks: list[Check]) -> str:
    """Return the checks as a table, then the notes, then every fault."""
    lines = [f"{'checked':<34}{'':>16}  result"]
    for check in checks:
        result = f"{len(check.faults)} faults" if check.faults else "as it should be"
        lines.append(f"{check.name:<34}{check.looked_at:>16,}  {check.unit:<10}{result}")
    lines += ["", *(f"note: {note}" for check in checks for note in check.notes)]
    lines += [f"FAULT: {fault}" for check in checks for fault in check.faults]
    return "\n".join(lines).rstrip() + "\n"


def _check_steps(folder: Path) -> tuple[Check, dict[str, str], set[str]]:
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
    for path in sorted(steps.glob(f"*/{STEP_FILE}")):
        if path.parent.name.endswith(".partial"):
            continue
        check.looked_at += 1
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
        check.faults += _compare(folder / name, sha256, name)
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


def _check_manifest(folder: Path, listed: dict[str, str]) -> tuple[Check, dict[str, Any] | None]:
    """Compare the manifest with the hash that the last step states; None if it has no use."""
    check = Check(name="manifest", looked_at=1)
    path, copy = folder / MANIFEST_NAME, folder / "steps" / "shards" / MANIFEST_NAME
    if sha256 := listed.get(f"steps/shards/{MANIFEST_NAME}"):
        check.faults += _compare(path, sha256, MANIFEST_NAME)
        if check.faults and copy.is_file() and hash_file(copy) == sha256:
            path = copy
            check.notes.append(f"shards are compared with steps/shards/{MANIFEST_NAME} instead")
    elif copy.is_file() and copy.read_bytes() != path.read_bytes():
        check.faults.append(f"{MANIFEST_NAME} and steps/shards/{MANIFEST_NAME} differ")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        check.faults.append(f"{MANIFEST_NAME} cannot be read as JSON: {error}")
        return check, None
    if fault := _find_wrong_shape(manifest):
        check.faults.append(f"{MANIFEST_NAME} {fault}")
        return check, None
    return check, manifest


def _find_wrong_shape(manifest: Any) -> str | None:
    """Say what a manifest lacks of all that its readers need."""
    if not isinstance(manifest, dict) or manifest.get("format_version") != FORMAT_VERSION:
        return f"is not of format_version {FORMAT_VERSION}"
    names = manifest.get("rna_types")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return "has no list of rna_types"
    splits = manifest.get("splits")
    for split in SPLITS:
        part = splits.get(split) if isinstance(splits, dict) else None
        entries = part.get("shards") if isinstance(part, dict) else None
        if not isinstance(entries, list):
            return f"has no list of shards in splits.{split}"
        for number, entry in enumerate(entries):
            for key, kind in ENTRY_TYPES.items():
                if not isinstance(entry, dict) or not isinstance(entry.get(key), kind):
                    return f"has no {key} in splits.{split}.shards[{number}]"
    merged = manifest.get("merged", {"file": "", "sha256": ""})  # of earlier versions
    for key in ("file", "sha256"):
        if not isinstance(merged, dict) or not isinstance(merged.get(key), str):
            return f"has no {key} in merged"
    return None


def _check_report(folder: Path) -> Check:
    check = Check(name="report")
    path = folder / REPORT_FOLDER / REPORT_FACTS
    if not path.is_file():
        check.notes.append("there is no report: `look.py FOLDER report` writes it")
        return check
    check.looked_at = 1
    if fault := find_broken_seal(path):
        check.faults.append(f"{REPORT_FOLDER}/{REPORT_FACTS} {fault}")
        return check
    facts = read_sealed(path)
    for name, sha256 in facts["files"].items():
        check.looked_at += 1
        check.faults += _compare(folder / name, sha256, name)
    if facts["made_from"] != hash_sources(folder):
        check.notes.append(
            "the report is not that of this manifest and these steps: write it again"
        )
    return check


def _check_shards(folder: Path, manifest: dict[str, Any]) -> Check:
    check = Check(name="shards")
    for name, sha256 in _list_shards(manifest).items():
        check.looked_at += 1
        check.faults += _compare(folder / name, sha256, name)
    return check


def _list_shards(manifest: dict[str, Any]) -> dict[str, str]:
    """Return the hashes of the shards and of what was merged, by name within the folder."""
    entries = [entry for split in SPLITS for entry in manifest["splits"][split]["shards"]]
    entries += [entry for entry in [manifest.get("merged")] if entry]
    return {entry["file"]: entry["sha256"] for entry in entries}


def _list_strangers(
    folder: Path, manifest: dict[str, Any], listed: set[str], loose: set[str]
) -> Check:
    """Note the files that nothing states a hash of: they may be anybody's."""
    facts = folder / REPORT_FOLDER / REPORT_FACTS
    report = read_sealed(facts)["files"] if facts.is_file() and not find_broken_seal(facts) else {}
    shards = _list_shards(manifest).keys()
    own = {MANIFEST_NAME, f"steps/{LOCK}", f"steps/{CACHE}", f"{REPORT_FOLDER}/{REPORT_FACTS}"}
    own |= {path.relative_to(folder).as_posix() for path in folder.glob(f"steps/*/{STEP_FILE}")}
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    strangers = sorted(
        name
        for name in files - own - listed - shards - report.keys()
        if not (name.startswith("steps/") and Path(name).parts[1] in loose)
    )
    notes = [f"{name} is not of the data: nothing states its hash" for name in strangers]
    return Check(name="files of no step", looked_at=len(strangers), notes=notes)


def _compare(path: Path, sha256: str, name: str) -> list[str]:
    if not path.is_file():
        return [f"{name} is missing: copy the folder again, or run `make data`"]
    if hash_file(path) != sha256:
        return [f"{name} is damaged: its SHA-256 is not the one that was recorded"]
    return []
