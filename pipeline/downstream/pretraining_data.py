"""Whether held-out families were held out of pretraining too, as far as a checkpoint says."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence

KEY = "excluded"
"""Of an export's metadata: what its data was made without (`pretraining/excluded.py`)."""
_ALIASES = {"grp1": "groupiintron"}
"""ArchiveII's names that are no prefix of Rfam's and RNAcentral's."""


def describe_pretraining_data(metadata: Mapping[str, str]) -> str:
    """Return a sentence on what the pretraining data held of what is tested."""
    if KEY not in metadata:
        return "Pretraining data: unknown; families may have been seen, without their structures"
    excluded = json.loads(metadata[KEY])
    if excluded is None:
        return "Pretraining data: nothing was left out; families were seen, without structures"
    left_out = [f"family {name}" for name in excluded["families"]] + [
        f"what is near {name} (identity {excluded['identity']:g} over {excluded['coverage']:g})"
        for name in sorted(set(excluded["benchmarks"].values()))
    ]
    return f"Pretraining data: made without {', '.join(left_out)}"


def refuse_seen_families(families: Iterable[str], metadata: Mapping[str, str]) -> None:
    """Raise `ValueError` naming families that the pretraining data is not known to be without."""
    without = json.loads(metadata.get(KEY, "null")) or {"families": []}
    known = {_normalise(name) for name in without["families"]}
    seen: Sequence[str] = [name for name in families if _normalise(name) not in known]
    if seen:
        held_out = ", ".join(without["families"]) or "no family"
        raise ValueError(
            f"require_unseen=true: the checkpoint's pretraining data was made without {held_out}, "
            f"and these folds hold out {', '.join(seen)}: pretrain on `make data EXCLUDE_FAMILY=…`,"
            " choose folds with --folds, or leave require_unseen out"
        )


def _normalise(name: str) -> str:
    """A family's name by letters and digits: `5S_rRNA` and `5s` are one, `RNase P` and `RNaseP`."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    plain = _ALIASES.get(plain, plain)
    return plain.removesuffix("rrna").removesuffix("rna") or plain
