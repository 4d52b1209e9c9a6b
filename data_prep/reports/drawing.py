"""Pictures made of a few shapes, drawn twice: as SVG for a page, as PNG with Pillow.

Colours are names. A page gives them their values by CSS, light or dark; a PNG is always light.
"""

from dataclasses import dataclass
from html import escape
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

LIGHT = {
    "back": "#ffffff",
    "text": "#1f2328",
    "soft": "#59636e",
    "grid": "#e3e6ea",
    "one": "#0072b2",
    "two": "#e69f00",
    "three": "#009e73",
    "four": "#d55e00",
    "rest": "#9aa4af",
}
"""Okabe and Ito's palette for series: apart for every kind of colour vision."""

DARK = {
    "back": "#14171b",
    "text": "#e4e7eb",
    "soft": "#9aa4b0",
    "grid": "#2c323a",
    "one": "#4aa3df",
    "two": "#f0b43c",
    "three": "#2fbf92",
    "four": "#f0793a",
    "rest": "#737e8a",
}

PNG_SCALE = 2
_DASH = (5, 4)
_SHARES = {"start": 0.0, "middle": 0.5, "end": 1.0}


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """A filled rectangle; `title` is what a pointer over it shows."""

    x: float
    y: float
    width: float
    height: float
    colour: str
    title: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A line through points."""

    points: tuple[tuple[float, float], ...]
    colour: str
    width: float = 1.0
    is_dashed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """Text on its base line; `anchor` is which part of it stands at x: start, middle or end."""

    x: float
    y: float
    text: str
    size: int = 12
    anchor: str = "start"
    colour: str = "text"


Shape = Bar | Line | Label


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """One picture; its name is that of its file."""

    name: str
    title: str
    width: int
    height: int
    shapes: tuple[Shape, ...]


def format_svg(drawing: Drawing) -> str:
    """Return the picture as an SVG element whose colours are CSS variables of the page."""
    head = (
        f'<svg viewBox="0 0 {drawing.width} {drawing.height}" role="img" '
        f'aria-label="{escape(drawing.title)}">'
    )
    return "\n".join([head, *map(_format_shape, drawing.shapes), "</svg>"])


def write_png(drawing: Drawing, path: Path) -> None:
    """Write the picture as a PNG of twice its size in pixels, on white."""
    size = drawing.width * PNG_SCALE, drawing.height * PNG_SCALE
    image = Image.new("RGB", size, LIGHT["back"])
    pen = ImageDraw.Draw(image)
    for shape in drawing.shapes:
        _draw_shape(pen, shape)
    scratch = path.with_name(f"{path.name}.partial")
    image.save(scratch, format="PNG", optimize=True)
    scratch.replace(path)


def _format_shape(shape: Shape) -> str:
    colour = f"var(--{shape.colour})"
    if isinstance(shape, Bar):
        place = f'x="{shape.x:.1f}" y="{shape.y:.1f}"'
        size = f'width="{shape.width:.1f}" height="{shape.height:.1f}"'
        title = f"<title>{escape(shape.title)}</title>" if shape.title else ""
        return f'<rect {place} {size} fill="{colour}">{title}</rect>'
    if isinstance(shape, Line):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points)
        dash = f' stroke-dasharray="{_DASH[0]} {_DASH[1]}"' if shape.is_dashed else ""
        return (
            f'<polyline points="{points}" fill="none" stroke="{colour}" '
            f'stroke-width="{shape.width:g}"{dash}/>'
        )
    return (
        f'<text x="{shape.x:.1f}" y="{shape.y:.1f}" font-size="{shape.size}" '
        f'text-anchor="{shape.anchor}" fill="{colour}">{escape(shape.text)}</text>'
    )


def _draw_shape(pen: ImageDraw.ImageDraw, shape: Shape) -> None:
    colour = LIGHT[shape.colour]
    if isinstance(shape, Bar):
        left, top = shape.x * PNG_SCALE, shape.y * PNG_SCALE
        right, bottom = left + shape.width * PNG_SCALE, top + shape.height * PNG_SCALE
        if right - left >= 1 and bottom - top >= 1:  # Pillow's rectangles include their last pixel
            pen.rectangle((left, top, right - 1, bottom - 1), fill=colour)
    elif isinstance(shape, Line):
        width = max(1, round(shape.width * PNG_SCALE))
        points = [(x * PNG_SCALE, y * PNG_SCALE) for x, y in shape.points]
        if shape.is_dashed:
            _draw_dashes(pen, points[0], points[-1], colour, width)
        else:
            pen.line(points, fill=colour, width=width)
    else:
        font = ImageFont.load_default(shape.size * PNG_SCALE)
        left = shape.x * PNG_SCALE - _SHARES[shape.anchor] * font.getlength(shape.text)
        pen.text((left, shape.y * PNG_SCALE), shape.text, fill=colour, font=font, anchor="ls")


def _draw_dashes(
    pen: ImageDraw.ImageDraw,
    start: tuple[float, float],
    end: tuple[float, float],
    colour: str,
    width: int,
) -> None:
    """Draw a straight dashed line: Pillow has none."""
    length = max(abs(end[0] - start[0]), abs(end[1] - start[1]))
    on, off = (part * PNG_SCALE for part in _DASH)
    for place in range(0, int(length), on + off):
        ends = [
            tuple(a + (b - a) * min(at, length) / length for a, b in zip(start, end, strict=True))
            for at in (place, place + on)
        ]
        pen.line([*ends[0], *ends[1]], fill=colour, width=width)
