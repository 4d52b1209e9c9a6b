"""The line under a table: everything that decides its numbers, in one string."""

from collections.abc import Mapping

from ..decoders.thresholds import DecodingRule
from ..scoring import EMPTY_POLICY, TRUTH_POLICY, EmptyPolicy, TruthPolicy
from ..structure import MIN_PAIR_DISTANCE, DecoderConfig
from .bootstrap import BootstrapConfig


def build_signature(facts: Mapping[str, object]) -> str:
    """`name:value|name:value`, in the order given; two tables compare where these are equal."""
    for name, value in facts.items():
        if "|" in f"{name}{value}" or ":" in name:
            raise ValueError(f"signature: {name}={value} must not hold | (nor a name a colon)")
    return "|".join(f"{name}:{value}" for name, value in facts.items())


def describe_scorer(
    bootstrap: BootstrapConfig,
    *,
    truth: TruthPolicy = TRUTH_POLICY,
    empty: EmptyPolicy = EMPTY_POLICY,
) -> dict[str, object]:
    """Facts of the scorer: which known pairs count, what an empty structure scores, intervals."""
    return {
        "truth": truth.replace(" ", "-"),
        "empty": empty,
        "bs": f"{bootstrap.num_resamples}@{bootstrap.level:g},seed{bootstrap.seed}",
    }


def describe_decoder(decoder: DecoderConfig | DecodingRule) -> dict[str, object]:
    """Facts of the decoder, and of the validation RNAs where its threshold was tuned on any."""
    rule = decoder if isinstance(decoder, DecodingRule) else None
    config = rule.decoder if rule else decoder
    assert isinstance(config, DecoderConfig)
    name = config.name
    if config.use_energy:
        name += f"+energy,w{config.score_weight:g}"
    allowed = "canonical+wobble" if config.canonical_only else "any"
    threshold = f"{config.threshold:g}"
    if rule:
        grid = f"{rule.grid[0]:g}..{rule.grid[-1]:g}/{len(rule.grid)}"
        metric = rule.metric.replace(" ", "-")
        threshold += f"@val-{metric},{grid},n{rule.num_validation},ids-{rule.tuned_on[:8]}"
    return {
        "decoder": name,
        "pairs": f"{allowed},>={MIN_PAIR_DISTANCE}",
        "threshold": threshold,
    }
