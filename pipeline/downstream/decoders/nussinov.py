"""The nested pairs of greatest total weight: Nussinov's dynamic programme, a row at a time.

Shape suffixes: L nucleotides of one RNA, C candidate partners of one base. A digit adds: best_L1L1
is (L + 1, L + 1).
"""

import numpy as np
from numpy.typing import NDArray


def nest_pairs(weights_LL: NDArray[np.floating]) -> NDArray[np.int64]:
    """Pairs (P, 2), ordered by i < j, that do not cross and whose weights sum to the most.

    The strict upper triangle counts; an entry of 0 or less is no candidate. Among equals a base
    stays unpaired if it can, and else takes its first partner.

    Row i needs only rows below it, and of those only the ones that start behind a candidate
    partner: N(i, j) = max(N(i+1, j), max_k w(i, k) + N(i+1, k-1) + N(k+1, j)). So a row is one
    maximum over C x L numbers, and few candidates cost little; diagonals would not know of them.
    """
    length = len(weights_LL)
    weights_LL = np.asarray(weights_LL, np.float64)
    partners = [i + 1 + np.flatnonzero(weights_LL[i, i + 1 :] > 0) for i in range(length)]
    # best_L1L1[i, j] is the best of bases i .. j-1; a span that ends before it starts is none.
    best_L1L1 = np.where(np.tri(length + 1, k=-1, dtype=bool), -np.inf, 0.0)
    closed: list[NDArray[np.float64]] = [np.empty(0)] * length
    for i in range(length - 1, -1, -1):
        partner_C = partners[i]
        # Best of bases i .. partner where the two pair.
        closed[i] = weights_LL[i, partner_C] + best_L1L1[i + 1, partner_C]
        row_L1 = best_L1L1[i + 1].copy()
        row_L1[i] = 0.0
        if partner_C.size:
            rest_CL1 = best_L1L1[partner_C + 1]
            rest_CL1 += closed[i][:, None]
            np.maximum(row_L1, rest_CL1.max(axis=0), out=row_L1)
        best_L1L1[i] = row_L1
    return _trace_back(best_L1L1, partners, closed)


def _trace_back(
    best_L1L1: NDArray[np.float64],
    partners: list[NDArray[np.int64]],
    closed: list[NDArray[np.float64]],
) -> NDArray[np.int64]:
    """Pairs behind the best of all; sums are compared as they were made, so they meet exactly."""
    pairs: list[tuple[int, int]] = []
    spans = [(0, len(partners))]
    while spans:
        i, end = spans.pop()
        while i < end and best_L1L1[i, end] == best_L1L1[i + 1, end]:
            i += 1
        if i >= end:
            continue
        total_C = closed[i] + best_L1L1[partners[i] + 1, end]
        k = int(partners[i][np.flatnonzero(total_C == best_L1L1[i, end])[0]])
        pairs.append((i, k))
        spans += [(i + 1, k), (k + 1, end)]
    return np.array(sorted(pairs), np.int64).reshape(-1, 2)
