"""The pictures of a report: what goes at every filter, lengths, composition, clusters, letters."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from .drawing import Bar, Drawing, Label, Line, Shape
from .plot_parts import (
    NAME_WIDTH,
    RIGHT,
    ROW,
    WIDTH,
    Axes,
    draw_key,
    draw_name,
    draw_rows,
    draw_share_axis,
    list_outline,
)
from .report_numbers import (
    ACCEPTED,
    AMBIGUOUS_EDGES,
    AS_READ,
    LENGTH_EDGES_NT,
    SAMPLED,
    UNIQUE,
    WEIGHTED,
    Composition,
    ReportNumbers,
)

BAR, PANEL_GAP, MAX_TYPES = 9, 28, 12
PLOT_TOP, PLOT_HEIGHT = 34, 290
STAGE_COLOURS = {
    AS_READ: "four",
    ACCEPTED: "rest",
    UNIQUE: "one",
    SAMPLED: "two",
    WEIGHTED: "three",
}


class FunnelRow(NamedTuple):
    """A row of the funnel; the colour `four` is that of losses."""

    name: str
    number: int
    colour: str


def draw_all(numbers: ReportNumbers) -> list[Drawing]:
    """Return every picture, in the order of the page."""
    return [
        draw_funnel(list_funnel(numbers.manifest)),
        draw_composition(numbers),
        draw_lengths(numbers),
        draw_cluster_sizes(numbers.cluster_sizes),
        draw_ambiguous(numbers.ambiguous),
    ]


def list_funnel(manifest: dict[str, Any]) -> list[FunnelRow]:
    """Return how many records there are, and how many go, from the first step to the last."""
    counts = manifest.get("counts")
    if counts is None:  # shards without a preparation: nothing is known of what came before
        parts = manifest["splits"].items()
        return [
            FunnelRow(name, sum(shard["records"] for shard in part["shards"]), "one")
            for name, part in parts
        ]
    losses = [(reason.replace("_", " "), n) for reason, n in counts["rejected"].items()]
    return [
        FunnelRow("read", counts["read"], "one"),
        *(FunnelRow(name, n, "four") for name, n in losses),
        FunnelRow("accepted", counts["accepted"], "one"),
        FunnelRow("duplicates", counts["duplicates"], "four"),
        *([FunnelRow("excluded", counts["excluded"], "four")] if counts.get("excluded") else []),
        FunnelRow("unique", counts["unique"], "one"),
        FunnelRow("clusters", counts["clusters"], "two"),
        FunnelRow("to train on", counts["train_clusters"], "two"),
        FunnelRow("to validate on", counts["validation_clusters"], "two"),
    ]


def draw_funnel(rows: Sequence[FunnelRow]) -> Drawing:
    """One bar a row, as a share of the first row's."""
    whole = rows[0].number or 1
    bars = [(row.name, row.number, row.number / whole, row.colour) for row in rows]
    return Drawing(
        name="funnel",
        title="Records at every filter, then clusters",
        width=WIDTH,
        height=16 + ROW * len(rows),
        shapes=tuple(draw_rows(bars)),
    )


def draw_composition(numbers: ReportNumbers) -> Drawing:
    """Two panels, shares of records and of nucleotides: a group of bars for each large type."""
    stages = numbers.compositions
    names, has_rest = _choose_types(stages)
    top, group = 60, BAR * len(stages) + 10
    room = (WIDTH - NAME_WIDTH - RIGHT - PANEL_GAP) / 2
    shapes: list[Shape] = []
    x = NAME_WIDTH
    for stage in stages:
        shapes += draw_key(x, stage.stage, STAGE_COLOURS[stage.stage])
        x += 54 + 7 * len(stage.stage)
    middle = BAR * len(stages) / 2 + 4
    rows = [*names, "all others"] if has_rest else names
    shapes += [draw_name(name, top + group * i + middle) for i, name in enumerate(rows)]
    for left, title, amounts in (
        (NAME_WIDTH, "% of records", [stage.records for stage in stages]),
        (NAME_WIDTH + room + PANEL_GAP, "% of nucleotides", [stage.nt for stage in stages]),
    ):
        shares = [_find_shares(values, names, has_rest=has_rest) for values in amounts]
        most = max(map(max, shares))
        limit = next(step for step in (0.04, 0.08, 0.2, 0.4, 0.6, 0.8, 1) if most <= step + 1e-9)
        scale = (room - 46) / limit  # what is left is for the number at the bars
        shapes.append(Label(x=left, y=top - 24, text=title))
        shapes += draw_share_axis(left, room - 46, limit, top=top, height=group * len(rows))
        for place, of_stages in enumerate(zip(*shares, strict=True)):
            y = top + group * place
            for number, (stage, share) in enumerate(zip(stages, of_stages, strict=True)):
                shapes.append(
                    Bar(
                        x=left,
                        y=y + BAR * number,
                        width=scale * share,
                        height=BAR - 1,
                        colour=STAGE_COLOURS[stage.stage],
                        title=f"{rows[place]}, {stage.stage}: {100 * share:.2f} {title}",
                    )
                )
            end = left + scale * max(of_stages) + 5
            text = f"{100 * of_stages[-1]:.1f} %"
            shapes.append(Label(x=end, y=y + middle, text=text, size=10, colour="soft"))
    return Drawing(
        name="composition",
        title="Composition by RNA type, before and after",
        width=WIDTH,
        height=top + group * len(rows) + 8,
        shapes=tuple(shapes),
    )


