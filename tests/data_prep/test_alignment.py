import random

import numpy as np
import pytest

from openrinalmo.data_prep import alignment
from openrinalmo.data_prep.alignment import Criteria, align_pairs
from support.sequences import draw_sequence, mutate


def align_slowly(query, target):
    """Fill Gotoh's three tables cell by cell; each cell is (score, matches, pairs, q, t)."""
    none = (-(10**9), 0, 0, 0, 0)
    zero = (0, 0, 0, 0, 0)
    rows, columns = len(query) + 1, len(target) + 1
    best: list[list[tuple[int, ...]]] = [[zero] * columns for _ in range(rows)]
    along: list[list[tuple[int, ...]]] = [[none] * columns for _ in range(rows)]
    down: list[list[tuple[int, ...]]] = [[none] * columns for _ in range(rows)]

    def add(cell, *step):
        return tuple(a + b for a, b in zip(cell, step, strict=True))

    top = zero
    for i in range(1, rows):
        for j in range(1, columns):
            along[i][j] = max(
                add(best[i][j - 1], -5, 0, 0, 0, 1), add(along[i][j - 1], -2, 0, 0, 0, 1)
            )
            down[i][j] = max(
                add(best[i - 1][j], -5, 0, 0, 1, 0), add(down[i - 1][j], -2, 0, 0, 1, 0)
            )
            same = query[i - 1] == target[j - 1] and query[i - 1] in "ACGU"
            step = (2, 1, 1, 1, 1) if same else (-3, 0, 1, 1, 1)
            best[i][j] = max(zero, add(best[i - 1][j - 1], *step), along[i][j], down[i][j])
            top = max(top, best[i][j])
    return top


def test_equals_filling_the_tables_cell_by_cell():
    rng = random.Random(0)
    pairs = [("A", "A"), ("A", "C"), ("NNNN", "NNNN"), ("ACGU" * 5, "ACGU" * 20)]
    for _ in range(60):
        query = draw_sequence(rng, rng.randint(1, 60))
        target = mutate(rng, query, identity=rng.uniform(0.6, 1))
        start, stop = sorted(rng.choices(range(len(target) + 1), k=2))
        pairs.append(
            (query, target[:start] + draw_sequence(rng, rng.randint(0, 4)) + target[stop:] or "A")
        )
    found = align_pairs(
        [np.frombuffer(query.encode(), np.uint8) for query, _ in pairs],
        [np.frombuffer(target.encode(), np.uint8) for _, target in pairs],
    )
    for index, (query, target) in enumerate(pairs):
        _, matches, aligned, query_nt, target_nt = align_slowly(query, target)
        expected = (query_nt, target_nt, query_nt + target_nt - aligned, matches)
        assert tuple(int(column[index]) for column in found) == expected


def test_batches_change_nothing(monkeypatch):
    rng = random.Random(1)
    queries = [np.frombuffer(draw_sequence(rng, n).encode(), np.uint8) for n in range(5, 60)]
    together = align_pairs(queries, queries[::-1])
    monkeypatch.setattr(alignment, "_BATCH_CELLS", 1)
    for ours, theirs in zip(align_pairs(queries, queries[::-1]), together, strict=True):
        assert np.array_equal(ours, theirs)


def test_refuses_what_the_counts_cannot_say():
    long = np.full(4_096, ord("A"), np.uint8)
    with pytest.raises(ValueError, match="at most 4095 nt, got 4096"):
        align_pairs([long], [long])


@pytest.mark.parametrize(
    ("cov_mode", "expected"),
    [(0, False), (1, True), (2, False), (3, False), (4, True), (5, False)],
)
def test_coverage_modes(cov_mode, expected):
    """A member of 50 letters lies wholly in a representative of 100."""
    criteria = Criteria(min_seq_id=0.7, coverage=0.8, cov_mode=cov_mode)
    assert criteria.are_covered(50, 50, 100, 50) == expected
