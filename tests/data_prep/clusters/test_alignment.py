import random

import numpy as np
import pytest

from openrinalmo.data_prep.clusters import alignment
from openrinalmo.data_prep.clusters.alignment import Criteria, align_pairs
from support.sequences import draw_sequence, mutate


def align_slowly(query, target):
    """Fill Gotoh's three tables cell by cell and walk back: letters spanned, columns, matches."""
    none = -(10**9)
    rows, columns = len(query) + 1, len(target) + 1
    best, along, down = ([[edge] * columns for _ in range(rows)] for edge in (0, none, none))

    def compare(i, j):
        return query[i - 1] == target[j - 1] and query[i - 1] in "ACGU"

    for i in range(1, rows):
        for j in range(1, columns):
            along[i][j] = max(best[i][j - 1] - 5, along[i][j - 1] - 2)
            down[i][j] = max(best[i - 1][j] - 5, down[i - 1][j] - 2)
            pair = best[i - 1][j - 1] + (2 if compare(i, j) else -3)
            best[i][j] = max(0, pair, along[i][j], down[i][j])
    cells = [(i, j) for i in range(rows) for j in range(columns)]
    end = i, j = min(cells, key=lambda cell: (-best[cell[0]][cell[1]], -cell[0], -cell[1]))
    aligned = matches = 0
    while i and j and (best[i][j] > 0 or best[i - 1][j - 1] == 3):
        score = best[i][j]
        steps = [(1, 1, 2 if compare(i, j) else -3)]
        for gap in range(1, rows + columns):
            steps += [(0, gap, -3 - 2 * gap)] * (gap < j) + [(gap, 0, -3 - 2 * gap)] * (gap < i)
        up, left, _ = next(s for s in steps if best[i - s[0]][j - s[1]] + s[2] == score)
        matches += bool(up and left and compare(i, j))
        aligned += max(up, left)
        i, j = i - up, j - left
    return end[0] - i, end[1] - j, aligned, matches


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
        expected = align_slowly(query, target)
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


@pytest.mark.parametrize("cov_mode", range(6))
def test_lengths_that_allow_nothing(cov_mode):
    """Against every number of matches and of letters that an alignment may hold."""
    criteria = Criteria(min_seq_id=0.7, coverage=0.8, cov_mode=cov_mode)
    found = set()
    for head in range(1, 14):
        for member in range(1, 14):
            expected = any(
                criteria.are_identical(matches, max(in_head, in_member))
                and criteria.are_covered(in_head, in_member, head, member)
                for in_head in range(1, head + 1)
                for in_member in range(1, member + 1)
                for matches in range(1, min(in_head, in_member) + 1)
            )
            possible = criteria.can_be_met(np.array([head]), np.array([member]))[0]
            assert possible >= expected
            found |= {(bool(possible), bool(expected))}
    assert found <= {(True, True), (False, False), (True, False)}
    assert {(True, True), (False, False)} <= found


@pytest.mark.parametrize(
    ("cov_mode", "expected"),
    [(0, False), (1, True), (2, False), (3, False), (4, True), (5, False)],
)
def test_coverage_modes(cov_mode, expected):
    """A member of 50 letters lies wholly in a representative of 100."""
    criteria = Criteria(min_seq_id=0.7, coverage=0.8, cov_mode=cov_mode)
    assert criteria.are_covered(50, 50, 100, 50) == expected
