import json

import numpy as np
import pytest

from openrinalmo.data_prep.composition import (
    TypeCounts,
    TypeWeights,
    count_types,
    describe_composition,
    plan_sequences,
    read_weights,
)
from openrinalmo.data_prep.shards import open_split, read_manifest, write_manifest
from support.typed_corpora import CLUSTERS_BY_TYPE, make_typed_corpus

NAMES = ["a", "b", "c", "d", "e", "f", "g", "h"]


def plan(clusters, nt_each=None, *, names=NAMES, **weights):
    clusters = np.array(clusters)
    nt = clusters * np.array([100.0] * len(clusters) if nt_each is None else nt_each)
    counts = TypeCounts(clusters, nt)
    return plan_sequences(counts, names[: len(clusters)], TypeWeights(**weights)).tolist()


@pytest.mark.parametrize(
    ("clusters", "weights", "expected"),
    [
        ([90, 9, 0, 1], {}, [90, 9, 0, 1]),
        ([90, 9, 0, 1], {"max_repeats": 1}, [90, 9, 0, 1]),
        ([64, 16, 4], {"type_temperature": 0.5}, [48, 24, 12]),
        ([64, 16, 4], {"type_temperature": 0.5, "max_repeats": 2}, [48, 24, 8]),
        ([64, 16, 4], {"type_temperature": 0.5, "max_repeats": 1}, [48, 16, 4]),
        ([80, 9, 1], {"type_temperature": 0.0, "max_repeats": 255}, [30, 30, 30]),
        ([80, 9, 1], {"type_temperature": 0.0}, [30, 30, 4]),
        ([80, 9, 0, 1], {"type_temperature": 0.0}, [30, 30, 0, 4]),
        ([5], {"type_temperature": 0.0}, [5]),
    ],
)
def test_temperature_shares_out_as_many_sequences_as_there_are_clusters(
    clusters, weights, expected
):
    assert plan(clusters, **weights) == expected


@pytest.mark.parametrize(
    ("clusters", "nt_each", "weights", "expected"),
    [
        ([80, 20], None, {"type_caps": "a=0.5"}, [20, 20]),
        ([80, 20], [200, 100], {"type_caps": "a=0.5"}, [10, 20]),
        ([80, 20], None, {"type_caps": "a=0.8"}, [80, 20]),
        ([80, 20], None, {"type_caps": "b=0.9, a=1"}, [80, 20]),
        # b is under its cap until a is cut: 15 + 25 + 10 of 50
        ([60, 30, 10], None, {"type_caps": "a=0.3,b=0.5"}, [15, 25, 10]),
        ([60, 30, 10], None, {"type_caps": "b=0.5,a=0.3"}, [15, 25, 10]),
        ([80, 20], None, {"type_caps": "a=0.5,b=0.5"}, [20, 20]),
        ([80, 20], None, {"type_caps": "a=0.4,b=0.9"}, [13, 20]),
        ([70, 20, 10], None, {"type_caps": "a=0.7,b=0.2,c=0.1"}, [70, 20, 10]),
        ([80, 0, 20], None, {"type_caps": "a=0.5,b=0.1"}, [20, 0, 20]),
        ([1000, 1], None, {"type_caps": "a=0.0001"}, [1, 1]),
        # shared out as 48, 24, 12 sequences; of 36 that are left a gets as many again
        ([64, 16, 4], None, {"type_temperature": 0.5, "type_caps": "a=0.5"}, [36, 24, 12]),
    ],
)
def test_caps_take_away_and_give_to_nobody(clusters, nt_each, weights, expected):
    assert plan(clusters, nt_each, **weights) == expected


def cap_by_bisection(nt, caps):
    """The largest total under which no type has more than its share of it."""
    low, high = 0.0, float(nt.sum())
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if np.minimum(nt, caps * middle).sum() >= middle else (low, middle)
        )
    return np.minimum(nt, caps * low)


@pytest.mark.parametrize("case", range(60))
def test_plans_are_those_of_floating_point_and_bisection(case):
    rng = np.random.default_rng(case)
    clusters = rng.integers(1, 10 ** rng.integers(1, 6, 8))
    nt_each = rng.uniform(20, 1000, 8)
    temperature, repeats = float(rng.choice([0, 0.3, 0.7, 1])), int(rng.choice([1, 4, 50]))
    caps = np.where(rng.random(8) < 0.5, rng.uniform(0.02, 0.6, 8).round(3), 1.0)
    caps[rng.integers(8)] = 1.0

    powers = clusters**temperature
    shown = np.minimum(clusters.sum() * powers / powers.sum(), repeats * clusters)
    expected = cap_by_bisection(shown * nt_each, caps) / nt_each
    text = ",".join(f"{n}={c}" for n, c in zip(NAMES, caps, strict=True) if c < 1)
    planned = np.array(
        plan(
            clusters,
            nt_each,
            type_temperature=temperature,
            max_repeats=repeats,
            type_caps=text,
        )
    )
    assert (np.abs(planned - np.maximum(expected, 1)) <= 0.5 + 1e-6 * expected).all()
    assert (planned <= repeats * clusters).all()
    nt = planned * nt_each
    over = (nt - caps * nt.sum()) / nt_each  # in sequences of the type
    slack = 1 + caps * nt_each.sum() / nt_each  # rounding: one of it, and one of each in the total
    assert (over <= slack).all()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"type_temperature": -0.1}, "type_temperature must be 0 to 1, got -0.1"),
        ({"type_temperature": 1.5}, "type_temperature must be 0 to 1, got 1.5"),
        ({"type_temperature": float("nan")}, "type_temperature must be 0 to 1, got nan"),
        ({"max_repeats": 0}, "max_repeats must be 1 to 255, got 0"),
        ({"max_repeats": 256}, "max_repeats must be 1 to 255, got 256"),
        ({"type_caps": "rRNA"}, "as in rRNA=0.2,lncRNA=0.3; got 'rRNA'"),
        ({"type_caps": "=0.2"}, "got '=0.2'"),
        ({"type_caps": "rRNA=0.2,"}, "got ''"),
        ({"type_caps": "a=0.2,a=0.3"}, "each RNA type once with a share, .* got 'a=0.3'"),
        ({"type_caps": "a=x"}, "the share of a is 'x', no number"),
        ({"type_caps": "a=nan"}, "the share of a must be above 0 and at most 1, got nan"),
        ({"type_caps": "a=inf"}, "above 0 and at most 1, got inf"),
        ({"type_caps": "a=0"}, "above 0 .* leave its records out of the data"),
        ({"type_caps": "a=1.1"}, "above 0 and at most 1, got 1.1"),
    ],
)
def test_impossible_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        TypeWeights(**weights)


