"""Clusters verified on a sample: members aligned to their representative, without MMseqs2."""

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .alignment import MAX_ALIGNED_NT, Criteria, align_members
from .sequence_file import SequenceFile

logger = logging.getLogger(__name__)

LEAST_SHARE, LEAST_MEMBERS = 0.8, 50
"""Share that meets both criteria, below which so many members are warned of; sound clusters of
linclust have 0.94 and more."""


def check_sample(
    file: SequenceFile,
    representatives: NDArray[np.int64],
    criteria: Criteria,
    size: int,
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Align `size` random members to their representatives; return how many meet the criteria.

    Linclust joins in two rounds, so that a member may miss its final representative. Pairs longer
    than 4,095 nt are counted and not aligned.
    """
    members = np.flatnonzero(representatives != np.arange(len(representatives)))
    if len(members) > size:
        members = np.random.default_rng(seed).choice(members, size, replace=False)
    heads = representatives[members]
    is_short = np.maximum(file.lengths[members], file.lengths[heads]) <= MAX_ALIGNED_NT
    members, heads = members[is_short], heads[is_short]
    is_identical, is_covered = align_members(file, members, heads, criteria)
    counts = {
        "members": len(members),
        "too_long": int(np.count_nonzero(~is_short)),
        "meet_identity": int(np.count_nonzero(is_identical)),
        "meet_coverage": int(np.count_nonzero(is_covered)),
        "meet_both": int(np.count_nonzero(is_identical & is_covered)),
    }
    if len(members):
        share = counts["meet_both"] / len(members)
        is_low = share < LEAST_SHARE and len(members) >= LEAST_MEMBERS
        logger.log(
            logging.WARNING if is_low else logging.INFO,
            "clusters: of %d random members, %.1f %% meet identity and coverage to their "
            "representative%s",
            len(members),
            100 * share,
            ", fewer than sound clusters have: look at some with `make look WHAT='cluster …'`, "
            "and do not use them unless you know why"
            if is_low
            else "",
        )
    return counts
