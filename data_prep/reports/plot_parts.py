"""Parts that pictures share: logarithmic axes, rows of bars, keys, outlines of histograms."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from .drawing import Bar, Label, Line, Shape

WIDTH, RIGHT = 760, 24
NAME_WIDTH, MAX_NAME, ROW = 206, 27, 26


class Axes:
    """Two logarithmic axes in a frame, and where a value lies on them."""

    LEFT = 70

    def __init__(
        self, *, x: tuple[float, float], y: tuple[float, float], top: float, height: float
    ) -> None:
        self.x, self.y, self.top, self.height = x, y, top, height
        self.width = WIDTH - self.LEFT - RIGHT

    def x_of(self, value: float) -> float:
        """Return where a value lies across."""
        return self.LEFT + self.width * _place(value, *self.x)

    def y_of(self, value: float) -> float:
        """Return where a value lies down; what is below the axis lies on it."""
        return self.top + self.height * (1 - _place(max(value, self.y[0]), *self.y))

    def draw(self, x_name: str, y_name: str, *, x_base: int) -> Iterator[Shape]:
        """Yield the grid at powers of ten down and of a base across, with numbers and names."""
        bottom, right = self.top + self.height, self.LEFT + self.width
        for value in _list_ticks(*self.y, base=10):
            y = self.y_of(value)
            yield Line(points=((self.LEFT, y), (right, y)), colour="grid")
            label = _shorten_number(value)
            yield Label(x=self.LEFT - 8, y=y + 4, text=label, anchor="end", colour="soft")
        for value in _list_ticks(*self.x, base=x_base):
            x = self.x_of(value)
            yield Line(points=((x, self.top), (x, bottom)), colour="grid")
            label = _shorten_number(value)
            yield Label(x=x, y=bottom + 17, text=label, anchor="middle", colour="soft")
        yield Line(points=((self.LEFT, bottom), (right, bottom)), colour="soft")
        yield Label(x=right, y=bottom + 36, text=x_name, anchor="end")
        yield Label(x=8, y=self.top - 12, text=y_name)


def _place(value: float, low: float, high: float) -> float:
    return (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))


def _list_ticks(low: float, high: float, *, base: int) -> list[int]:
    """Return the powers of the base within the bounds; a logarithm may miss them by rounding."""
    first = max(0, math.ceil(math.log(low, base) - 1e-9))
    return [base**power for power in range(first, math.floor(math.log(high, base) + 1e-9) + 1)]


def _shorten_number(value: int) -> str:
    for size, letter in ((10**9, "G"), (10**6, "M"), (1000, "k")):
        if value >= size and value % size == 0:
            return f"{value // size}{letter}"
    return f"{value:,}"


def list_outline(
    axes: Axes, edges: Sequence[int], counts: Sequence[float]
) -> tuple[tuple[float, float], ...]:
    """Return the outline of a histogram; an empty bin lies on the axis."""
    return tuple(
        (axes.x_of(edge), axes.y_of(count))
        for (low, high), count in zip(pairwise(edges), counts, strict=True)
        for edge in (low, high)
    )


def draw_rows(rows: Sequence[tuple[str, int, float, str]]) -> Iterator[Shape]:
    """Draw a bar for each name, number, share of the longest and colour."""
    room = WIDTH - NAME_WIDTH - RIGHT - 160
    for place, (name, number, share, colour) in enumerate(rows):
        y = 8 + ROW * place
        width = max(room * share, 1.5 if number else 0)
        is_loss = colour == "four"
        text = f"-{number:,}" if is_loss and number else f"{number:,}"
        percent = "" if not number else "< 0.01 %" if share < 1e-4 else f"{100 * share:.2f} %"
        soft = "soft" if is_loss else "text"
        yield draw_name(name, y + 17, colour=soft)
        yield Bar(
            x=NAME_WIDTH,
            y=y + 4,
            width=width,
            height=ROW - 8,
            colour=colour,
            title=f"{name} {text}",
        )
        yield Label(x=NAME_WIDTH + width + 8, y=y + 17, text=text, colour=soft)
        yield Label(x=WIDTH - RIGHT, y=y + 17, text=percent, anchor="end", colour="soft")


def draw_key(x: float, name: str, colour: str) -> Iterator[Shape]:
    """Yield a series' name behind its colour, above a plot."""
    yield Bar(x=x, y=6, width=18, height=4, colour=colour)
    yield Label(x=x + 24, y=12, text=name)


def draw_share_axis(
    left: float, width: float, limit: float, *, top: float, height: float
) -> Iterator[Shape]:
    """Yield a grid of five lines from 0 to a limit, in percent."""
    for step in range(5):
        x = left + width * step / 4
        yield Line(points=((x, top - 4), (x, top + height)), colour="grid")
        text = f"{100 * limit * step / 4:g}"
        yield Label(x=x, y=top - 9, text=text, size=10, anchor="middle", colour="soft")


def draw_name(name: str, y: float, *, colour: str = "text") -> Label:
    """Return a row's name at the left, cut where it is too long."""
    short = name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 2]}.."
    return Label(x=NAME_WIDTH - 10, y=y, text=short, anchor="end", colour=colour)
