"""Everything in a prepared folder checked again: hashes, who agrees with whom, what shards hold.

Faults are collected, not raised: one damaged file does not hide another. What depends on a damaged
file is not looked into, and says so.
"""

import json
from pathlib import Path
from typing import Any

from ..audits.audit_lines import AUDITS_FOLDER
from ..reports.report import REPORT_FACTS, REPORT_FOLDER, REPORT_NAME
from ..reports.report_numbers import hash_sources
from ..seals import find_broken_seal, read_sealed
from ..shards import MANIFEST_NAME, SPLITS, find_wrong_shape, hash_file, hash_manifest
from ..steps import STEP_FILE
from .verify_contents import Check, check_contents
from .verify_steps import CACHE, LOCK, check_steps, compare


def verify_folder(folder: Path) -> list[Check]:
    """Check a prepared folder: reads all of it, about a minute for 36 million records and more."""
    if not (folder / MANIFEST_NAME).is_file():
        raise FileNotFoundError(
            f"no prepared data in {folder} ({MANIFEST_NAME} is missing): run `make data`"
        )
    steps, listed, loose = check_steps(folder)
    manifest_check, manifest = _check_manifest(folder, listed)
    checks = [manifest_check, steps, _check_report(folder)]
    if (folder / AUDITS_FOLDER).is_dir():
        checks.append(_check_audits(folder))
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


def _check_manifest(folder: Path, listed: dict[str, str]) -> tuple[Check, dict[str, Any] | None]:
    """Compare the manifest with the hash that the last step states; None if it has no use."""
    check = Check(name="manifest", looked_at=1)
    path, copy = folder / MANIFEST_NAME, folder / "steps" / "shards" / MANIFEST_NAME
    if sha256 := listed.get(f"steps/shards/{MANIFEST_NAME}"):
        check.faults += compare(path, sha256, MANIFEST_NAME)
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
    if fault := find_wrong_shape(manifest):
        check.faults.append(f"{MANIFEST_NAME} {fault}")
        return check, None
    return check, manifest


def _check_report(folder: Path) -> Check:
    check = Check(name="report")
    path = folder / REPORT_FOLDER / REPORT_FACTS
    if not path.is_file() and (folder / REPORT_NAME).exists():
        check.faults.append(
            f"{REPORT_FOLDER}/{REPORT_FACTS} is missing: `look.py FOLDER report` writes it again"
        )
        return check
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
        check.faults += compare(folder / name, sha256, name)
    if facts["made_from"] != hash_sources(folder):
        check.notes.append(
            "the report is not that of this manifest and these steps: write it again"
        )
    return check


def _check_audits(folder: Path) -> Check:
    """Check the entries that audits left; each is named by the hash of the file it is of."""
    check = Check(name="audits")
    for path in sorted((folder / AUDITS_FOLDER).glob("*.json")):
        check.looked_at += 1
        name = path.relative_to(folder).as_posix()
        if fault := find_broken_seal(path):
            check.faults.append(f"{name} {fault}; run `make audit` again")
            continue
        entry = read_sealed(path)
        if entry["sha256"] != path.stem:
            check.faults.append(f"{name} is the audit of another file: {entry['sha256']}")
        if entry["corpus"] != hash_manifest(folder):
            check.notes.append(f"{name} is of another manifest than this: run `make audit` again")
    return check


def _check_shards(folder: Path, manifest: dict[str, Any]) -> Check:
    check = Check(name="shards")
    for name, sha256 in _list_shards(manifest).items():
        check.looked_at += 1
        check.faults += compare(folder / name, sha256, name)
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
    for pattern in (f"steps/*/{STEP_FILE}", f"{AUDITS_FOLDER}/*.json"):
        own |= {path.relative_to(folder).as_posix() for path in folder.glob(pattern)}
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    strangers = sorted(
        name
        for name in files - own - listed - shards - report.keys()
        if not (name.startswith("steps/") and Path(name).parts[1] in loose)
    )
    notes = [f"{name} is not of the data: nothing states its hash" for name in strangers]
    return Check(name="files of no step", looked_at=len(strangers), notes=notes)
