"""An audit as one HTML page that needs no other file: pictures in SVG, tables, how to read it."""

from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby, pairwise
from typing import Any

from .audit_report import ALL, THRESHOLDS
from .leakage import CHANCE_NEARNESS, CHANCE_NT

MAX_FAMILIES = 40
BANDS = (
    ("identity 1.0", "#67000d"),
    ("0.9 and more", "#cb181d"),
    ("0.8 and more", "#fb6a4a"),
    ("0.7 and more", "#fcbba1"),
    ("less or none", "#e0e0e0"),
    ("not searchable", "#9ecae1"),
)
TEXT, FAINT = "#222222", "#dddddd"
LEFT, BAR, STEP, WIDTH = 190, 15, 20, 480
CELL = 26
STYLE = """body{font:14px sans-serif;max-width:1100px;margin:2em auto;color:#222}
table{border-collapse:collapse;margin:1em 0}td,th{padding:2px 10px;text-align:right;
border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}
code{font-size:12px;word-break:break-all}svg{max-width:100%;margin-right:2em;vertical-align:top}"""


def format_page(report: dict[str, Any]) -> str:
    """Return the page."""
    return "\n".join([*_iter_page(report), ""])


def _iter_page(report: dict[str, Any]) -> Iterator[str]:
    yield '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
    yield f"<title>Leakage audit</title><style>{STYLE}</style></head><body>"
    yield "<h1>What the benchmarks share with the corpus</h1>"
    yield (
        f"<p>Corpus of {report['corpus_records']:,} records. For each sequence of a benchmark its "
        "nearest record, both strands; nearness is identity times the share of the sequence that "
        f"the alignment spans. Shares count records whose alignment spans "
        f"{report['coverage']:.0%} of the sequence or more. Without a neighbour (none) is what has "
        "no record nearer than those that chance offers to random sequences of its length: "
        f"{_list_bounds()}. Found neighbours are a lower bound: relatives that share no seed are "
        "missed, and of sequences under 25 nt only those nearer than chance count; the others are "
        "not searchable.</p>"
    )
    if not report["mmseqs"]:
        yield (
            "<p><b>Made without MMseqs2</b>: only identical records were looked for, and records "
            "that contain a sequence under 25 nt.</p>"
        )
    for benchmark, group in groupby(report["rows"], key=lambda row: row["benchmark"]):
        rows = list(group)
        yield f"<h2>{escape(benchmark)}</h2>"
        yield draw_bands(rows[: MAX_FAMILIES + 1])
        yield draw_grid(rows[0])
        yield from _iter_table(rows[: MAX_FAMILIES + 1])
        if hidden := len(rows[MAX_FAMILIES + 1 :]):
            yield f"<p>and {hidden} more families, in families.tsv</p>"
    yield "<h2>Signatures</h2>"
    for file in report["files"]:
        yield f"<p>{escape(file['name'])}, families from {escape(file['families_from'])}:<br>"
        yield f"<code>{escape(file['line'])}</code></p>"
    for reason in report["skipped"]:
        yield f"<p>skipped {escape(reason)}</p>"
    yield "</body></html>"


def _list_bounds() -> str:
    pairs = zip(CHANCE_NT, CHANCE_NEARNESS, strict=True)
    return ", ".join(f"{nearness} at {nt} nt" for nt, nearness in pairs)


