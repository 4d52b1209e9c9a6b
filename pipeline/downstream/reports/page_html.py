"""HTML of pages that load nothing: the shell, tables, folded parts; light, dark and printed."""

from collections.abc import Iterable, Sequence
from html import escape

MAX_OPEN_PANELS = 12
"""More panels than these fold away."""

LIGHT = {
    "back": "#ffffff",
    "text": "#1f2328",
    "soft": "#59636e",
    "grid": "#dfe3e8",
    "tint": "#f3f6f9",
    "blue": "#0072b2",
    "orange": "#d98c00",
    "green": "#009e73",
    "vermilion": "#d55e00",
    "purple": "#b35f90",
    "sky": "#3f9fd6",
    "ochre": "#9a8600",
    "brown": "#7a5230",
    "indigo": "#5b4bb7",
    "rose": "#c2476b",
    "grey": "#8c96a1",
}
"""Okabe and Ito's palette, its light ones darkened: apart for every kind of colour vision. Brown,
indigo and rose are added, for rows that rarely stand beside those they resemble."""

DARK = {
    "back": "#14171b",
    "text": "#e4e7eb",
    "soft": "#a3adb8",
    "grid": "#323942",
    "tint": "#1c2127",
    "blue": "#4aa3df",
    "orange": "#f0b43c",
    "green": "#2fbf92",
    "vermilion": "#f0793a",
    "purple": "#e08fbd",
    "sky": "#8ad0f7",
    "ochre": "#d9cc4a",
    "brown": "#b98a5e",
    "indigo": "#a99bf0",
    "rose": "#f08aa6",
    "grey": "#8e99a5",
}

STYLE = """
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1140px; margin: 0 auto; padding: 20px 16px 64px; }
h1 { font-size: 26px; line-height: 1.25; margin: 8px 0; overflow-wrap: anywhere; }
h2 { font-size: 20px; margin: 48px 0 8px; padding-top: 14px; border-top: 2px solid var(--grid); }
h3 { font-size: 15px; margin: 26px 0 6px; }
h4 { font-size: 13px; margin: 0 0 4px; font-weight: 600; overflow-wrap: anywhere; }
a { color: var(--blue); }
nav { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 10px 0; font-size: 14px; }
.soft, figcaption { color: var(--soft); font-size: 13px; margin: 4px 0 10px; }
ul.soft { padding-left: 18px; }
code { font: 12px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: 8px 0; }
table { border-collapse: collapse; font-size: 13px; }
th, td { text-align: left; vertical-align: top; padding: 4px 12px 4px 0;
  border-bottom: 1px solid var(--grid); font-variant-numeric: tabular-nums; }
thead th { color: var(--soft); vertical-align: bottom; }
tbody th { font-weight: 500; min-width: 120px; max-width: 260px; overflow-wrap: anywhere; }
.held th:first-child { position: sticky; left: 0; background: var(--back); padding-right: 12px; }
td small, th small { display: block; color: var(--soft); font-size: 11px; white-space: nowrap; }
th small { font-weight: 400; white-space: normal; }
td b { border-bottom: 2px solid var(--blue); }
.published td, .published th { font-style: italic; color: var(--soft); background: var(--tint); }
.grey td, .grey th { color: var(--grey); }
.panels { display: grid; gap: 18px 22px; margin: 8px 0 12px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 320px), 1fr)); }
.case { display: grid; gap: 6px 22px; margin: 0 0 22px;
  grid-template-columns: minmax(0, 2fr) minmax(0, 3fr); align-items: center; }
.case h4 { grid-column: 1 / -1; }
@media (max-width: 700px) { .case { grid-template-columns: minmax(0, 1fr); } }
figure { margin: 0; min-width: 0; break-inside: avoid; }
svg { width: 100%; height: auto; display: block; font-family: inherit; }
.key { display: inline-block; width: 11px; height: 11px; margin: 0 5px 0 0; border-radius: 2px; }
.keys span { white-space: nowrap; margin-right: 14px; }
details { margin: 10px 0; }
summary { cursor: pointer; font-size: 14px; color: var(--blue); }
@media print {
  body { font-size: 12px; } main { max-width: none; padding: 0; } nav { display: none; }
  .wide { overflow: visible; } .case, tr { break-inside: avoid; }
  table { font-size: 8.5px; } td small, th small { font-size: 7px; }
  th, td { padding-right: 5px; } tbody th { min-width: 60px; }
  h2, h3, h4 { break-after: avoid; }
  details::details-content { content-visibility: visible; display: block; height: auto; }
}
"""


