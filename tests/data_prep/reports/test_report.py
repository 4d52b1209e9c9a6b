"""The report's numbers against plain Python, and the page and pictures that show them."""

import json
import math
import shutil
import threading
import time
from collections import Counter
from html.parser import HTMLParser
from statistics import median_low

import numpy as np
import pytest
from PIL import Image

from openrinalmo.data_prep.peak_memory import PROC, measure_peak_memory
from openrinalmo.data_prep.reports.drawing import (
    DARK,
    LIGHT,
    Bar,
    Drawing,
    Label,
    Line,
    format_svg,
    write_png,
)
from openrinalmo.data_prep.reports.report import is_current, write_report
from openrinalmo.data_prep.reports.report_numbers import (
    ACCEPTED,
    AMBIGUOUS_EDGES,
    AS_READ,
    LENGTH_EDGES_NT,
    SAMPLED,
    UNIQUE,
    WEIGHTED,
    count_lengths,
    is_ribosomal,
    read_numbers,
)
from openrinalmo.data_prep.reports.report_plots import draw_all, list_funnel
from openrinalmo.data_prep.shards import read_manifest, write_manifest
from support.mmseqs import requires_mmseqs
from support.planted import PLANTED, prepare, read_records
from support.sequences import format_fasta
from support.tiny_data import write_tiny_data

TRAIN = [
    [("a1", "ACGUACGUACGUACGUA", "tRNA"), ("a2", "ACGUACGUACGUACGU" * 9, "16S_rRNA")],
    [("b1", "GGGGCCCCAAAAUUUUNN", "rRNA <&>")],
    [
        ("c1", "AUAUAUAUAUAUAUAU", "rRNA <&>"),
        ("c2", "AUAUAUAUAUAUAUAUA", "x"),
        ("c3", "A" * 99, "x"),
    ],
]
VALIDATION = [[("d1", "GCGCGCGCGCGCGCGCGN" * 7, "x")]]
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Balance of tags, what is loaded, and the text."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.loads, self.tags, self.text = [], [], Counter(), []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.loads += [value for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags[tag] += 1

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def tiny(tmp_path):
    return write_tiny_data(tmp_path / "data", train=TRAIN, validation=VALIDATION, max_shard_nt=100)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reported")
    (folder / "in.fasta").write_text(format_fasta(PLANTED))
    prepare(folder / "out", folder / "in.fasta")
    return folder / "out"


def find_bin(length):
    return max(i for i, edge in enumerate(LENGTH_EDGES_NT.tolist()) if edge <= length)


def test_numbers_are_those_of_plain_python(tiny):
    numbers = read_numbers(tiny)
    clusters = [*TRAIN, *VALIDATION]
    flat = [(record, 1 / len(cluster)) for cluster in clusters for record in cluster]
    unique, sampled = numbers.compositions
    assert (unique.stage, sampled.stage) == (UNIQUE, SAMPLED)
    for name in {record[2] for record, _ in flat}:
        own = [(len(record[1]), chance) for record, chance in flat if record[2] == name]
        assert unique.records[name] == len(own)
        assert unique.nt[name] == sum(length for length, _ in own)
        assert sampled.records[name] == pytest.approx(sum(chance for _, chance in own))
        assert sampled.nt[name] == pytest.approx(sum(n * chance for n, chance in own))
        median = median_low(length for length, _ in own)
        assert numbers.median_nt_of_type[name] == LENGTH_EDGES_NT[find_bin(median)]
        assert numbers.clusters_of_type[name] == sum(c[0][2] == name for c in clusters)
    assert numbers.cluster_sizes == sorted(Counter(map(len, clusters)).items())
    bins = Counter(find_bin(len(record[1])) for record, _ in flat)
    assert numbers.lengths[UNIQUE] == [bins[i] for i in range(len(LENGTH_EDGES_NT))]
    assert sum(numbers.lengths[SAMPLED]) == pytest.approx(len(clusters))
    shares = [sum(letter not in "ACGU" for letter in r[1]) / len(r[1]) for r, _ in flat]
    expected = Counter(max(i for i, e in enumerate(AMBIGUOUS_EDGES) if e <= s) for s in shares)
    assert numbers.ambiguous == [expected[i] for i in range(len(AMBIGUOUS_EDGES))]


def test_chunks_make_no_difference(tiny, monkeypatch):
    whole = read_numbers(tiny)
    monkeypatch.setattr("openrinalmo.data_prep.reports.report_numbers.CHUNK_CLUSTERS", 2)
    parts = read_numbers(tiny)
    assert parts.lengths[UNIQUE] == whole.lengths[UNIQUE]
    for one, other in zip(parts.compositions, whole.compositions, strict=True):
        assert one.nt == pytest.approx(other.nt)
        assert one.records == pytest.approx(other.records)