def draw_bands(rows: Sequence[dict[str, Any]]) -> str:
    """Return a bar a family: which share has a record of which identity."""
    height = 58 + STEP * len(rows) + 30
    width = LEFT + WIDTH + 70
    lines = [
        *_open_svg(width, height, "identity of the nearest record that spans the sequence"),
        *_draw_legend(),
    ]
    bottom = 58 + STEP * len(rows)
    for tenths in range(0, 11, 2):
        x = LEFT + WIDTH * tenths / 10
        lines.append(f'<line x1="{x}" x2="{x}" y1="54" y2="{bottom}" stroke="{FAINT}"/>')
        lines.append(f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{tenths * 10} %</text>')
    for number, row in enumerate(rows):
        y = 58 + STEP * number
        name = escape(row["family"][:26])
        lines.append(f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{name}</text>')
        x = float(LEFT)
        for count, (label, colour) in zip(_count_bands(row), BANDS, strict=True):
            share = count / row["sequences"]
            lines.append(
                f'<rect x="{x:.2f}" y="{y}" width="{WIDTH * share:.2f}" height="{BAR}" '
                f'fill="{colour}"><title>{name}, {label}: {count:,} ({share:.1%})</title></rect>'
            )
            x += WIDTH * share
        lines.append(f'<text x="{LEFT + WIDTH + 6}" y="{y + 12}">{row["sequences"]:,}</text>')
    return "\n".join([*lines, "</svg>"])


def draw_grid(row: dict[str, Any]) -> str:
    """Return identity against coverage of the nearest records, in tenths, darker for more."""
    size = 10 * CELL
    total = row["sequences"]
    lines = _open_svg(size + 90, size + 84, "% of all by nearest record")
    for i, counts in enumerate(row["identity_by_coverage_tenths"]):
        for j, count in enumerate(counts):
            x, y = 50 + CELL * j, 40 + CELL * (9 - i)
            share = count / total
            lines.append(
                f'<rect x="{x}" y="{y}" width="{CELL}" height="{CELL}" fill="#a50f15" '
                f'fill-opacity="{share**0.5:.3f}" stroke="{FAINT}"><title>identity {i / 10:.1f} to '
                f"{(i + 1) / 10:.1f}, coverage {j / 10:.1f} to {(j + 1) / 10:.1f}: {count:,}"
                "</title></rect>"
            )
            if share >= 0.005:
                colour = "white" if share > 0.3 else TEXT
                lines.append(
                    f'<text x="{x + CELL / 2}" y="{y + 17}" text-anchor="middle" font-size="10" '
                    f'fill="{colour}">{100 * share:.0f}</text>'
                )
    for tenths in range(0, 11, 2):
        x, y = 50 + CELL * tenths, 40 + CELL * (10 - tenths)
        lines.append(f'<text x="{x}" y="{size + 56}" text-anchor="middle">{tenths / 10}</text>')
        lines.append(f'<text x="44" y="{y + 4}" text-anchor="end">{tenths / 10}</text>')
    middle = 40 + size / 2
    lines.append(
        f'<text x="{50 + size / 2}" y="{size + 74}" text-anchor="middle">coverage</text>'
        f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">identity</text>'
    )
    return "\n".join([*lines, "</svg>"])


def _open_svg(width: int, height: int, title: str) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="12" fill="{TEXT}">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="10" y="16" font-size="13" font-weight="bold">{title}</text>',
    ]


def _draw_legend() -> Iterator[str]:
    x = 10
    for label, colour in BANDS:
        yield f'<rect x="{x}" y="28" width="12" height="12" fill="{colour}"/>'
        yield f'<text x="{x + 17}" y="38">{label}</text>'
        x += 32 + 7 * len(label)


def _count_bands(row: dict[str, Any]) -> list[int]:
    """Return how many sequences each of `BANDS` has; together all of them."""
    above = [row[f"identity_{t}"] for t in reversed(THRESHOLDS)]
    bands = [above[0], *(high - low for low, high in pairwise(above))]
    unsearched = row["not_searchable"]
    return [*bands, row["sequences"] - above[-1] - unsearched, unsearched]


def _iter_table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    shares = [f"&ge; {t}" for t in THRESHOLDS]
    heads = ["family", "sequences", "distinct", "identical", *shares]
    heads += ["antisense", "none", "not searchable", "median nearness"]
    yield "<table><tr>" + "".join(f"<th>{head}</th>" for head in heads) + "</tr>"
    for row in rows:
        counts = [row["identical"], *(row[f"identity_{t}"] for t in THRESHOLDS)]
        counts += [row["antisense"], row["none"], row["not_searchable"]]
        cells = [
            f"<b>{ALL}</b>" if row["family"] == ALL else escape(row["family"]),
            f"{row['sequences']:,}",
            f"{row['distinct']:,}",
            *(f"{count / row['sequences']:.1%}" for count in counts),
            f"{row['median_nearness']:.2f}",
        ]
        yield "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
    yield "</table>"
