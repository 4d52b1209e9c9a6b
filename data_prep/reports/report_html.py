"""HTML of a report: the shell of a page that loads nothing, tables, folded parts."""

from collections.abc import Sequence
from html import escape

from .drawing import DARK, LIGHT, Drawing, format_svg

Cell = str | int
"""Words as they are, and numbers, which are set right with thousands apart."""

STYLE = """
body { margin: 0; background: var(--back); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 820px; margin: 0 auto; padding: 24px 20px 64px; }
h1 { font-size: 26px; margin: 8px 0 0; }
h2 { font-size: 18px; margin: 44px 0 8px; padding-top: 12px; border-top: 1px solid var(--grid); }
.soft { color: var(--soft); margin: 6px 0 12px; font-size: 14px; }
code { font: 12px/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(220px, 1fr)); gap: 10px;
  margin: 16px 0 0; }
dl div { border: 1px solid var(--grid); border-radius: 6px; padding: 8px 12px; }
dt { color: var(--soft); font-size: 12px; }
dd { margin: 0; font-size: 20px; font-variant-numeric: tabular-nums; }
figure { margin: 12px 0; }
svg { width: 100%; height: auto; display: block; font-family: inherit; }
.wide { overflow-x: auto; margin: 10px 0; }
table { border-collapse: collapse; font-size: 13px; min-width: 50%; }
th, td { text-align: left; vertical-align: top; padding: 3px 14px 3px 0;
  border-bottom: 1px solid var(--grid); overflow-wrap: break-word; }
td:first-child { min-width: 110px; }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th.n { white-space: normal; }
summary { cursor: pointer; margin: 8px 0; }
@media print { main { max-width: none; } section { break-inside: avoid; } }
"""


def format_page(title: str, parts: Sequence[str]) -> str:
    """Return a whole page, light or dark as the reader's system is."""
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n"
        f":root {{ color-scheme: light dark;{_format_colours(LIGHT)} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{{_format_colours(DARK)} }} }}"
        f"{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def format_section(name: str, title: str, *parts: str) -> str:
    """Return one part of the page under its title."""
    body = "\n".join(parts)
    return f'<section id="{name}">\n<h2>{escape(title)}</h2>\n{body}\n</section>'


def format_figure(drawing: Drawing) -> str:
    """Return a picture as it stands in the page."""
    return f"<figure>{format_svg(drawing)}</figure>"


def format_tiles(tiles: Sequence[tuple[str, str]]) -> str:
    """Return a few large numbers under their names."""
    cells = (f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in tiles)
    return f"<dl>{''.join(cells)}</dl>"


def format_table(
    head: Sequence[str], rows: Sequence[Sequence[Cell]], *, has_numbers: bool = True
) -> str:
    """Return a table that scrolls by itself where it is too wide; numbers are set right."""
    first = rows[0] if rows else head
    marks = [' class="n"' if has_numbers and _is_number(cell) else "" for cell in first]
    heads = (f"<th{mark}>{escape(name)}</th>" for name, mark in zip(head, marks, strict=True))
    lines = [
        "".join(f"<td{m}>{_format_cell(cell)}</td>" for cell, m in zip(row, marks, strict=True))
        for row in rows
    ]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f'<div class="wide"><table><thead><tr>{"".join(heads)}</tr></thead>\n<tbody>\n{body}\n'
        "</tbody></table></div>"
    )


def format_fold(title: str, inner: str, *, is_open: bool = False) -> str:
    """Return a part that opens on a click."""
    mark = " open" if is_open else ""
    return f"<details{mark}><summary>{escape(title)}</summary>\n{inner}</details>"


def format_note(words: str) -> str:
    """Return a paragraph that explains."""
    return f'<p class="soft">{escape(words)}</p>'


def _is_number(cell: Cell) -> bool:
    """Say whether a cell is a number, formatted or not, or a dash in the place of one."""
    return isinstance(cell, int) or cell == "-" or cell.replace(",", "").replace(".", "").isdigit()


def _format_cell(cell: Cell) -> str:
    if isinstance(cell, int):
        return f"{cell:,}"
    text = escape(cell)
    is_hash = len(text) >= 12 and all(letter in "0123456789abcdef" for letter in text)
    return f"<code>{text}</code>" if is_hash else text


def _format_colours(colours: dict[str, str]) -> str:
    return "".join(f" --{name}: {value};" for name, value in colours.items())
