"""The report of a prepared folder: `report.html`, one file that needs nothing, and PNGs.

`report/report.json` holds the numbers behind the pictures and the hashes of all other files, so
that a report is known to be that of its data, and whole.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..filters import NUCLEOTIDES
from ..seals import find_broken_seal, read_sealed, write_sealed
from ..shards import SPLITS, hash_file
from .drawing import Drawing, write_png
from .report_html import (
    format_figure,
    format_fold,
    format_note,
    format_page,
    format_section,
    format_table,
    format_tiles,
)
from .report_numbers import (
    AMBIGUOUS_EDGES,
    AS_READ,
    LENGTH_EDGES_NT,
    SAMPLED_RECORDS,
    UNIQUE,
    ReportNumbers,
    hash_sources,
    is_ribosomal,
    read_numbers,
)
from .report_plots import draw_all

REPORT_NAME = "report.html"
REPORT_FOLDER = "report"
REPORT_FACTS = "report.json"
REPORT_VERSION = 1
"""Raised when the code makes another report of the same data."""
MAX_OPEN_ROWS = 12


def write_report(folder: Path) -> Path:
    """Write the report beside the manifest unless it is there and whole; return the page's path."""
    page = folder / REPORT_NAME
    if is_current(folder):
        return page
    numbers = read_numbers(folder)
    drawings = draw_all(numbers)
    pictures = folder / REPORT_FOLDER
    pictures.mkdir(exist_ok=True)
    facts = pictures / REPORT_FACTS
    facts.unlink(missing_ok=True)  # it comes last: where it is, the report is whole
    scratch = page.with_name(f"{REPORT_NAME}.partial")
    scratch.write_text(format_report(numbers, drawings), encoding="utf-8")
    scratch.replace(page)
    for drawing in drawings:
        write_png(drawing, pictures / f"{drawing.name}.png")
    names = [REPORT_NAME, *(f"{REPORT_FOLDER}/{drawing.name}.png" for drawing in drawings)]
    content = {
        "version": REPORT_VERSION,
        "made_from": numbers.made_from,
        "files": {name: hash_file(folder / name) for name in names},
        "length_edges_nt": LENGTH_EDGES_NT.tolist(),
        "lengths": numbers.lengths,
        "compositions": [asdict(composition) for composition in numbers.compositions],
        "clusters_of_type": numbers.clusters_of_type,
        "cluster_sizes": numbers.cluster_sizes,
        "ambiguous_edges": AMBIGUOUS_EDGES.tolist(),
        "ambiguous": numbers.ambiguous,
    }
    write_sealed(facts, content)
    return page


def is_current(folder: Path) -> bool:
    """Say whether the folder's report is whole and of what the folder holds now."""
    facts = folder / REPORT_FOLDER / REPORT_FACTS
    if not facts.is_file() or find_broken_seal(facts):
        return False
    content = read_sealed(facts)
    hashes = {folder / name: sha256 for name, sha256 in content["files"].items()}
    return (content["version"], content["made_from"]) == (
        REPORT_VERSION,
        hash_sources(folder),
    ) and all(path.is_file() and hash_file(path) == sha256 for path, sha256 in hashes.items())


def format_report(numbers: ReportNumbers, drawings: Sequence[Drawing]) -> str:
    """Return the page; times and memory aside it depends on the data alone."""
    words = {
        "funnel": _format_rejects(numbers.manifest),
        "composition": _format_composition(numbers),
        "lengths": _explain_lengths(numbers),
        "clusters": _format_cluster_sizes(numbers),
        "ambiguous": _format_letters(numbers),
    }
    sections = [format_section(d.name, d.title, format_figure(d), words[d.name]) for d in drawings]
    parts = [_format_head(numbers), *sections, _format_steps(numbers), _format_origin(numbers)]
    return format_page(f"Data {numbers.manifest_sha256[:12]}", parts)


def _format_head(numbers: ReportNumbers) -> str:
    shards = _list_shards(numbers.manifest)
    counts = numbers.manifest.get("counts")
    tiles = [
        *([("records read", f"{counts['read']:,}")] if counts else []),
        ("unique records", f"{sum(shard['records'] for shard in shards):,}"),
        ("clusters", f"{sum(shard['clusters'] for shard in shards):,}"),
        ("nucleotides", f"{sum(shard['nt'] for shard in shards):,}"),
    ]
    for stage in (numbers.compositions[0], numbers.compositions[-1]):
        ribosomal = sum(n for name, n in stage.nt.items() if is_ribosomal(name))
        share = _percent(ribosomal / (sum(stage.nt.values()) or 1))
        tiles.append((f"% of nt rRNA, {stage.stage}", share))
    return (
        "<header>\n<h1>Prepared data</h1>\n"
        f'<p class="soft">Data set <code>{numbers.manifest_sha256}</code>: the SHA-256 of '
        f"its manifest.</p>\n{format_tiles(tiles)}\n</header>"
    )


def _format_rejects(manifest: dict[str, Any]) -> str:
    counts = manifest.get("counts")
    if counts is None:
        return format_note("The manifest holds no counts of what came before the shards.")
    examples = manifest.get("rejected_examples", {})
    rejects = [
        (reason.replace("_", " "), n, ", ".join(map(str, examples.get(reason, []))))
        for reason, n in counts["rejected"].items()
    ]
    sources = [(row["source"], row["read"], row["accepted"]) for row in counts["sources"]]
    return "\n".join(
        [
            format_table(("rejected as", "records", "the first of them"), rejects),
            format_table(("source", "records read", "accepted"), sources),
        ]
    )


