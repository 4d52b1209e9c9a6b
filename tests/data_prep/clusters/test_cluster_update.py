import hashlib
import random

import numpy as np
import pytest

from openrinalmo.data_prep.clusters.cluster_update import (
    OldClusters,
    find_rows,
    name_clusters,
    update_clusters,
)
from openrinalmo.data_prep.clusters.clustering import cluster_sequences
from openrinalmo.data_prep.mmseqs import ClusterConfig
from support.mmseqs import requires_mmseqs
from support.sequences import draw_sequence, mutate

CONFIG = ClusterConfig(threads=1)


def hash_all(sequences):
    digests = b"".join(hashlib.md5(sequence).digest() for sequence in sequences)
    return np.frombuffer(digests, np.uint8).reshape(-1, 16)


def order(sequences):
    """Order sequences as the step before does: by digest."""
    return sorted({s.encode() for s in sequences}, key=lambda s: hashlib.md5(s).digest())


def cluster(folder, sequences):
    folder.mkdir()
    representatives, _ = cluster_sequences(iter(sequences), folder, CONFIG)
    digests = hash_all(sequences)
    names = name_clusters(digests, representatives)
    return OldClusters(keys=digests, representatives=representatives, names=names)


def update(folder, sequences, old):
    folder.mkdir()
    digests = hash_all(sequences)
    return update_clusters(iter(sequences), digests, folder, CONFIG, old)


def name_all(sequences, representatives, names):
    clusters = np.unique(representatives, return_inverse=True)[1]
    return {s: bytes(names[c]) for s, c in zip(sequences, clusters, strict=True)}


@pytest.fixture(scope="module")
def families():
    rng = random.Random(0)
    long = [[draw_sequence(rng, 200)] for _ in range(12)]
    for family in long:
        family += [mutate(rng, family[0], identity=0.95) for _ in range(5)]
    short = [[draw_sequence(rng, 22)] for _ in range(4)]
    for family in short:
        family += [family[0][1:], family[0][:-1], family[0][2:]]
    return long + short


@requires_mmseqs
def test_old_clusters_keep_name_and_members(tmp_path, families):
    before = order(s for family in families[:10] + families[12:15] for s in family[:3])
    after = order(s for family in families for s in family)
    old = cluster(tmp_path / "old", before)
    names_before = name_all(before, old.representatives, old.names)
    representatives, names, report = update(tmp_path / "new", after, old)
    names_after = name_all(after, representatives, names)
    assert {s: names_after[s] for s in before} == names_before
    for family in families:
        assert len({names_after[s.encode()] for s in family}) == 1
    assert len(set(names_after.values())) == len(families)
    assert report["kept_sequences"] == len(before)
    assert report["new_sequences"] == len(after) - len(before)
    assert report["joined_old_clusters"] == 10 * 3 + 3
    assert report["new_clusters"] == 3
    assert report["removed_sequences"] == 0
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["mmseqs.log"]


@requires_mmseqs
def test_nothing_new_changes_nothing(tmp_path, families):
    sequences = order(s for family in families for s in family)
    old = cluster(tmp_path / "old", sequences)
    representatives, names, report = update(tmp_path / "new", sequences, old)
    assert np.array_equal(representatives, old.representatives)
    assert np.array_equal(names, old.names)
    assert report["new_clusters"] == report["removed_sequences"] == 0


@requires_mmseqs
def test_a_name_outlives_its_founder(tmp_path, families):
    before = order(s for family in families for s in family)
    old = cluster(tmp_path / "old", before)
    names_before = name_all(before, old.representatives, old.names)
    founders = {before[place] for place in np.unique(old.representatives)}
    lost = {s.encode() for s in families[3]}
    after = [s for s in before if s not in founders | lost]
    representatives, names, report = update(tmp_path / "new", after, old)
    names_after = name_all(after, representatives, names)
    assert names_after == {s: names_before[s] for s in after}
    assert report["removed_clusters"] == 1
    assert report["representatives_replaced"] == len(families) - 1
    assert report["new_clusters"] == 0
    for name in set(names_after.values()):
        members = [s for s in after if names_after[s] == name]
        head = after[representatives[after.index(members[0])]]
        assert head == min(members, key=lambda s: (-len(s), after.index(s)))


@requires_mmseqs
def test_a_founder_that_is_back_goes_to_its_cluster_though_it_meets_no_criteria(tmp_path, families):
    founder, member, other = (family[0].encode() for family in families[:3])
    old = OldClusters(
        keys=hash_all([member, other]),
        representatives=np.arange(2),
        names=hash_all([founder, other]),
    )
    after = order(s.decode() for s in (founder, member, other))
    representatives, names, report = update(tmp_path / "new", after, old)
    names_after = name_all(after, representatives, names)
    assert names_after[founder] == names_after[member] == bytes(hash_all([founder])[0])
    assert len(names) == len({bytes(name) for name in names}) == 2
    assert report["new_clusters"] == 0


@requires_mmseqs
def test_antisense_of_an_old_cluster_founds_its_own(tmp_path, families):
    before = order(families[0])
    complement = str.maketrans("ACGU", "UGCA")
    antisense = [s[::-1].translate(complement) for s in families[0]]
    old = cluster(tmp_path / "old", before)
    after = order([*families[0], *antisense])
    representatives, names, report = update(tmp_path / "new", after, old)
    names_after = name_all(after, representatives, names)
    assert report["new_clusters"] == 1
    assert len({names_after[s.encode()] for s in antisense}) == 1
    assert names_after[antisense[0].encode()] != names_after[families[0][0].encode()]


def test_rows_are_found_by_all_their_bytes():
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 2, (300, 16), dtype=np.uint8)
    rows[:, 1:14] = 0  # most share their first half
    rows = rng.permutation(np.unique(rows, axis=0))
    wanted = rng.integers(0, 3, (50, 16), dtype=np.uint8)
    wanted[:, 1:14] = 0
    places = {bytes(row): place for place, row in enumerate(rows)}
    assert find_rows(rows, wanted).tolist() == [places.get(bytes(row), -1) for row in wanted]


def test_refuses_old_clusters_that_do_not_fit():
    with pytest.raises(ValueError, match="2 keys, 2 representatives, 1 names of 2 clusters"):
        OldClusters(
            keys=np.zeros((2, 16), np.uint8),
            representatives=np.arange(2),
            names=np.zeros((1, 16), np.uint8),
        )