class Markup(str):
    """Text that is HTML already: a cell of this type is not escaped again."""

    __slots__ = ()


def format_page(title: str, parts: Iterable[str]) -> str:
    """Return a whole page, light or dark as the reader's system is, light on paper."""
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n"
        f":root {{ color-scheme: light dark;{_format_colours(LIGHT)} }}\n"
        "@media screen and (prefers-color-scheme: dark) "
        f"{{ :root {{{_format_colours(DARK)} }} }}"
        f"{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def format_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], marks: Sequence[str] = ()
) -> str:
    """Return a table that scrolls by itself where it is too wide; its first column stays.

    `marks` are classes of the rows, empty for none.
    """
    lines = []
    for place, (first, *rest) in enumerate(rows):
        mark = f' class="{marks[place]}"' if marks and marks[place] else ""
        cells = "".join(f"<td>{format_cell(cell)}</td>" for cell in rest)
        lines.append(f'<tr{mark}><th scope="row">{format_cell(first)}</th>{cells}</tr>')
    heads = "".join(f'<th scope="col">{format_cell(name)}</th>' for name in head)
    body = "\n".join(lines)
    return (
        f'<div class="wide"><table class="held"><thead><tr>{heads}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def format_cell(cell: str) -> str:
    """Return a cell's HTML: text escaped, `Markup` as it is."""
    return cell if isinstance(cell, Markup) else escape(cell)


def format_fold(title: str, inner: str, *, is_open: bool = False) -> str:
    """Return a part that opens on a click, and is open on paper."""
    mark = " open" if is_open else ""
    return f"<details{mark}><summary>{escape(title)}</summary>\n{inner}\n</details>"


def fold_if_many(title: str, inner: str, count: int) -> str:
    """Return a part as it is, or folded away where it holds many panels."""
    return format_fold(title, inner) if count > MAX_OPEN_PANELS else inner


def format_note(words: str) -> str:
    """Return a paragraph that explains."""
    return f'<p class="soft">{escape(words)}</p>'


def format_list(items: Iterable[str]) -> str:
    """Return sentences under one another; nothing where there are none."""
    lines = "\n".join(f"<li>{escape(item)}</li>" for item in items)
    return f'<ul class="soft">\n{lines}\n</ul>' if lines else ""


def format_figure(svg: str, *, title: str = "", caption: str = "") -> str:
    """Return a picture under its title; `caption` is HTML."""
    head = f"<h4>{escape(title)}</h4>" if title else ""
    foot = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f"<figure>{head}{svg}{foot}</figure>"


def format_panels(figures: Iterable[str]) -> str:
    """Return pictures side by side, as many in a row as the screen is wide."""
    return '<div class="panels">\n{}\n</div>'.format("\n".join(figures))


def format_keys(keys: Iterable[tuple[str, str]]) -> str:
    """Return the legend of (colour, name)."""
    spans = (
        f'<span><i class="key" style="background:var(--{colour})"></i>{escape(name)}</span> '
        for colour, name in keys
    )
    return f'<span class="keys">{"".join(spans)}</span>'


def _format_colours(colours: dict[str, str]) -> str:
    return "".join(f" --{name}: {value};" for name, value in colours.items())