def _format_composition(numbers: ReportNumbers) -> str:
    stages = numbers.compositions
    unique = next(stage for stage in stages if stage.stage == UNIQUE)
    names = sorted(unique.nt, key=lambda name: (-unique.nt[name], name))
    totals = [sum(stage.nt.values()) or 1 for stage in stages]
    rows = [
        (
            name,
            int(unique.records[name]),
            numbers.clusters_of_type[name],
            int(unique.nt[name]),
            numbers.median_nt_of_type[name],
            *(_percent(s.nt.get(name, 0) / t) for s, t in zip(stages, totals, strict=True)),
        )
        for name in names
    ]
    head = ["RNA type", "records", "clusters", "nt", "median nt, about"]
    head += [f"% of nt, {stage.stage}" for stage in stages]
    ribosomal = ", ".join(name for name in sorted(unique.nt) if is_ribosomal(name)) or "none"
    words = (
        "Training draws one record of each cluster an epoch: `one of each cluster` is what that "
        "gives on average. The number at the bars is that of the last. A cluster's type is that of "
        "its representative. "
        f"Counted as rRNA, by name: {ribosomal}."
    )
    is_open = len(rows) <= MAX_OPEN_ROWS
    table = format_fold(f"All {len(rows)} types", format_table(head, rows), is_open=is_open)
    return format_note(words) + table


def _explain_lengths(numbers: ReportNumbers) -> str:
    words = "Four bins to an octave. Dashed: the bounds of the filter, where they lie within."
    if AS_READ not in numbers.lengths:
        words += " The lengths of rejected records were not recorded."
    return format_note(words)


def _format_cluster_sizes(numbers: ReportNumbers) -> str:
    bins: dict[int, list[int]] = {}
    for size, times in numbers.cluster_sizes:
        row = bins.setdefault(size.bit_length() - 1, [0, 0])
        row[0] += times
        row[1] += size * times
    total = sum(records for _, records in bins.values())
    rows = [
        (_name_range(2**power, 2 ** (power + 1) - 1), *row, _percent(row[1] / total))
        for power, row in sorted(bins.items())
    ]
    table = format_table(("size", "clusters", "records in them", "% of records"), rows)
    return format_note("A cluster of one record is a sequence without a relative here.") + table


def _format_letters(numbers: ReportNumbers) -> str:
    looked = sum(numbers.ambiguous)
    total = sum(size * times for size, times in numbers.cluster_sizes)
    which = "all there are" if looked == total else f"evenly spaced over {total:,}"
    note = format_note(f"Looked at {looked:,} records, {which}: {SAMPLED_RECORDS:,} at most.")
    letters: dict[str, int] = {}
    for name in SPLITS:
        for letter, n in numbers.manifest["splits"][name].get("letters", {}).items():
            letters[letter] = letters.get(letter, 0) + n
    if not letters:
        return note
    nt = sum(letters.values())
    ambiguous = nt - sum(letters.get(letter, 0) for letter in NUCLEOTIDES.decode())
    rows = [(letter, n, f"{100 * n / nt:.4f}") for letter, n in sorted(letters.items())]
    title = f"All letters: {100 * ambiguous / nt:.4f} % are not A, C, G or U"
    return note + format_fold(title, format_table(("letter", "times", "% of nt"), rows))


def _format_steps(numbers: ReportNumbers) -> str:
    title = "Time and memory"
    if not numbers.steps:
        note = "The folder `steps` was deleted, and with it what each step took."
        return format_section("steps", title, format_note(note))
    rows = []
    for name, step in numbers.steps.items():
        memory = step.get("peak_memory", {})
        gib = [_format_gib(memory.get(key)) for key in ("anonymous_bytes", "rss_bytes")]
        rows.append((name, f"{step['seconds']:,.1f}", f"{step['cpu_seconds']:,.1f}", *gib))
    steps = numbers.steps.values()
    sums = (sum(step[kind] for step in steps) for kind in ("seconds", "cpu_seconds"))
    rows.append(("all of them", *(f"{total:,.1f}" for total in sums), "-", "-"))
    note = (
        "Memory is the largest sum over the process and those it started, seen ten times a second; "
        "a dash: not measured. Pages of mapped files are taken back when others need them. A step "
        "that was done before keeps what it took then."
    )
    head = ("step", "seconds", "of the processor", "GiB at most", "with mapped files")
    return format_section("steps", title, format_table(head, rows), format_note(note))


def _format_origin(numbers: ReportNumbers) -> str:
    manifest = numbers.manifest
    shown = {"splits", "rna_types", "counts", "rejected_examples", "inputs", "format_version"}
    parts = []
    if inputs := manifest.get("inputs"):
        rows = [(row["source"], row["bytes"], row["sha256"]) for row in inputs]
        parts.append(format_table(("input", "bytes", "SHA-256"), rows))
    for key, value in manifest.items():
        if key not in shown:
            rows = list(_flatten(value))
            parts.append(format_table((key.replace("_", " "), ""), rows, has_numbers=False))
    columns = ("records", "clusters", "nt", "bytes", "sha256")
    rows = [
        (s["file"].rpartition("/")[2], *(s[key] for key in columns)) for s in _list_shards(manifest)
    ]
    table = format_table(("shard", *columns[:-1], "SHA-256"), rows)
    parts.append(format_fold(f"Shards: {len(rows)}", table, is_open=len(rows) <= MAX_OPEN_ROWS))
    return format_section("origin", "Made from, with, into", *parts)


def _list_shards(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [shard for name in SPLITS for shard in manifest["splits"][name]["shards"]]


def _flatten(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the leaves of nested dictionaries under their dotted names."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flatten(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, "none" if value is None else str(value)


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _format_gib(number: int | None) -> str:
    return "-" if number is None else f"{number / 2**30:.2f}"


def _name_range(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
