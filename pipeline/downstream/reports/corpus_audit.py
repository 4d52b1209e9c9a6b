"""What the audit of a checkpoint's corpus says of the data that it is scored on."""

import json
from collections.abc import Mapping
from pathlib import Path

from ....data_prep.audits.audit_lines import find_audit_line
from ....data_prep.shards import hash_manifest


def find_audit(checkpoint: Mapping[str, str], sources: Mapping[str, str]) -> str:
    """Signatures of the audits of `sources` (sha256 by name), or why there is none.

    The corpus is the folder that the checkpoint's run was given, if it still holds that data.
    """
    config = json.loads(checkpoint.get("run_config", "{}"))
    folder = Path(config.get("data", ""))
    manifest = checkpoint.get("manifest_sha256")
    if not manifest or not folder.name:
        return "none: the weights do not say which corpus they were trained on"
    try:
        is_it = hash_manifest(folder) == manifest
    except FileNotFoundError:
        is_it = False
    if not is_it:
        return f"none: {folder}, the corpus of this checkpoint, is not there"
    lines = {name: find_audit_line(folder, sha256) for name, sha256 in sources.items()}
    found = [line for line in lines.values() if line]
    if found and len(found) < len(lines):
        absent = ", ".join(name for name, line in lines.items() if not line)
        found.append(f"none of {absent}")
    return "; ".join(found) or (
        "none of this benchmark against the pretraining corpus; "
        f"`make audit CORPUS={folder} BENCHMARKS=…` makes one"
    )
