"""Members that align to their representative only in reverse: found and split off.

Linclust's k-mers are canonical, so that an RNA and its antisense meet in one cluster. Nearly every
pair is decided by counting the 8-mers that the member, and its reverse complement, share with the
representative. Where the member itself does not clearly share more, both strands are aligned: one
that meets the criteria forward stays; else it goes if it meets them in reverse or shares clearly
more 8-mers in reverse.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from .alignment import Criteria, align_members
from .kmers import build_reverse_complements, number_kmers
from .sequence_file import SequenceFile

MAX_DOUBTFUL_NT = 1_000
"""Longer pairs are never aligned: their counts decide, and alignments cost letters squared."""
JOIN_K = 14
JOIN_CANDIDATES = 3
JOIN_MAX_COPIES = 256
"""A 14-mer that lone sequences have more often tells nothing: by poly-A tails all are pairs."""
_K = 8
_CHUNK_PAIRS = 256
_CHUNK_LETTERS = 1 << 18
_JOIN_LETTERS = 1 << 16
_JOIN_PAIRS = 1 << 20
_FILTER_K = 12
_FILTER_MASK = np.uint32(4**_FILTER_K - 1)
_BIT = np.left_shift(1, np.arange(8)).astype(np.uint8)
_REVERSE = build_reverse_complements(_K)


def find_antisense(
    file: SequenceFile,
    members: NDArray[np.int64],
    heads: NDArray[np.int64],
    criteria: Criteria,
) -> tuple[NDArray[np.bool_], int]:
    """Return which members match their representative (`heads`) only in reverse.

    Beside it, how many were aligned.
    """
    order = np.lexsort((members, heads))  # a representative's k-mers are looked up once
    members, heads = members[order], heads[order]
    difference = np.empty(len(members), np.int64)
    total = np.empty(len(members), np.int64)
    with tqdm(total=len(members), desc="strands", unit="member", disable=None) as bar:
        for part in _iter_chunks(file, members, heads):
            forward, reverse = _count_shared(file, members[part], heads[part])
            difference[part], total[part] = forward - reverse, forward + reverse
            bar.update(part.stop - part.start)
    longest = np.maximum(file.lengths[members], file.lengths[heads])
    # Chance k-mers fall on both strands alike: two standard deviations of a fair coin, and four.
    margin = 4 + 2 * np.sqrt(total)
    is_open = (difference < margin) & (longest <= MAX_DOUBTFUL_NT)
    is_antisense = np.where(is_open, difference <= -margin, difference < 0)
    doubtful = np.flatnonzero(is_open)
    is_forward = _meet(file, members[doubtful], heads[doubtful], criteria)
    is_antisense[doubtful[is_forward]] = False  # a hairpin is near its own reverse complement
    failed = doubtful[~is_forward & ~is_antisense[doubtful]]
    is_antisense[failed] = _meet(file, members[failed], heads[failed], criteria, reverse=True)
    unsorted = np.empty_like(is_antisense)
    unsorted[order] = is_antisense
    return unsorted, len(doubtful)


def find_forward_representatives(
    file: SequenceFile,
    lone: NDArray[np.int64],
    representatives: NDArray[np.int64],
    criteria: Criteria,
) -> NDArray[np.int64]:
    """Return for each lone sequence a representative that it matches forward, or -1.

    Candidates share the most 14-mers with it, those left out that lone sequences have more than
    `JOIN_MAX_COPIES` times; of equals the first. Anything longer than 1,000 nt is left alone.
    """
    found = np.full(len(lone), -1)
    short = np.flatnonzero(file.lengths[lone] <= MAX_DOUBTFUL_NT)
    heads = representatives[file.lengths[representatives] <= MAX_DOUBTFUL_NT]
    sequence, head = _find_candidates(file, lone[short], heads)
    met = _meet(file, lone[short][sequence], heads[head], criteria)
    first, place = np.unique(sequence[met], return_index=True)
    found[short[first]] = heads[head[met][place]]
    return found


def split_antisense(
    file: SequenceFile,
    representatives: NDArray[np.int64],
    criteria: Criteria,
    cluster_some: Callable[[NDArray[np.int64]], NDArray[np.int64]],
    is_forward: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Split antisense members off; `cluster_some` returns representatives among those it is given.

    `is_forward` says which are known to match their representative forward: they stay.
    What is split off clusters among itself, again without antisense members; who stays alone there
    joins another cluster whose representative it matches forward, where there is one.
    """
    representatives = representatives.copy()
    old_heads = np.unique(representatives)
    is_open = representatives != np.arange(len(representatives))
    rest = np.flatnonzero(is_open if is_forward is None else is_open & ~is_forward)
    antisense, num_aligned = rest[:0], 0
    while len(rest):
        is_antisense, aligned = find_antisense(file, rest, representatives[rest], criteria)
        num_aligned += aligned
        rest = rest[is_antisense]
        antisense = np.union1d(antisense, rest)
        if len(rest):
            representatives[rest] = cluster_some(rest)
            rest = rest[representatives[rest] != rest]
    heads, sizes = np.unique(representatives[antisense], return_counts=True)
    alone = heads[sizes == 1]
    found = find_forward_representatives(file, alone, old_heads, criteria)
    representatives[alone[found >= 0]] = found[found >= 0]
    return representatives, {
        "antisense_members": len(antisense),
        "antisense_clusters": len(heads) - int(np.count_nonzero(found >= 0)),
        "antisense_joined_others": int(np.count_nonzero(found >= 0)),
        "aligned_for_strand": num_aligned,
    }