def test_lengths_are_counted_at_the_edges():
    edges = LENGTH_EDGES_NT.tolist()
    assert count_lengths(np.asarray(edges)).tolist() == [1] * len(edges)
    below = [edge - 1 for edge in edges]
    assert count_lengths(np.asarray(below)).tolist() == [2, *[1] * (len(edges) - 2), 0]
    assert count_lengths(np.asarray([1 << 24])).tolist() == [0] * (len(edges) - 1) + [1]


@pytest.mark.parametrize("name", ["rRNA", "16S_rRNA", "5_8S_rRNA", "23s", "Gene; rRNA", "5.8S"])
def test_names_of_ribosomal_rna(name):
    assert is_ribosomal(name)


@pytest.mark.parametrize("name", ["tRNA", "unknown", "ribozyme", "lncRNA", "miRNA", "s"])
def test_names_of_other_rna(name):
    assert not is_ribosomal(name)


def test_the_page_is_balanced_escaped_and_loads_nothing(tiny):
    text = write_report(tiny).read_text()
    page = Page(text)
    assert page.open == []
    assert page.loads == []
    assert page.tags["svg"] == 5
    assert not page.tags.keys() & {"script", "link", "img", "iframe"}
    assert "url(" not in text
    assert "@import" not in text
    assert "<&>" not in text
    assert "rRNA <&>" in "".join(page.text)
    for name in LIGHT:
        assert text.count(f" --{name}: ") == 2, "each colour in light and in dark"
    assert LIGHT.keys() == DARK.keys()


def test_a_page_of_the_same_folder_is_the_same(tiny, tmp_path):
    write_report(tiny)
    names = ["report.html", *(f"report/{path.name}" for path in (tiny / "report").iterdir())]
    assert len(names) == 7
    before = {name: (tiny / name).read_bytes() for name in names}
    shutil.copytree(tiny, tmp_path / "moved")
    shutil.rmtree(tmp_path / "moved" / "report")
    write_report(tmp_path / "moved")
    assert {name: (tmp_path / "moved" / name).read_bytes() for name in names} == before


def test_a_report_is_written_again_only_where_it_must_be(tiny):
    page = write_report(tiny)
    assert is_current(tiny)
    stamp = page.stat().st_mtime_ns
    write_report(tiny)
    assert page.stat().st_mtime_ns == stamp
    page.write_text("other")
    assert not is_current(tiny)
    write_report(tiny)
    assert is_current(tiny)
    (tiny / "report" / "lengths.png").unlink()
    assert not is_current(tiny)
    write_report(tiny)
    write_manifest(tiny, {**read_manifest(tiny), "more": 1})
    assert not is_current(tiny)


@requires_mmseqs
def test_counts_examples_and_steps_of_a_preparation_are_shown(planted):
    text = "".join(Page(write_report(planted).read_text()).text)
    manifest = read_manifest(planted)
    rows = {row.name: row.number for row in list_funnel(manifest)}
    assert rows["read"] == len(PLANTED)
    assert rows["accepted"] - rows["duplicates"] == rows["unique"] == len(read_records(planted))
    assert rows["to train on"] + rows["to validate on"] == rows["clusters"]
    assert sum(rows[n] for n in ("empty", "letters", "too short", "too long", "ambiguous")) == 5
    for word in ("protein", "in.fasta", "filter.min_length_nt", "mmseqs"):
        assert word in text
    for step in ("records", "unique", "clusters", "split", "shards"):
        assert (planted / "steps" / step / "step.json").is_file()
        assert step in text
    assert str(planted) not in text, "nothing of this machine"
    numbers = read_numbers(planted)
    before, after = numbers.compositions[:2]
    assert before.stage == ACCEPTED
    assert sum(before.records.values()) == manifest["counts"]["accepted"]
    assert sum(before.nt.values()) == manifest["counts"]["accepted_nt"]
    assert sum(numbers.lengths[ACCEPTED]) == sum(before.records.values())
    assert sum(numbers.lengths[AS_READ]) == manifest["counts"]["read"]
    assert sum(after.records.values()) == manifest["counts"]["unique"]


