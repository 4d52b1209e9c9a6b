"""The facts of a signature: what they say, and which settings count."""

import pytest

from openrinalmo.pipeline.downstream.scores.bootstrap import BootstrapConfig
from openrinalmo.pipeline.downstream.scores.signature import (
    build_signature,
    describe_decoder,
    describe_programs,
    describe_scorer,
    flatten,
    hash_settings,
    parse_programs,
    parse_signature,
    select_deciding,
)
from openrinalmo.pipeline.downstream.structure import DecoderConfig


def test_signature_holds_what_decides():
    decoder = DecoderConfig(name="mea", use_energy=True)
    facts = {
        **describe_scorer(BootstrapConfig(level=0.9), empty="one"),
        **describe_decoder(decoder, threshold="val-relaxed-f1,16", energy="viennarna 2.8.0"),
    }
    signature = build_signature(facts)
    assert signature == (
        "truth:all-pairs|empty:one|bs:1000@0.9,seed0|decoder:mea+energy,w1,viennarna 2.8.0|"
        "pairs:canonical+wobble,>=4|threshold:val-relaxed-f1,16"
    )
    assert parse_signature(signature) == facts
    plain = describe_decoder(DecoderConfig(name="matching", canonical_only=False), threshold="0.5")
    assert plain == {"decoder": "matching", "pairs": "any,>=4", "threshold": "0.5"}
    with pytest.raises(ValueError, match="must not hold"):
        build_signature({"data": "a|b"})
    assert parse_signature("a:b:c|d:") == {"a": "b:c", "d": ""}


def test_programs_by_row():
    versions = {"ViennaRNA": "viennarna 2.8.0 mfe 37C", "SQUARNA (fast)": "squarna 2 fastest pool1"}
    fact = describe_programs(versions)["programs"]
    assert fact == "ViennaRNA=viennarna 2.8.0 mfe 37C;SQUARNA (fast)=squarna 2 fastest pool1"
    assert parse_programs(str(fact)) == versions
    assert describe_programs({}) == {}
    assert parse_programs("") == {}


def test_settings_that_decide_no_number_are_left_out():
    settings = {
        "systems": ["pretrained"],
        "workers": 2,
        "seed": 0,
        "embed": {"max_tokens_per_pack": 1, "dtype": "float32"},
        "regime": {"save_every_seconds": 300.0, "epochs": 3},
    }
    assert select_deciding(settings) == {"seed": 0, "embed.dtype": "float32", "regime.epochs": 3}
    assert hash_settings(settings) == hash_settings({**settings, "systems": [], "workers": 9})
    assert hash_settings(settings) != hash_settings({**settings, "seed": 1})


def test_settings_by_path():
    assert list(flatten({"a": {"b": 1, "c": {"d": 2}}, "e": 3})) == [
        ("a.b", 1),
        ("a.c.d", 2),
        ("e", 3),
    ]