def _iter_chunks(
    file: SequenceFile, members: NDArray[np.int64], heads: NDArray[np.int64]
) -> Iterator[slice]:
    """Cut pairs into parts whose table of k-mers stays in the processor's cache."""
    letters = np.cumsum(file.lengths[members].astype(np.int64) + file.lengths[heads])
    start = 0
    while start < len(members):
        before = letters[start - 1] if start else 0
        stop = int(np.searchsorted(letters, before + _CHUNK_LETTERS, side="right"))
        stop = min(max(stop, start + 1), start + _CHUNK_PAIRS)
        yield slice(start, stop)
        start = stop


def _count_shared(
    file: SequenceFile, members: NDArray[np.int64], heads: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the members' k-mers, and those of their reverse complements, in the heads."""
    unique, slots = np.unique(heads, return_inverse=True)
    codes, owners = _gather_kmers(file, unique, _K)
    is_there = np.zeros(len(unique) << 2 * _K, bool)
    is_there[owners << 2 * _K | codes] = True
    codes, owners = _gather_kmers(file, members, _K)
    tables = slots[owners] << 2 * _K
    forward = is_there[tables | codes]
    reverse = is_there[tables | _REVERSE[codes]]
    count = len(members)
    return (
        np.bincount(owners[forward], minlength=count),
        np.bincount(owners[reverse], minlength=count),
    )


def _gather_kmers(
    file: SequenceFile, numbers: NDArray[np.int64], k: int
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Return the k-mers of some records and the place of each one's record in `numbers`."""
    letters, ends = file.gather(numbers)
    codes, is_valid = number_kmers(letters, k)
    owners = np.repeat(np.arange(len(numbers)), np.diff(ends, prepend=0))[: len(codes)]
    return codes[is_valid], owners[is_valid]


def _find_candidates(
    file: SequenceFile, lone: NDArray[np.int64], heads: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return pairs of places in `lone` and `heads`: for each sequence, its best heads first."""
    codes, owners = _gather_kmers(file, lone, JOIN_K)
    order = np.argsort(codes, kind="stable")
    owners = owners[order]
    codes, first, copies = np.unique(codes[order], return_index=True, return_counts=True)
    is_telling = copies <= JOIN_MAX_COPIES
    codes, first, copies = codes[is_telling], first[is_telling], copies[is_telling]
    ends, whole = _set_bits(codes & _FILTER_MASK, 4**_FILTER_K), _set_bits(codes, 4**JOIN_K)
    place_of = np.full(len(file), -1)
    place_of[heads] = np.arange(len(heads))
    best, kept, waiting = np.empty((3, 0), np.int64), [], 0
    start = 0
    while start < len(file) and len(codes):
        # Records as they lie in the file, others among them: to gather letters takes longer.
        before = file.starts[start]
        stop = max(start + 1, int(np.searchsorted(file.starts, before + _JOIN_LETTERS)))
        end = file.starts[stop - 1] + file.lengths[stop - 1]
        seen, is_valid = number_kmers(file.letters[before:end], JOIN_K)
        hits = np.flatnonzero(_has_bits(ends, seen & _FILTER_MASK) & is_valid)
        hits = hits[_has_bits(whole, seen[hits])]
        starts = file.starts[start:stop]
        places = place_of[start + np.searchsorted(starts, before + hits, side="right") - 1]
        seen, places = seen[hits[places >= 0]], places[places >= 0]
        order = np.argsort(seen)  # a search in order stays in the cache: a third of the time
        at, places = np.searchsorted(codes, seen[order]), places[order]
        times = copies[at]
        hits = np.repeat(first[at] - np.cumsum(times) + times, times) + np.arange(times.sum())
        keys = owners[hits] * len(heads) + np.repeat(places, times)
        keys, counts = np.unique(keys, return_counts=True)
        sequence, head = np.divmod(keys, len(heads))
        kept.append(_keep_best([np.stack([sequence, -counts, head])]))
        waiting += kept[-1].shape[1]
        if waiting > max(_JOIN_PAIRS, best.shape[1]):
            best, kept, waiting = _keep_best([best, *kept]), [], 0
        start = stop
    sequence, _, head = _keep_best([best, *kept])
    return sequence, head


def _set_bits(places: NDArray[np.uint32], size: int) -> NDArray[np.uint8]:
    """Return `size` bits, eight a byte, of which those at `places` are set."""
    bits = np.zeros(size // 8, np.uint8)
    np.bitwise_or.at(bits, places >> np.uint32(3), _BIT[places & np.uint32(7)])
    return bits


def _has_bits(bits: NDArray[np.uint8], places: NDArray[np.uint32]) -> NDArray[np.bool_]:
    shifts = (places & np.uint32(7)).astype(np.uint8)
    return (bits[places >> np.uint32(3)] >> shifts & np.uint8(1)).view(bool)


def _keep_best(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return the rows sequence, count below zero, head of each sequence's best, best first."""
    pairs = np.concatenate(parts, axis=1)
    sequence, negative_count, head = pairs
    pairs = pairs[:, np.lexsort((head, negative_count, sequence))]
    rank = np.arange(pairs.shape[1]) - np.searchsorted(pairs[0], pairs[0])
    return pairs[:, rank < JOIN_CANDIDATES]


def _meet(
    file: SequenceFile,
    members: NDArray[np.int64],
    heads: NDArray[np.int64],
    criteria: Criteria,
    *,
    reverse: bool = False,
) -> NDArray[np.bool_]:
    lengths = file.lengths.astype(np.int64)
    is_met = criteria.can_be_met(lengths[heads], lengths[members])
    identical, covered = align_members(
        file, members[is_met], heads[is_met], criteria, reverse=reverse
    )
    is_met[is_met] = identical & covered
    return is_met
