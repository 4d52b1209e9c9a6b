"""Every structure of a few bases, by trying all: the oracle of decoders."""

from collections.abc import Iterator

Pair = tuple[int, int]


def iter_matchings(candidates: list[Pair]) -> Iterator[tuple[Pair, ...]]:
    """Every set of candidate pairs in which each base is in one at most."""
    if not candidates:
        yield ()
        return
    (i, j), rest = candidates[0], candidates[1:]
    yield from iter_matchings(rest)
    for others in iter_matchings([pair for pair in rest if not {i, j} & set(pair)]):
        yield ((i, j), *others)


def iter_nested(candidates: list[Pair]) -> Iterator[tuple[Pair, ...]]:
    """Those of them in which no two pairs cross."""
    for pairs in iter_matchings(candidates):
        if not any(a < i < b < j for a, b in pairs for i, j in pairs):
            yield pairs
