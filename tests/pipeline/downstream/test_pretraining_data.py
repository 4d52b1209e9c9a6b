import json

import pytest

from openrinalmo.pipeline.downstream.pretraining_data import (
    describe_pretraining_data,
    refuse_seen_families,
)

EXCLUDED = {
    "families": ["5S_rRNA", "RNase_P_RNA", "Group_I_intron"],
    "benchmarks": {"a" * 64: "archiveii"},
    "identity": 0.8,
    "coverage": 0.8,
}
WITHOUT = {"excluded": json.dumps(EXCLUDED)}


def test_says_what_the_pretraining_data_was_made_without():
    assert "unknown" in describe_pretraining_data({})
    assert "nothing was left out" in describe_pretraining_data({"excluded": "null"})
    said = describe_pretraining_data(WITHOUT)
    assert said.endswith(
        "made without family 5S_rRNA, family RNase_P_RNA, family Group_I_intron, "
        "what is near archiveii (identity 0.8 over 0.8)"
    )


def test_families_are_known_by_rfams_and_archiveiis_names():
    refuse_seen_families(["5s", "RNaseP", "grp1", "5S_rRNA", "RNase P"], WITHOUT)


def test_an_excluded_label_of_several_parts_is_not_its_parts():
    metadata = {"excluded": json.dumps({**EXCLUDED, "families": ["Gene; tRNA"]})}
    with pytest.raises(ValueError, match="these folds hold out tRNA"):
        refuse_seen_families(["tRNA"], metadata)


@pytest.mark.parametrize("metadata", [{}, {"excluded": "null"}, WITHOUT])
def test_a_family_that_may_have_been_seen_is_refused_by_name(metadata):
    with pytest.raises(ValueError, match=r"these folds hold out 16s, tRNA: pretrain on"):
        refuse_seen_families(["16s", "tRNA"], metadata)
