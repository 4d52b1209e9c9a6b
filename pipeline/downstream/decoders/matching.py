"""The pairs of greatest total weight, each base in one at most: pseudoknots of any kind may form.

Shape suffixes: L nucleotides of one RNA, P pairs.
"""

import numpy as np
import rustworkx
from numpy.typing import NDArray

WEIGHT_STEP = 2.0**-40
"""rustworkx matches on integers: weights are rounded to multiples of this."""


def match_pairs(weights_LL: NDArray[np.floating]) -> NDArray[np.int64]:
    """Pairs (P, 2), ordered by i < j, of a maximum-weight matching (Edmonds' blossoms).

    The strict upper triangle counts; an entry of 0 or less is no candidate.
    """
    i, j = np.nonzero(np.triu(weights_LL > 0, 1))
    steps = np.rint(weights_LL[i, j].astype(np.float64) / WEIGHT_STEP).astype(np.int64)
    graph = rustworkx.PyGraph(multigraph=False)
    graph.add_nodes_from(range(len(weights_LL)))
    edges = zip(i.tolist(), j.tolist(), steps.tolist(), strict=True)
    graph.extend_from_weighted_edge_list(list(edges))
    matched = rustworkx.max_weight_matching(graph, weight_fn=int)
    return np.array(sorted(sorted(pair) for pair in matched), np.int64).reshape(-1, 2)
