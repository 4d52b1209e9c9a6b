"""What a run's data was made without: carried in checkpoints, so that evaluation knows it."""

from collections.abc import Mapping
from typing import Any

Excluded = dict[str, Any]
"""`families`, as `--exclude-family` named them; `benchmarks`, the name of each file by SHA-256;
`identity` and `coverage`, from which on a record was near one of their sequences."""


def read_excluded(manifest: Mapping[str, Any]) -> Excluded | None:
    """Return what the data of a manifest was made without; None is nothing."""
    report = manifest.get("exclusion")
    if report is None:
        return None
    return {
        "families": sorted(report["families"]),
        "benchmarks": {file["sha256"]: file["name"] for file in report["benchmarks"]},
        "identity": report["identity"],
        "coverage": report["coverage"],
    }


def keep_common(before: Excluded | None, now: Excluded | None) -> Excluded | None:
    """Return what neither of two data sets held: what a run that went on with other data never saw.

    Of two bounds the higher stays: records nearer than that were in neither.
    """
    if before is None or now is None:
        return None
    families = sorted({*before["families"]} & {*now["families"]})
    benchmarks = {
        sha256: name for sha256, name in now["benchmarks"].items() if sha256 in before["benchmarks"]
    }
    if not families and not benchmarks:
        return None
    bounds = {name: max(before[name], now[name]) for name in ("identity", "coverage")}
    return {"families": families, "benchmarks": benchmarks, **bounds}