@requires_mmseqs
def test_what_a_step_recorded_beside_is_shown(planted, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(planted, folder)
    path = folder / "steps" / "records" / "step.json"
    step = json.loads(path.read_text())
    step["report"]["lengths_as_read"] = [7] * len(LENGTH_EDGES_NT)
    step["peak_memory"] = {"rss_bytes": 3 << 30, "anonymous_bytes": 5 << 29}
    path.write_text(json.dumps(step))
    text = "".join(Page(write_report(folder).read_text()).text)
    assert list(read_numbers(folder).lengths) == [AS_READ, ACCEPTED, UNIQUE, SAMPLED]
    assert "2.50" in text
    assert "3.00" in text
    shutil.rmtree(folder / "steps")
    text = "".join(Page(write_report(folder).read_text()).text)
    assert "was deleted" in text


def test_a_weighted_epoch_is_a_stage_of_its_own(tiny):
    def state(nt_of_epoch):
        types = {
            "x": {
                "epoch_sequence_share": 0.25,
                "epoch_nt_share": nt_of_epoch,
                "clusters_nt_share": 0.5,
            }
        }
        write_manifest(tiny, {**read_manifest(tiny), "composition": {"types": types}})
        return [composition.stage for composition in read_numbers(tiny).compositions]

    assert state(0.5) == [UNIQUE, SAMPLED]
    assert state(0.75) == [UNIQUE, SAMPLED, WEIGHTED]
    assert write_report(tiny).is_file()


def test_pictures_stay_within_their_frame(tiny):
    many = [
        [(f"r{n}", "ACGU" * 5 + "A" * n, f"a type of RNA with a very long name {n}")]
        for n in range(30)
    ]
    folder = write_tiny_data(tiny.parent / "many", train=many, validation=VALIDATION)
    for data in (tiny, folder):
        for drawing in draw_all(read_numbers(data)):
            for shape in drawing.shapes:
                match shape:
                    case Bar():
                        corners = [
                            (shape.x, shape.y),
                            (shape.x + shape.width, shape.y + shape.height),
                        ]
                    case Line():
                        corners = shape.points
                    case Label():
                        corners = [(shape.x, shape.y)]
                for x, y in corners:
                    assert 0 <= x <= drawing.width, (drawing.name, shape)
                    assert 0 <= y <= drawing.height, (drawing.name, shape)
                    assert math.isfinite(x + y)


def test_one_cluster_of_one_length_is_drawn(tmp_path):
    folder = write_tiny_data(tmp_path / "one", train=[TRAIN[1]], validation=VALIDATION)
    assert write_report(folder).is_file()


def test_svg_and_png_show_the_same(tmp_path):
    shapes = (
        Bar(x=10, y=20, width=30, height=10, colour="one", title="a < b"),
        Line(points=((0, 50), (99, 50)), colour="four"),
        Line(points=((0, 60), (99, 60)), colour="two", is_dashed=True),
        Label(x=50, y=90, text="A & B", anchor="middle"),
    )
    drawing = Drawing(name="d", title="t", width=100, height=100, shapes=shapes)
    svg = format_svg(drawing)
    assert "a &lt; b" in svg
    assert "A &amp; B" in svg
    assert svg.count("var(--") == 4
    write_png(drawing, tmp_path / "d.png")
    image = np.asarray(Image.open(tmp_path / "d.png").convert("RGB"))
    assert image.shape == (200, 200, 3)

    def is_colour(name):
        red, green, blue = (int(LIGHT[name][i : i + 2], 16) for i in (1, 3, 5))
        return (image == (red, green, blue)).all(axis=-1)

    rows, columns = np.nonzero(is_colour("one"))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (40, 59, 20, 79)
    assert is_colour("four")[100, 5:190].all()
    dashed = is_colour("two")[120]
    assert 0.4 < dashed.mean() < 0.7
    assert is_colour("text")[150:190].any()


@pytest.mark.skipif(not PROC.joinpath("self", "status").exists(), reason="needs /proc")
def test_memory_of_a_while_and_not_of_what_was_before():
    size = 200 << 20
    before = np.ones(2 * size, np.uint8)
    assert before.sum(dtype=np.int64) == 2 * size
    del before
    with measure_peak_memory() as base:
        pass
    with measure_peak_memory() as peak:
        block = np.ones(size, np.uint8)
        time.sleep(0.4)
        del block
    assert base.anonymous_bytes is not None
    assert peak.anonymous_bytes is not None
    assert peak.rss_bytes is not None
    grown = peak.anonymous_bytes - base.anonymous_bytes
    assert 0.9 * size < grown < 1.5 * size
    assert peak.rss_bytes >= peak.anonymous_bytes
    assert "peak-memory" not in {thread.name for thread in threading.enumerate()}