def test_caps_that_cannot_fill_an_epoch_are_refused_with_the_types_and_their_sum():
    message = "the shares of a, b sum to 0.7, and the data has no other type: raise one"
    with pytest.raises(ValueError, match=message):
        plan([80, 20], type_caps="a=0.4,b=0.3")
    with pytest.raises(ValueError, match="the shares of a sum to 0.9"):
        plan([80, 0], type_caps="a=0.9,b=0.5")


def test_an_unknown_type_is_named_with_the_nearest():
    names = ["SRP_RNA", "lncRNA", "rRNA"]
    with pytest.raises(ValueError, match=r"no RNA type 'rrna'; did you mean 'rRNA'\?"):
        plan([1, 2, 3], names=names, type_caps="rrna=0.2")
    with pytest.raises(ValueError, match=r"no RNA type 'Y'; it has SRP_RNA, lncRNA, rRNA$"):
        plan([1, 2, 3], names=names, type_caps="Y=0.2")


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_types_are_counted_as_one_by_one(monkeypatch, chunk):
    monkeypatch.setattr("openrinalmo.data_prep.composition._CHUNK", chunk)
    starts = np.array([0, 2, 3, 6, 7])
    lengths = np.array([10, 50, 30, 20, 21, 25, 7], np.int32)
    types = np.array([1, 0, 3, 1, 1, 1, 3], np.int32)
    counts = count_types(starts, lengths, types, num_types=4, max_length_nt=24)
    assert counts.clusters.tolist() == [0, 2, 0, 2]
    assert counts.nt.tolist() == [0, (10 + 24) / 2 + (20 + 21 + 24) / 3, 0, 24 + 7]


def test_the_description_is_what_counting_an_epoch_gives(tmp_path):
    split = open_split(make_typed_corpus(tmp_path), "train")
    weights = TypeWeights(type_temperature=0.5, type_caps="rRNA=0.4")
    found = describe_composition(split, weights, max_length_nt=70)
    assert json.loads(json.dumps(found)) == found
    assert found["weights"] == {
        "type_temperature": 0.5,
        "type_caps": "rRNA=0.4",
        "max_repeats": 4,
    }
    types = found["types"]
    assert {name: row["clusters"] for name, row in types.items()} == CLUSTERS_BY_TYPE
    assert found["epoch"]["sequences"] == sum(t["sequences_an_epoch"] for t in types.values())
    for key in next(iter(types.values())):
        if key.endswith("_share"):
            assert sum(row[key] for row in types.values()) == pytest.approx(1, abs=1e-5)
    records = [split.rna_types[i] for i in split.rna_type_ids]
    nt = dict.fromkeys(types, 0)
    for name, length in zip(records, split.lengths_nt.tolist(), strict=True):
        nt[name] += min(length, 70)
    for name, row in types.items():
        share = nt[name] / sum(nt.values())
        assert row["corpus_sequence_share"] == pytest.approx(
            records.count(name) / len(records), abs=1e-6
        )
        assert row["corpus_nt_share"] == pytest.approx(share, abs=1e-6)
        assert row["clusters_sequence_share"] == pytest.approx(CLUSTERS_BY_TYPE[name] / 50)
        assert row["showings_a_cluster"] == pytest.approx(
            row["sequences_an_epoch"] / CLUSTERS_BY_TYPE[name]
        )
    assert types["tRNA"]["showings_a_cluster"] > 1
    assert types["rRNA"]["epoch_nt_share"] == pytest.approx(0.4, abs=70 / found["epoch"]["nt"])


def test_weights_are_read_from_the_manifest_and_even_without_them(tmp_path):
    folder = make_typed_corpus(tmp_path)
    assert read_weights(folder) == TypeWeights()
    assert read_weights(folder).are_even
    weights = TypeWeights(type_temperature=0.25, type_caps="rRNA=0.4", max_repeats=9)
    described = describe_composition(open_split(folder, "train"), weights)
    write_manifest(folder, read_manifest(folder) | {"composition": described})
    assert read_weights(folder) == weights
    assert not weights.are_even