def draw_lengths(numbers: ReportNumbers) -> Drawing:
    """Records by length at every stage, both axes logarithmic; the filter's bounds are dashed."""
    series = list(numbers.lengths.items())
    edges = [*LENGTH_EDGES_NT.tolist(), int(LENGTH_EDGES_NT[-1]) * 2]
    filled = [i for i in range(len(edges) - 1) if any(counts[i] > 0 for _, counts in series)]
    filters = numbers.manifest.get("parameters", {}).get("filter", {})
    bounds = [filters[key] for key in ("min_length_nt", "max_length_nt") if key in filters]
    low = min([edges[filled[0]], *bounds])
    high = max([edges[filled[-1] + 1], *bounds])
    most = max(max(counts) for _, counts in series)
    axes = Axes(x=(low, high), y=(0.8, most * 1.5), top=PLOT_TOP, height=PLOT_HEIGHT)
    shapes: list[Shape] = [*axes.draw("nucleotides", "records", x_base=2)]
    for bound in bounds:
        points = tuple((axes.x_of(bound), PLOT_TOP + PLOT_HEIGHT * end) for end in (0, 1))
        shapes.append(Line(points=points, colour="four", is_dashed=True, width=1.2))
    for place, (name, counts) in enumerate(series):
        # Wide ones show under narrow ones where they are equal.
        width = 1.5 + 2 * (len(series) - 1 - place)
        part = slice(filled[0], filled[-1] + 1)
        outline = list_outline(axes, edges[part.start : part.stop + 1], counts[part])
        shapes.append(Line(points=outline, colour=STAGE_COLOURS[name], width=width))
        shapes += draw_key(70 + 150 * place, name, STAGE_COLOURS[name])
    return Drawing(
        name="lengths",
        title="Lengths before and after",
        width=WIDTH,
        height=PLOT_TOP + PLOT_HEIGHT + 44,
        shapes=tuple(shapes),
    )


def draw_cluster_sizes(sizes: Sequence[tuple[int, int]]) -> Drawing:
    """How many clusters, and how many records in them, have at least so many records."""
    reached = sorted(_accumulate(sizes))
    largest = max(sizes)[0]
    most = max(records for _, _, records in reached)
    axes = Axes(x=(1, max(largest, 2) * 1.1), y=(0.8, most * 1.5), top=PLOT_TOP, height=PLOT_HEIGHT)
    shapes: list[Shape] = [*axes.draw("records in a cluster, at least", "count", x_base=10)]
    for column, (name, colour) in enumerate((("clusters", "one"), ("records in them", "two"))):
        points = tuple((axes.x_of(row[0]), axes.y_of(row[column + 1])) for row in reached)
        if len(points) == 1:
            points = ((points[0][0] - 4, points[0][1]), (points[0][0] + 4, points[0][1]))
        shapes.append(Line(points=points, colour=colour, width=2))
        shapes += draw_key(70 + 120 * column, name, colour)
    return Drawing(
        name="clusters",
        title="Cluster sizes",
        width=WIDTH,
        height=PLOT_TOP + PLOT_HEIGHT + 44,
        shapes=tuple(shapes),
    )


def draw_ambiguous(counts: Sequence[int]) -> Drawing:
    """One bar a bin of a record's share of ambiguous letters."""
    percents = [f"{100 * edge:g} %" for edge in AMBIGUOUS_EDGES.tolist()[2:]]
    names = ["none", f"below {percents[0]}"]
    names += [f"from {low}, below {high}" for low, high in pairwise(percents)]
    names.append(f"from {percents[-1]}")
    last = max((i for i, n in enumerate(counts) if n), default=0)
    total = sum(counts) or 1
    pairs = zip(names[: last + 1], counts, strict=False)
    return Drawing(
        name="ambiguous",
        title="Letters other than A, C, G and U in a record",
        width=WIDTH,
        height=16 + ROW * (last + 1),
        shapes=tuple(draw_rows([(name, n, n / total, "one") for name, n in pairs])),
    )


def _choose_types(stages: Sequence[Composition]) -> tuple[list[str], bool]:
    """Return the types with the largest share of anything at any stage, and if there are others."""
    best: dict[str, float] = {}
    for amounts in (values for stage in stages for values in (stage.records, stage.nt)):
        total = sum(amounts.values())
        for name, value in amounts.items():
            best[name] = max(best.get(name, 0), value / total)
    names = sorted((name for name in best if best[name]), key=lambda name: (-best[name], name))
    has_rest = len(names) > MAX_TYPES + 1
    return (names[:MAX_TYPES] if has_rest else names), has_rest


def _find_shares(amounts: dict[str, float], names: Sequence[str], *, has_rest: bool) -> list[float]:
    total = sum(amounts.values())
    shares = [amounts.get(name, 0) / total for name in names]
    return [*shares, max(0.0, 1 - sum(shares))] if has_rest else shares


def _accumulate(sizes: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Yield each size with the clusters of at least that size, and the records in them."""
    clusters = records = 0
    for size, times in sorted(sizes, reverse=True):
        clusters += times
        records += size * times
        yield size, clusters, records
